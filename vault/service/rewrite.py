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
from vault.service.changing import Writing, change_all
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord
from vault.service.values import check_record_size
from vault.store.changes import IndexRow, RequestMark
from vault.store.jobs import Change, KeysChangedError, Transaction
from vault.store.together import Replacement

TRIES = 8
_AT_ONCE = 8  # records, before others have a turn
_PAUSE = 0.02  # seconds, more with each try
_DAY = 24 * 3600
_written = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Edited:
    """What a record becomes: all about it, all its values, and the index rows of some fields."""

    about: sealed_pb2.Record
    values: Mapping[int, Value]
    index_of: Collection[int] = ()  # uids whose index rows are replaced
    index_rows: Sequence[IndexRow] = ()


Edit = Callable[[OpenedRecord], Awaitable[Edited]]


@dataclass(frozen=True, slots=True, eq=False)
class Rewrite:
    """What is to become of one record, and whose event says so.

    `edit` is pure but for keys, and may run again if another process changed the record meanwhile:
    unless the caller gave an etag, which then is refused as stale. `also` is carried out in the
    same transaction.
    """

    attempted: Attempt
    address: Address
    edit: Edit
    mark: RequestMark | None
    etag: str = ""
    also: Change[object] | None = None


async def rewrite(served: ServedCompartment, its: Rewrite) -> str:
    """Change a record and return its new etag. Raises VaultError."""
    (outcome,) = await rewrite_each(served, (its,))
    if isinstance(outcome, VaultError):
        raise outcome
    return outcome


async def rewrite_each(
    served: ServedCompartment, each: Sequence[Rewrite]
) -> Sequence[str | VaultError]:
    """Change records, no two of them one, and return of each its new etag, or why it has none.

    Writers of one record in this process take turns, so that nobody's withdrawal is starved by
    others' puts. Where keys or a record changed meanwhile, it is planned anew: one of several by
    itself, so that the others' turns are over.
    """
    outcomes: dict[Rewrite, str | VaultError] = {}
    async with served.turns(its.address for its in each):
        for tries in range(TRIES if len(each) == 1 else 1):
            await pause(tries)
            try:
                await _rewrite_once(served, each, outcomes)
            except VaultError as e:  # of those alone that nothing became of
                outcomes.update({i: e for i in each if i not in outcomes or _passes(i, outcomes)})
                break
            if not any(_passes(its, outcomes) for its in each):
                break
    for its in each:
        if _passes(its, outcomes):
            outcomes[its] = (
                await _again(served, its) if len(each) > 1 else _too_often(outcomes[its])
            )
    return [outcomes[its] for its in each]


async def _again(served: ServedCompartment, its: Rewrite) -> str | VaultError:
    (outcome,) = await rewrite_each(served, (its,))
    return outcome


async def _rewrite_once(
    served: ServedCompartment, each: Sequence[Rewrite], outcomes: dict[Rewrite, str | VaultError]
) -> None:
    """Plan on the records as they are now, and carry out what could be planned.

    Notes what became of each. Raises VaultError where more can't be known.
    """
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
    planned: dict[Rewrite, Writing[bool | None]] = {}
    for place, (its, new) in enumerate(edited.items()):
        await _let_others(place)
        planned[its] = _seal(its, *new)
    try:
        changed = await change_all(served, list(planned.values()), standing.epoch)
    except KeysChangedError as e:
        changed = [e] * len(planned)
    for its, done in zip(planned, changed, strict=True):
        outcomes[its] = await _etag(served, its, planned[its].sealed, done)
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


def _seal(its: Rewrite, record: OpenedRecord, edited: Edited) -> Writing[bool | None]:
    sealed = seal_record(its.address, record.data_key, edited.about, edited.values.values())
    return Writing(its.attempted, _swap(its, record, sealed, edited), sealed, record.row)


async def _etag(
    served: ServedCompartment,
    its: Rewrite,
    sealed: SealedRecord,
    done: bool | VaultError | None,
) -> str | VaultError:
    if isinstance(done, VaultError):
        return done
    if done:
        return etag_of(sealed)
    try:  # a repetition
        return await current_etag(served, its.address)
    except VaultError as e:
        return e


def _passes(its: Rewrite, outcomes: Mapping[Rewrite, str | VaultError]) -> bool:
    """Tell whether what became of it is worth another try."""
    outcome = outcomes[its]
    if isinstance(outcome, KeysChangedError):
        return True
    stale = isinstance(outcome, VaultError) and outcome.reason is Reason.STALE_ETAG
    return stale and not its.etag


def _too_often(outcome: str | VaultError) -> str | VaultError:
    if isinstance(outcome, KeysChangedError):
        return outcome
    return VaultError(
        Reason.OVERLOADED, "Others keep changing this record. Retry.", retry_after=TRIES * _PAUSE
    )


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
    asked = _written(content)
    token, content = await served.marks(
        (b"request", call.service.name.encode(), call.request_id.encode()),
        (b"asked", operation.encode(), address.pseudonym, asked.encode()),
    )
    return RequestMark(token, content, int(time.time()) // _DAY)
