"""Changing a record: read it, edit what was read, put the result in its place.

Compare-and-swap on the row version: a change is made to the version that it was decided on, or
not at all. The request id is noted in the same transaction, so that a repetition changes nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import field
from functools import partial

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, Value, seal_record
from vault.errors import Reason, VaultError, returned
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


def _anything(_: OpenedRecord) -> None:
    """Refuse nothing."""


@dataclass(frozen=True, slots=True, eq=False)
class Rewrite:
    """What is to become of one record, and whose event says so.

    `check` raises VaultError where what was read doesn't allow it. `check` and `edit` may run again
    if another process changed the record meanwhile, unless the caller gave an etag, which then is
    refused as stale; what they note for their caller, they note anew. `also` is carried out in the
    same transaction.
    """

    attempted: Attempt
    address: Address
    edit: Edit
    mark: RequestMark | None
    etag: str = ""
    also: Change[object] | None = None
    check: Callable[[OpenedRecord], None] = _anything


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


@dataclass(slots=True, eq=False)
class _Draft:
    """A record on its way to what it becomes; each step adds to it."""

    its: Rewrite
    record: OpenedRecord
    new: Edited = field(init=False)
    rows: Sequence[IndexRow] = field(init=False)
    sealed: SealedRecord = field(init=False)


async def _try(
    served: ServedCompartment, each: Sequence[Rewrite], outcomes: dict[Rewrite, Outcome]
) -> None:
    """Take each step for all of them, and then the next: so more are put in a second."""
    standing = served.keyring.standing
    drafts: list[_Draft] = []
    opened = await served.records.open_each([its.address for its in each])
    for its, record in zip(each, opened, strict=True):
        if isinstance(record, VaultError):
            outcomes[its] = record
        else:
            drafts.append(_Draft(its, record))
    for step in (_check, _edit):
        drafts = await _take(step, drafts, outcomes)
    drafts = await _index(served, drafts, outcomes)
    drafts = await _take(_seal, drafts, outcomes)
    try:
        changed = await change_all(served, [_plan(draft) for draft in drafts], standing.epoch)
    except KeysChangedError as e:
        changed = [e] * len(drafts)
    for draft, done in zip(drafts, changed, strict=True):
        outcomes[draft.its] = await _etag(served, draft, done)
    if any(isinstance(outcome, KeysChangedError) for outcome in outcomes.values()):
        await served.look_beyond(standing)


async def _take(
    step: Callable[[_Draft], None], drafts: Sequence[_Draft], outcomes: dict[Rewrite, Outcome]
) -> list[_Draft]:
    """Take a step with each; return those that it didn't refuse."""
    able: list[_Draft] = []
    for place, draft in enumerate(drafts):
        if place % _AT_ONCE == _AT_ONCE - 1:
            await asyncio.sleep(0)  # single calls have their turn: none waits for the whole
        try:
            step(draft)
        except VaultError as e:
            outcomes[draft.its] = e
        else:
            able.append(draft)
    return able


def _check(draft: _Draft) -> None:
    draft.its.attempted.met(draft.record.about)
    draft.its.check(draft.record)


def _edit(draft: _Draft) -> None:
    try:
        draft.new = draft.its.edit(draft.record)
    except DamagedError:
        raise VaultError(
            Reason.DAMAGED, "A value's bytes don't hold. The security team must look at this."
        ) from None
    check_record_size(draft.new.values.values())


def _seal(draft: _Draft) -> None:
    new, key = draft.new, draft.record.data_key
    draft.sealed = seal_record(draft.its.address, key, new.about, new.values.values())


async def _index(
    served: ServedCompartment, drafts: Sequence[_Draft], outcomes: dict[Rewrite, Outcome]
) -> list[_Draft]:
    """Find each one's index rows; return those that can have them."""
    able: list[_Draft] = []
    for start in range(0, len(drafts), _INDEXED_AT_ONCE):
        await asyncio.sleep(0)
        some = drafts[start : start + _INDEXED_AT_ONCE]
        wanted = [(draft.its.attempted.edition, draft.new.written) for draft in some]
        for draft, rows in zip(some, await index_rows_each(served, wanted), strict=True):
            if isinstance(rows, VaultError):
                outcomes[draft.its] = rows
            else:
                draft.rows = rows
                able.append(draft)
    return able


def _plan(draft: _Draft) -> Planned[bool | None]:
    attempted = draft.its.attempted
    describe = partial(attempted.changed, draft.sealed, draft.record.row)
    return Planned(attempted, _swap(draft), describe)


async def _etag(
    served: ServedCompartment, draft: _Draft, done: bool | VaultError | None
) -> Outcome:
    if isinstance(done, VaultError):
        return done
    if done:
        return etag_of(draft.sealed)
    try:  # a repetition
        return await current_etag(served, draft.its.address)
    except VaultError as e:
        return e


def _is_worth_another(its: Rewrite, outcome: Outcome) -> bool:
    """Tell whether it may be done at the next try."""
    if isinstance(outcome, KeysChangedError):
        return True
    stale = isinstance(outcome, VaultError) and outcome.reason is Reason.STALE_ETAG
    return stale and not its.etag


def _swap(draft: _Draft) -> Change[bool | None]:
    its, row = draft.its, draft.record.row
    meant = not its.etag or its.etag == etag_of(row)
    replacement = Replacement(
        pseudonym=its.address.pseudonym,
        replaces=row.row_version if meant else None,
        by=draft.sealed,
        mark=its.mark,
        index_of=draft.new.changed,
        index_rows=draft.rows,
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
