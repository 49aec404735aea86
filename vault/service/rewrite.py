"""Changing a record: read it, edit what was read, put the result in its place.

Compare-and-swap on the row version: a change is made to the version that it was decided on, or
not at all. The request id is noted in the same transaction, so that a repetition changes nothing.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from secrets import SystemRandom

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, Value, seal_record
from vault.errors import Reason, VaultError
from vault.names import to_base64url
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import Attempt, Planned, change_all
from vault.service.call import Call
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
    others' puts. Where keys or records changed meanwhile, those are planned anew. Raises
    VaultError where none could be carried out.
    """
    outcomes: dict[Rewrite, str | VaultError] = {}
    async with served.turns(its.address for its in each):
        left = each
        for tries in range(TRIES):
            await pause(tries)
            outcomes.update(await _rewritten(served, left))
            left = [its for its in left if _is_passing(outcomes[its], its)]
            if not left:
                break
    for its in left:
        if not isinstance(outcomes[its], KeysChangedError):
            outcomes[its] = VaultError(
                Reason.OVERLOADED,
                "Others keep changing this record. Retry.",
                retry_after=TRIES * _PAUSE,
            )
    return [outcomes[its] for its in each]


async def _rewritten(
    served: ServedCompartment, each: Sequence[Rewrite]
) -> Mapping[Rewrite, str | VaultError]:
    """Plan on the records as they are now, and carry out what could be planned."""
    standing = served.keyring.standing
    opened = await served.open_each([its.address for its in each])
    outcomes: dict[Rewrite, str | VaultError] = {}
    edited: dict[Rewrite, tuple[OpenedRecord, Edited]] = {}
    for place, (its, record) in enumerate(zip(each, opened, strict=True)):
        await _let_others(place)
        try:
            edited[its] = await _edit(served, its, record)
        except VaultError as e:
            outcomes[its] = e
    # Each step for all of them, and then the next: 6 % more puts a second than record by record.
    planned: dict[Rewrite, Planned[bool | None]] = {}
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
    return outcomes


async def _let_others(place: int) -> None:
    """Let single calls have their turn: none waits for the whole of a batch."""
    if place % _AT_ONCE == _AT_ONCE - 1:
        await asyncio.sleep(0)


async def _edit(
    served: ServedCompartment, its: Rewrite, opened: OpenedRecord | VaultError | None
) -> tuple[OpenedRecord, Edited]:
    if isinstance(opened, VaultError):
        raise opened
    record = await served.registered(its.address, opened)
    its.attempted.met(record.about)
    try:
        edited = await its.edit(record)
    except DamagedError:
        raise VaultError(
            Reason.DAMAGED, "A value's bytes don't hold. The security team must look at this."
        ) from None
    check_record_size(edited.values.values())
    return record, edited


def _seal(its: Rewrite, record: OpenedRecord, edited: Edited) -> Planned[bool | None]:
    sealed = seal_record(its.address, record.data_key, edited.about, edited.values.values())
    return Planned(its.attempted, _swap(its, record, sealed, edited), sealed, record.row)


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


def _is_passing(outcome: str | VaultError, its: Rewrite) -> bool:
    """Tell whether it is worth another try."""
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
    asked = _written(content)
    token, content = await served.marks(
        (b"request", call.service.name.encode(), call.request_id.encode()),
        (b"asked", operation.encode(), address.pseudonym, asked.encode()),
    )
    return RequestMark(token, content, int(time.time()) // _DAY)
