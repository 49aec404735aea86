"""Reveal: the only operation by which a service gets a field's value.

The way of the data, down the floors once and up once: the edition decides; the record and its
data key are loaded; the first layer opens; consent, retention and restriction decide; the audit
event becomes durable; only then is a value plaintext; it is masked where the form says so.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Value
from vault.errors import Reason, VaultError
from vault.policy import FieldUse, Form, Operation, mask
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import OpenedRecord, ServedCompartment
from vault.service.consents import covered
from vault.service.keep import check_kept, open_for
from vault.service.rewrite import etag_of

MOST_A_BATCH = 200


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
    async with attempt(served, call, Operation.REVEAL, purpose) as attempted:
        uses = await attempted.admit(Operation.REVEAL, purpose, names)
        record = await open_for(served, call, served.address(pseudonym), purpose)
        attempted.met(record.about)
        check_kept(served, call, purpose, uses, record.about)
        allowed = covered(call, served, purpose, uses, record, recipient)
        attempted.asks_for(allowed.uses)
        await attempted.allow(recipient)
        # From here on the trail says that these values were given: a fault below leaves an
        # event without an answer, never an answer without an event.
        try:
            values = record.values(u.field.uid for u in allowed.uses if u.form is not Form.PRESENT)
        except DamagedError:
            raise VaultError(
                Reason.DAMAGED, "A value's bytes don't hold. The security team must look at this."
            ) from None
        held = {item.uid for item in record.about.fields}
        return Revealed(
            tuple(_shown(use, values, held) for use in allowed.uses),
            _etag(served, call, purpose, record),
            call.edition.number,
            tuple(field.name for field in allowed.withheld),
        )


async def batch_reveal(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    pseudonyms: Sequence[str],
    names: Sequence[str],
    recipient: str = "",
) -> list[Revealed | VaultError]:
    """Reveal the same fields of up to 200 records; each succeeds or fails by itself."""
    if not 1 <= len(pseudonyms) <= MOST_A_BATCH:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"A batch names 1 to {MOST_A_BATCH} pseudonyms. Split it.",
            violations={"pseudonyms": f"must be 1 to {MOST_A_BATCH}"},
        )
    async with attempt(served, call, Operation.REVEAL, purpose) as attempted:
        attempted.decide(Operation.REVEAL, purpose, names)  # denied alike: one event

    async def outcome(pseudonym: str) -> Revealed | VaultError:
        try:
            return await reveal(served, call, purpose, pseudonym, names, recipient)
        except VaultError as e:
            return e

    return await asyncio.gather(*map(outcome, pseudonyms))


def _etag(served: ServedCompartment, call: Call, purpose: str, record: OpenedRecord) -> str:
    """Return the record's etag if the caller may write here for the purpose, else "".

    It changes with whatever changes. Two services that ask again and again would see whose records
    changed at one time.
    """
    writes = (call.service.name, purpose, served.name, Operation.PUT) in call.edition.granted
    return etag_of(record.row) if writes else ""


def _shown(use: FieldUse, values: Mapping[int, Value], held: set[int]) -> RevealedValue:
    uid, name = use.field.uid, use.field.name
    if use.form is Form.PRESENT or uid not in values:
        return RevealedValue(name, use.form, uid in held, None)
    value = values[uid].value
    shown = value if use.form is Form.PLAIN else mask(use.field.type, value)
    return RevealedValue(name, use.form, True, shown)
