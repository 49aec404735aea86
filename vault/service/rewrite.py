"""Changing a record: read it, edit what was read, put the result in its place.

Compare-and-swap on the row version: a change is made to the version that it was decided on, or
not at all. The request id is noted in the same transaction, so that a repetition changes nothing.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from secrets import SystemRandom

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, Value, seal_record
from vault.errors import Reason, VaultError
from vault.names import to_base64url
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import Attempt
from vault.service.call import Call
from vault.service.changing import Planned, change_all
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord
from vault.service.values import check_record_size
from vault.store.changes import IndexRow, RequestMark
from vault.store.jobs import Change, KeysChangedError, Transaction, returned
from vault.store.together import Replacement

TRIES = 8
_AT_ONCE = 8  # records, before others have a turn
_PAUSE = 0.02  # seconds, more with each try
_DAY = 24 * 3600
_to_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Edited:
    """What a record becomes: all about it, all its values, and the index rows of some fields."""

    about: sealed_pb2.Record
    values: Mapping[int, Value]
    index_of: Collection[int] = ()  # uids whose index rows are replaced
    index_rows: Sequence[IndexRow] = ()


Edit = Callable[[OpenedRecord], Awaitable[Edited]]

Outcome = str | VaultError
"""A record's new etag, or why it has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Rewrite:
    """What is to become of one record, and whose event says so.

    `edit` may run again if another process changed the record meanwhile, unless the caller gave an
    etag, which then is refused as stale; what it notes for its caller, it notes anew. `also` is
    carried out in the same transaction.
    """

    attempted: Attempt
    address: Address
    edit: Edit
    mark: RequestMark | None
    etag: str = ""
    also: Change[object] | None = None


async def rewrite(served: ServedCompartment, its: Rewrite) -> str:
    """Change a record and return its new etag; anew where keys or the record changed meanwhile.

    Writers of one record in this process take turns, so that nobody's withdrawal is starved by
    others' puts. Raises VaultError.
    """
    async with served.writing((its.address,)):
        for tries in range(TRIES):
            await pause(tries)
            (outcome,) = await _try_each(served, (its,))
            if not _is_worth_another(its, outcome):
                return returned(outcome)
    if isinstance(outcome, KeysChangedError):
        raise outcome
    raise VaultError(
        Reason.OVERLOADED, "Others keep changing this record. Retry.", retry_after=TRIES * _PAUSE
    )


async def rewrite_each(served: ServedCompartment, each: Sequence[Rewrite]) -> Sequence[Outcome]:
    """Change records, no two of them one, as `rewrite` does: together, and return all outcomes.

    What isn't done the first time is tried again by itself, when the others' turns are over.
    """
    if len(each) == 1:
        return [await _outcome(rewrite(served, its)) for its in each]
    async with served.writing([its.address for its in each]):
        outcomes = await _try_each(served, each)
    return [
        await _outcome(rewrite(served, its)) if _is_worth_another(its, outcome) else outcome
        for its, outcome in zip(each, outcomes, strict=True)
    ]


async def _outcome(etag: Awaitable[str]) -> Outcome:
    try:
        return await etag
    except VaultError as e:
        return e


async def _try_each(served: ServedCompartment, each: Sequence[Rewrite]) -> Sequence[Outcome]:
    """Plan on the records as they are now, and carry out what could be planned.

    What fails for all is the outcome of those that it leaves open, and of no other.
    """
    outcomes: dict[Rewrite, Outcome] = {}
    try:
        await _try(served, each, outcomes)
    except VaultError as e:
        left = [i for i in each if i not in outcomes or _is_worth_another(i, outcomes[i])]
        outcomes.update(dict.fromkeys(left, e))
    return [outcomes[its] for its in each]


async def _try(
    served: ServedCompartment, each: Sequence[Rewrite], outcomes: dict[Rewrite, Outcome]
) -> None:
    standing = served.keyring.standing
    opened = await served.open_each([its.address for its in each])
    records = await asyncio.gather(*map(partial(_record, served), each, opened))
    edited: dict[Rewrite, tuple[OpenedRecord, Edited]] = {}
    for place, (its, record) in enumerate(zip(each, records, strict=True)):
        await _let_others(place)
        try:
            edited[its] = await _edit(its, record)
        except VaultError as e:
            outcomes[its] = e
    # Each step for all of them, and then the next: 6 % more puts a second than record by record.
    sealed: dict[Rewrite, SealedRecord] = {}
    for place, (its, (record, new)) in enumerate(edited.items()):
        await _let_others(place)
        sealed[its] = seal_record(its.address, record.data_key, new.about, new.values.values())
    planned = [_plan(its, record, sealed[its], new) for its, (record, new) in edited.items()]
    try:
        changed = await change_all(served, planned, standing.epoch)
    except KeysChangedError as e:
        changed = [e] * len(planned)
    for its, done in zip(edited, changed, strict=True):
        outcomes[its] = await _etag(served, its, sealed[its], done)
    if any(isinstance(outcome, KeysChangedError) for outcome in outcomes.values()):
        await served.look_beyond(standing)


async def _let_others(place: int) -> None:
    """Let single calls have their turn: none waits for the whole of a batch."""
    if place % _AT_ONCE == _AT_ONCE - 1:
        await asyncio.sleep(0)


async def _record(
    served: ServedCompartment, its: Rewrite, opened: OpenedRecord | VaultError | None
) -> OpenedRecord | VaultError:
    if isinstance(opened, VaultError):
        return opened
    try:
        return await served.registered(its.address, opened)
    except VaultError as e:
        return e


async def _edit(its: Rewrite, record: OpenedRecord | VaultError) -> tuple[OpenedRecord, Edited]:
    if isinstance(record, VaultError):
        raise record
    its.attempted.met(record.about)
    try:
        edited = await its.edit(record)
    except DamagedError:
        raise VaultError(
            Reason.DAMAGED, "A value's bytes don't hold. The security team must look at this."
        ) from None
    check_record_size(edited.values.values())
    return record, edited


def _plan(
    its: Rewrite, record: OpenedRecord, sealed: SealedRecord, edited: Edited
) -> Planned[bool | None]:
    describe = partial(its.attempted.changed, sealed, record.row)
    return Planned(its.attempted, _swap(its, record, sealed, edited), describe)


async def _etag(
    served: ServedCompartment,
    its: Rewrite,
    sealed: SealedRecord,
    done: bool | VaultError | None,
) -> Outcome:
    if isinstance(done, VaultError):
        return done
    if done:
        return etag_of(sealed)
    try:  # a repetition
        return await current_etag(served, its.address)
    except VaultError as e:
        return e


def _is_worth_another(its: Rewrite, outcome: Outcome) -> bool:
    """Tell whether it may be done at the next try."""
    if isinstance(outcome, KeysChangedError):
        return True
    stale = isinstance(outcome, VaultError) and outcome.reason is Reason.STALE_ETAG
    return stale and not its.etag


async def pause(tries: int) -> None:
    """Wait a little before trying again, at random and longer each time; not before the first."""
    if tries:
        await asyncio.sleep(tries * _PAUSE * SystemRandom().random())


def _swap(
    its: Rewrite, record: OpenedRecord, sealed: SealedRecord, edited: Edited
) -> Change[bool | None]:
    meant = not its.etag or its.etag == etag_of(record.row)
    replacement = Replacement(
        pseudonym=record.address.pseudonym,
        replaces=record.row.row_version if meant else None,
        by=sealed,
        mark=its.mark,
        index_of=edited.index_of,
        index_rows=edited.index_rows,
    )
    also = its.also
    if also is None:
        return replacement

    async def change(transaction: Transaction) -> bool | None:
        done = await replacement(transaction)
        if done:
            await also(transaction)
        return done

    return change


async def current_etag(served: ServedCompartment, address: Address) -> str:
    """Return the etag of a record as it is now."""
    return etag_of((await served.open(address)).row)


def etag_of(row: SealedRecord) -> str:
    """Write a row version as callers see it."""
    return to_base64url(row.row_version)


async def request_mark(
    served: ServedCompartment, call: Call, operation: str, address: Address, content: object
) -> RequestMark | None:
    """Return what is remembered of a request: keyed hashes of its id and of what it asks.

    None where the caller sent no id: then no repetition can be told.
    """
    if not call.repeatable:
        return None
    asked = _to_json(content)
    token, content = await served.marks(
        (b"request", call.service.name.encode(), call.request_id.encode()),
        (b"asked", operation.encode(), address.pseudonym, asked.encode()),
    )
    return RequestMark(token, content, int(time.time()) // _DAY)
