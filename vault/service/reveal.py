"""Reveal: the only operation by which a service gets a field's value.

The way of the data, down the floors once and up once: the edition decides; the record and its
data key are loaded; the first layer opens; consent, retention and restriction decide; the audit
event becomes durable; only then is a value plaintext; it is masked where the form says so. One
record goes this way as a batch does, whose records share each step and have each their own event.

In a stream many are decided ahead, and each is opened when it is its turn to be sent: what waits
is no plaintext, and a stop is felt by it.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import field
from functools import partial

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, Value
from vault.errors import Reason, VaultError, damaged
from vault.frozen import dataclass
from vault.policy import Covered, FieldUse, Form, Operation, mask
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import Attempt, allow_all, attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import covered
from vault.service.etags import etag_of
from vault.service.frame import refuse_all
from vault.service.keep import check_kept, open_each_for
from vault.service.opened import OpenedRecord
from vault.service.streaming import Calls, Turns, in_order

MOST_A_BATCH = 200
GOOD_FOR = 5.0  # seconds that what was decided may wait to be sent


@dataclass(frozen=True, slots=True)
class RevealedValue:
    """A field in the form that was given; `value` is None where the form or the record has none."""

    name: str
    form: Form
    present: bool
    value: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Revealed:
    """One record's fields, in the order asked."""

    fields: tuple[RevealedValue, ...]
    etag: str  # "" for who may not write here: a change that isn't theirs to see would show in it
    edition: int
    withheld: tuple[str, ...]  # what the purpose sees now, and the subject wasn't told of


Opening = Callable[[], Revealed]
"""A reveal that the trail has, before any value of it is plaintext. Raises VaultError."""


async def reveal(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    pseudonym: str,
    names: Sequence[str],
    recipient: str = "",
) -> Revealed:
    """Return fields of one record for a purpose. Raises VaultError, and the trail has it all.

    `recipient` is the third party that the caller says it discloses to.
    """
    opening = await _allow(_Asked(served, call, purpose, names, recipient), pseudonym)
    if isinstance(opening, VaultError):
        raise opening
    return opening()


async def batch_reveal(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    pseudonyms: Sequence[str],
    names: Sequence[str],
    recipient: str = "",
) -> list[Revealed | VaultError]:
    """Reveal the same fields of up to 200 records; each succeeds or fails by itself.

    Raises VaultError where none is begun: nothing of it is granted, or there isn't room for all.
    """
    if not 1 <= len(pseudonyms) <= MOST_A_BATCH:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"A batch names 1 to {MOST_A_BATCH} pseudonyms. Split it.",
            violations={"pseudonyms": f"must be 1 to {MOST_A_BATCH}"},
        )
    asked = _Asked(served, call, purpose, names, recipient)
    async with attempt(served, call, Operation.REVEAL, purpose) as attempted:
        uses = attempted.decide(Operation.REVEAL, purpose, names)  # denied alike: one event
    try:
        async with attempted.for_each(len(pseudonyms)) as each:
            openings = await _allow_each(asked, uses, each, pseudonyms)
    except VaultError as e:
        if e.reason is Reason.OVERLOADED:
            raise
        return [e] * len(pseudonyms)  # what they share failed: no event can be written, say
    return [_opened(opening) for opening in openings]


async def stream_reveal(
    served: ServedCompartment,
    calls: Calls,
    purpose: str,
    pseudonyms: AsyncIterator[str],
    names: Sequence[str],
    recipient: str = "",
) -> AsyncGenerator[Revealed | VaultError, None]:
    """Reveal the same fields of records as they are asked for; each succeeds or fails by itself.

    Each is decided under the policy of its moment. Raises VaultError where nothing of the stream is
    granted; so does the generator where the caller may no longer call, or reads so slowly that what
    was decided grew old.
    """
    call = calls()
    async with attempt(served, call, Operation.REVEAL, purpose) as attempted:
        attempted.decide(Operation.REVEAL, purpose, names)  # denied alike: one event
    turns = Turns(served, calls)

    async def decided(pseudonym: str) -> tuple[float, Opening | VaultError]:
        call, _ = await turns.next(Operation.REVEAL)
        try:
            opening = await _allow(_Asked(served, call, purpose, names, recipient), pseudonym)
        except VaultError as e:
            return time.monotonic(), e
        return time.monotonic(), opening

    return _opened_in_turn(in_order(pseudonyms, decided))


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for of each record."""

    served: ServedCompartment
    call: Call
    purpose: str
    names: Sequence[str]
    recipient: str


async def _allow(asked: _Asked, pseudonym: str) -> Opening | VaultError:
    async with attempt(asked.served, asked.call, Operation.REVEAL, asked.purpose) as attempted:
        uses = attempted.decide(Operation.REVEAL, asked.purpose, asked.names)
        (opening,) = await _allow_each(asked, uses, (attempted,), (pseudonym,))
    return opening


async def _allow_each(
    asked: _Asked,
    uses: tuple[FieldUse, ...],
    each: Sequence[Attempt],
    pseudonyms: Sequence[str],
) -> Sequence[Opening | VaultError]:
    """Return for each record how its values are opened, or why they aren't; the trail has it all.

    Raises VaultError where the trail couldn't be written, or nothing be read.
    """
    served = asked.served
    addresses = [_address(asked, pseudonym) for pseudonym in pseudonyms]
    await served.touch(asked.call)
    records = await _records(asked, addresses)
    etags = _sees_etags(asked)
    decided = [_decide(asked, uses, etags, *its) for its in zip(each, records, strict=True)]
    allowed: list[Attempt] = []
    refused: list[tuple[Attempt, VaultError]] = []
    for attempted, opening in zip(each, decided, strict=True):
        if isinstance(opening, VaultError):
            refused.append((attempted, opening))
        else:
            allowed.append(attempted)
    if refused:
        await refuse_all(refused)
    await allow_all(served, allowed, asked.recipient)
    # From here on the trail says that these values were given: a fault in opening leaves an
    # event without an answer, never an answer without an event.
    return decided


def _address(asked: _Asked, pseudonym: str) -> Address | VaultError:
    try:
        asked.served.limits.take(asked.call.service, Operation.REVEAL)
        return asked.served.address(pseudonym)
    except VaultError as e:
        return e


async def _records(
    asked: _Asked, addresses: Sequence[Address | VaultError]
) -> Sequence[OpenedRecord | VaultError]:
    known = [address for address in addresses if isinstance(address, Address)]
    found = iter(await open_each_for(asked.served, asked.call, known, asked.purpose))
    return [its if isinstance(its, VaultError) else next(found) for its in addresses]


def _decide(
    asked: _Asked,
    uses: tuple[FieldUse, ...],
    etags: bool,
    attempted: Attempt,
    record: OpenedRecord | VaultError,
) -> Opening | VaultError:
    """Decide by what the record says of its subject's word."""
    served, call, purpose = asked.served, asked.call, asked.purpose
    if isinstance(record, VaultError):
        return record
    attempted.met(record.about)
    try:
        check_kept(served, call, purpose, uses, record.about)
        allowed = covered(call, served, purpose, uses, record, asked.recipient)
    except VaultError as e:
        return e
    if allowed.uses is not uses:
        attempted.asks_for(allowed.uses)
    etag = etag_of(record.row) if etags else ""
    return partial(_open, record, allowed, etag, call.edition.number)


def _open(record: OpenedRecord, allowed: Covered, etag: str, edition: int) -> Revealed:
    try:
        values = record.values([u.field.uid for u in allowed.uses if u.form is not Form.PRESENT])
    except DamagedError:
        raise damaged("A value") from None
    return Revealed(
        tuple([_shown(use, values, record.about) for use in allowed.uses]),
        etag,
        edition,
        tuple([field.name for field in allowed.withheld]),
    )


async def _opened_in_turn(
    decided: AsyncGenerator[tuple[float, Opening | VaultError], None],
) -> AsyncGenerator[Revealed | VaultError, None]:
    async with aclosing(decided):
        async for at, outcome in decided:
            if time.monotonic() - at > GOOD_FOR:
                raise VaultError(
                    Reason.OVERLOADED,
                    f"Results wait for more than {GOOD_FOR:g} seconds to be read. Read faster, "
                    "or ask for less at once; begin anew with what wasn't answered.",
                )
            yield _opened(outcome)


def _opened(outcome: Opening | VaultError) -> Revealed | VaultError:
    try:
        return outcome if isinstance(outcome, VaultError) else outcome()
    except VaultError as e:
        return e


def _sees_etags(asked: _Asked) -> bool:
    """Tell whether the caller may write here for the purpose, and so is told a record's etag.

    It changes with whatever changes. Two services that ask again and again would see whose records
    changed at one time.
    """
    call = asked.call
    write = (call.service.name, asked.purpose, asked.served.name, Operation.PUT)
    return write in call.edition.granted


def _shown(use: FieldUse, values: Mapping[int, Value], about: sealed_pb2.Record) -> RevealedValue:
    uid, name = use.field.uid, use.field.name
    if use.form is Form.PRESENT:
        return RevealedValue(name, use.form, any(item.uid == uid for item in about.fields), None)
    if uid not in values:
        return RevealedValue(name, use.form, False, None)
    value = values[uid].value
    shown = value if use.form is Form.PLAIN else mask(use.field.type, value)
    return RevealedValue(name, use.form, True, shown)
