"""Changing a record: read it, edit what was read, put the result in its place.

Compare-and-swap on the row version: a change is made to the version that it was decided on, or
not at all. The request id is noted in the same transaction, so that a repetition changes nothing.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from functools import partial
from typing import TypeVar

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, Value, seal_record
from vault.errors import Reason, VaultError, damaged, returned
from vault.frozen import dataclass
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import Attempt
from vault.service.changing import Planned, change_all
from vault.service.compartment import ServedCompartment
from vault.service.etags import current_etag, etag_of
from vault.service.opened import OpenedRecord
from vault.service.repeating import TRIES, pause, still_changing
from vault.service.values import check_record_size, index_rows_each
from vault.store.changes import IndexRow, RequestMark
from vault.store.jobs import Change, KeysChangedError, Transaction
from vault.store.together import Replacement

T = TypeVar("T")

_AT_ONCE = 8  # records, before others have a turn
_INDEXED_AT_ONCE = 32  # records, which takes no longer than to edit or seal _AT_ONCE


@dataclass(frozen=True, slots=True)
class Edited:
    """What a record becomes: all about it, all its values, and which of them changed, by uid."""

    about: sealed_pb2.Record
    values: Mapping[int, Value]
    changed: Collection[int] = ()

    @property
    def written(self) -> Iterator[Value]:
        """The values that are new."""
        return (self.values[uid] for uid in self.changed if uid in self.values)


Edit = Callable[[OpenedRecord], Edited]

Outcome = str | VaultError
"""A record's new etag, or why it has none."""


@dataclass(frozen=True, slots=True, eq=False)
class Rewrite:
    """What is to become of one record, and whose event says so.

    `edit` raises VaultError where what was read doesn't allow it. It may run again if another
    process changed the record meanwhile, unless the caller gave an etag, which then is refused as
    stale; what it notes for its caller, it notes anew. `also` is carried out in the same
    transaction.
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
    raise still_changing()


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


@dataclass(frozen=True, slots=True, eq=False)
class _Draft:
    """A record as it was read, and what it becomes."""

    its: Rewrite
    record: OpenedRecord
    new: Edited


@dataclass(frozen=True, slots=True, eq=False)
class _Swap:
    """A draft, sealed: what takes the record's place, and its rows in the index."""

    draft: _Draft
    sealed: SealedRecord
    rows: Sequence[IndexRow]


async def _try(
    served: ServedCompartment, each: Sequence[Rewrite], outcomes: dict[Rewrite, Outcome]
) -> None:
    """Take each step for all of them, and then the next: so more are put in a second."""
    standing = served.keyring.standing
    drafts = await _edit_each(served, each, outcomes)
    swaps = await _seal_each(await _index_each(served, drafts, outcomes))
    try:
        changed = await change_all(served, [_plan(swap) for swap in swaps], standing.epoch)
    except KeysChangedError as e:
        changed = [e] * len(swaps)
    for swap, done in zip(swaps, changed, strict=True):
        outcomes[swap.draft.its] = await _etag(served, swap, done)
    if any(isinstance(outcome, KeysChangedError) for outcome in outcomes.values()):
        await served.look_beyond(standing)


async def _edit_each(
    served: ServedCompartment, each: Sequence[Rewrite], outcomes: dict[Rewrite, Outcome]
) -> list[_Draft]:
    """Edit the records as they are now; return what becomes of those that may change."""
    opened = await served.records.open_each([its.address for its in each])
    drafts: list[_Draft] = []
    async for its, record in _by_turns(list(zip(each, opened, strict=True))):
        try:
            drafts.append(_edit(its, returned(record)))
        except VaultError as e:
            outcomes[its] = e
    return drafts


def _edit(its: Rewrite, record: OpenedRecord) -> _Draft:
    its.attempted.met(record.about)
    try:
        new = its.edit(record)
    except DamagedError:
        raise damaged("A value") from None
    check_record_size(new.values.values())
    return _Draft(its, record, new)


async def _index_each(
    served: ServedCompartment, drafts: Sequence[_Draft], outcomes: dict[Rewrite, Outcome]
) -> list[tuple[_Draft, Sequence[IndexRow]]]:
    """Find each one's index rows; return those that can have them."""
    indexed: list[tuple[_Draft, Sequence[IndexRow]]] = []
    for start in range(0, len(drafts), _INDEXED_AT_ONCE):
        await asyncio.sleep(0)
        some = drafts[start : start + _INDEXED_AT_ONCE]
        wanted = [(draft.its.attempted.edition, draft.new.written) for draft in some]
        for draft, rows in zip(some, await index_rows_each(served, wanted), strict=True):
            if isinstance(rows, VaultError):
                outcomes[draft.its] = rows
            else:
                indexed.append((draft, rows))
    return indexed


async def _seal_each(indexed: Sequence[tuple[_Draft, Sequence[IndexRow]]]) -> list[_Swap]:
    return [_seal(*its) async for its in _by_turns(indexed)]


def _seal(draft: _Draft, rows: Sequence[IndexRow]) -> _Swap:
    new, key = draft.new, draft.record.data_key
    sealed = seal_record(draft.its.address, key, new.about, new.values.values())
    return _Swap(draft, sealed, rows)


async def _by_turns(items: Sequence[T]) -> AsyncIterator[T]:
    """Yield each; in between single calls have their turn: none waits for the whole."""
    for place, its in enumerate(items):
        if place % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)
        yield its


def _plan(swap: _Swap) -> Planned[bool | None]:
    attempted = swap.draft.its.attempted
    describe = partial(attempted.changed, swap.sealed, swap.draft.record.row)
    return Planned(attempted, _change(swap), describe)


def _change(swap: _Swap) -> Change[bool | None]:
    draft = swap.draft
    its, row = draft.its, draft.record.row
    meant = not its.etag or its.etag == etag_of(row)
    replacement = Replacement(
        pseudonym=its.address.pseudonym,
        replaces=row.row_version if meant else None,
        by=swap.sealed,
        mark=its.mark,
        index_of=draft.new.changed,
        index_rows=swap.rows,
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


async def _etag(served: ServedCompartment, swap: _Swap, done: bool | VaultError | None) -> Outcome:
    if isinstance(done, VaultError):
        return done
    if done:
        return etag_of(swap.sealed)
    return await _outcome(current_etag(served, swap.draft.its.address))  # a repetition


def _is_worth_another(its: Rewrite, outcome: Outcome) -> bool:
    """Tell whether it may be done at the next try."""
    if isinstance(outcome, KeysChangedError):
        return True
    stale = isinstance(outcome, VaultError) and outcome.reason is Reason.STALE_ETAG
    return stale and not its.etag
