"""Two processes at one database: of many who want one thing, one gets it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
from sqlalchemy import text

from tests.committing import EPOCH, Commit, asked, committing, ids, links, outcomes, told
from tests.database import put, rows
from tests.wire import PATIENCE
from vault.errors import Reason
from vault.store import changes
from vault.store import tables as t
from vault.store.changes import IndexRow
from vault.store.engine import Database, connect
from vault.store.jobs import Transaction

EACH = 10


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[Commit]:
    """The committer of a second process."""
    opened = connect(database_url)
    begun = committing(opened)
    yield begun
    await begun.close()
    await opened.close()


async def test_each_writes_a_chain_of_its_own(
    database: Database, committer: Commit, other: Commit
) -> None:
    both = (committer, other)
    await asyncio.gather(*(its.record(asked(n)) for n in range(EACH) for its in both))
    assert sorted(await ids(database)) == sorted(str(n) for n in range(EACH) for _ in both)
    assert len({link.writer for link in await links(database)}) == 2


async def test_one_of_many_gets_a_unique_value(
    database: Database, committer: Commit, other: Commit
) -> None:
    async def take(transaction: Transaction, subject: bytes) -> bytes:
        wanted = IndexRow("email", 4, 1, b"wanted", True)
        await changes.replace_index_rows(transaction, subject, [4], [wanted])
        return subject

    waiting = [
        its.change(partial(take, subject=f"{n} {its}".encode()), told(n))
        for n in range(EACH)
        for its in (committer, other)
    ]
    answered = Counter(await outcomes(*waiting))
    winner = [row.pseudonym for row in await rows(database, t.blind_index)]
    assert answered == {winner[0]: 1, Reason.VALUE_TAKEN: 2 * EACH - 1}
    assert len(await ids(database)) == 2 * EACH


async def test_one_of_many_changes_the_version_they_all_read(
    database: Database, committer: Commit, other: Commit
) -> None:
    await put(database, t.records, pseudonym=b"A", row_version=b"v1")

    async def replace(transaction: Transaction, version: bytes) -> bytes:
        await changes.replace_record(transaction, b"A", b"v1", version, b"sealed")
        return version

    waiting = [
        its.change(partial(replace, version=f"{n} {its}".encode()), told(n))
        for n in range(EACH)
        for its in (committer, other)
    ]
    answered = Counter(await outcomes(*waiting))
    winner = [row.row_version for row in await rows(database, t.records)]
    assert answered == {winner[0]: 1, Reason.STALE_ETAG: 2 * EACH - 1}


async def test_one_of_many_repetitions_is_carried_out(
    database: Database, committer: Commit, other: Commit
) -> None:
    """A client that hears nothing tries again at another process: the request counts once."""
    mark = changes.RequestMark(b"id", b"asked", 20_000)

    async def once(transaction: Transaction) -> bool:
        return await changes.remember_request(transaction, mark)

    waiting = [its.change(once, told(n)) for n in range(EACH) for its in (committer, other)]
    assert Counter(await outcomes(*waiting)) == {True: 1, False: 2 * EACH - 1}


async def test_a_deadlock_of_two_processes_hurts_nobody(
    postgres: Database, postgres_url: str
) -> None:
    """Two batches take two unique values in opposite order; a read rides along in each."""
    await put(postgres, t.compartment, epoch=EPOCH)
    second = connect(postgres_url)
    processes = (committing(postgres), committing(second))
    met = asyncio.Barrier(2)

    async def take(transaction: Transaction, value: bytes, subject: bytes, wait: bool) -> bytes:
        row = IndexRow("email", 4, 1, value, True)
        await changes.replace_index_rows(transaction, subject, [], [row])
        if wait and met.n_waiting < met.parties and not met.broken:
            await asyncio.wait_for(met.wait(), PATIENCE)
        return subject

    orders = ((b"a", b"b"), (b"b", b"a"))
    tries = []
    for number, (process, values) in enumerate(zip(processes, orders, strict=True)):
        for place, value in enumerate(values):
            subject = f"{number} {value!r}".encode()
            first_try = iter([place == 0])

            async def change(
                transaction: Transaction,
                value: bytes = value,
                subject: bytes = subject,
                first_try: Iterator[bool] = first_try,
            ) -> bytes:
                return await take(transaction, value, subject, next(first_try, False))

            tries.append(process.change(change, told(place)))
        tries.append(process.record(asked(10 + number)))
    answered = await outcomes(*tries)
    await processes[1].close()
    await processes[0].close()
    await second.close()
    assert Reason.STORAGE_UNAVAILABLE not in answered
    assert Reason.AUDIT_UNAVAILABLE not in answered
    assert Counter(answered)[Reason.VALUE_TAKEN] == 2


@pytest.mark.parametrize(("deadlocks", "ends"), [(4, b"put"), (5, Reason.STORAGE_UNAVAILABLE)])
async def test_who_is_chosen_again_and_again_tries_again_but_not_for_ever(
    postgres: Database, deadlocks: int, ends: object
) -> None:
    """A busy machine wakes the other too late, and both meet once more."""
    await put(postgres, t.compartment, epoch=EPOCH)
    left, committer = iter(range(deadlocks)), committing(postgres)

    async def change(transaction: Transaction) -> bytes:
        if next(left, None) is not None:
            chosen = "RAISE EXCEPTION 'chosen' USING ERRCODE = '40P01'"
            await transaction.execute(text(f"DO $$ BEGIN {chosen}; END $$"))
        return b"put"

    answered = await outcomes(committer.change(change, told(1)))
    await committer.close()
    assert answered == [ends]
    assert await ids(postgres) == (["1"] if ends == b"put" else [])
