"""Coalesced reads: one SELECT for all who wait, and never one that was sent before."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, update
from sqlalchemy.util import await_only

from tests.database import Fetch, execute, hot_statements, put, seen
from vault.errors import Reason, VaultError
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.load import MOST_A_SELECT, Loader, StoredRecord, WrappedDataKey


@pytest.fixture
async def loader(database: Database) -> AsyncIterator[Loader]:
    begun = Loader(database)
    yield begun
    await begun.close()


def pseudonym(number: int) -> bytes:
    return number.to_bytes(32, "big")


async def put_record(database: Database, number: int) -> None:
    raw = pseudonym(number)
    await put(database, t.records, pseudonym=raw, row_version=b"v1", sealed=b"sealed %d" % number)
    await put(database, t.data_keys, pseudonym=raw, id=b"key id", kek_version=1, wrapped=b"wrapped")


def stored(number: int) -> StoredRecord:
    key = WrappedDataKey(b"key id", 1, b"wrapped")
    return StoredRecord(b"v1", b"sealed %d" % number, {key.id: key})


class Held:
    """The answer to a SELECT, on its way until it may pass."""

    def __init__(self) -> None:
        self.may_pass = asyncio.Event()
        self._carried_out = asyncio.Event()

    async def carried_out(self) -> None:
        """Return once the database has answered; fail if it never does."""
        await asyncio.wait_for(self._carried_out.wait(), 30)

    def hold(self, *_: Any) -> None:
        """Wait as a listener of the engine, the first time that it is called."""
        await_only(self.pause())

    async def send(self, send_on: Fetch, *statement: Any) -> Any:
        """Send a hot statement, and keep its answer back, the first time that it is called."""
        rows = await send_on(*statement)
        await self.pause()
        return rows

    async def pause(self) -> None:
        if not self._carried_out.is_set():
            self._carried_out.set()
            await self.may_pass.wait()


@contextmanager
def first_answer_held(database: Database) -> Iterator[Held]:
    held, engine = Held(), database.reads.sync_engine
    event.listen(engine, "after_cursor_execute", held.hold)
    with hot_statements(held.send):
        yield held
    event.remove(engine, "after_cursor_execute", held.hold)


async def test_all_who_wait_share_one_select(database: Database, loader: Loader) -> None:
    """Each gets its own record, also where several ask for one, and None where there is none."""
    for number in range(20):
        await put_record(database, number)
    asked = [*range(20), *range(20), 98, 99]
    with seen(database.reads, "SELECT") as selects:
        found = await asyncio.gather(*(loader.load(pseudonym(number)) for number in asked))
    assert found == [stored(number) if number < 20 else None for number in asked]
    assert len(selects) == 1


async def test_more_than_fit_take_more_selects(database: Database, loader: Loader) -> None:
    await put_record(database, 7)
    with seen(database.reads, "SELECT") as selects:
        asked = (loader.load(pseudonym(number)) for number in range(2 * MOST_A_SELECT + 1))
        found = await asyncio.gather(*asked)
    assert [number for number, record in enumerate(found) if record] == [7]
    assert len(selects) == 3


async def test_who_asks_for_several_shares_a_select_and_gets_those_alone(
    database: Database, loader: Loader
) -> None:
    for number in range(6):
        await put_record(database, number)
    with seen(database.reads, "SELECT") as selects:
        wanted = [(0, 1, 2), (2, 3, 9), (4,)]
        asked = (loader.load_each([pseudonym(number) for number in its]) for its in wanted)
        found = await asyncio.gather(*asked)
    assert [set(its) for its in found] == [
        {pseudonym(0), pseudonym(1), pseudonym(2)},
        {pseudonym(2), pseudonym(3)},
        {pseudonym(4)},
    ]
    assert found[1][pseudonym(3)] == stored(3)
    assert len(selects) == 1


async def test_no_select_is_longer_than_it_may_be(database: Database, loader: Loader) -> None:
    """Whoever doesn't fit in whole waits for the next."""
    spans = [range(start, start + 150) for start in (0, 150, 300)]
    with seen(database.reads, "SELECT") as selects:
        asked = (loader.load_each([pseudonym(number) for number in span]) for span in spans)
        assert await asyncio.gather(*asked) == [{}, {}, {}]
    assert len(selects) == 3


async def test_one_after_the_other_they_share_nothing(database: Database, loader: Loader) -> None:
    with seen(database.reads, "SELECT") as selects:
        assert await loader.load(pseudonym(1)) is None
        await put_record(database, 1)
        assert await loader.load(pseudonym(1)) == stored(1)
    assert len(selects) == 2


async def test_none_joins_a_select_already_sent(database: Database, loader: Loader) -> None:
    """A read that begins after a write was committed sees it, though another is on its way.

    Those who come while one is under way share the next.
    """
    await put_record(database, 1)
    with seen(database.reads, "SELECT") as selects, first_answer_held(database) as held:
        before = asyncio.create_task(loader.load(pseudonym(1)))
        await held.carried_out()
        async with database.writes.begin() as connection:
            await connection.execute(update(t.records).values(row_version=b"v2"))
        after = [asyncio.create_task(loader.load(pseudonym(1))) for _ in range(5)]
        await asyncio.sleep(0)
        held.may_pass.set()
        assert await before == stored(1)
        found = await asyncio.gather(*after)
    assert {record.row_version for record in found if record} == {b"v2"}
    assert len(selects) == 2


async def test_a_record_comes_with_all_its_data_keys(database: Database, loader: Loader) -> None:
    await put_record(database, 1)
    await put(database, t.data_keys, pseudonym=pseudonym(1), id=b"newer", kek_version=2)
    await put(database, t.records, pseudonym=pseudonym(2))
    one, two = await asyncio.gather(loader.load(pseudonym(1)), loader.load(pseudonym(2)))
    assert one is not None
    assert two is not None
    assert {its.id: its.kek_version for its in one.data_keys.values()} == {
        b"key id": 1,
        b"newer": 2,
    }
    assert two.data_keys == {}


async def test_a_failing_select_reaches_all_who_wait_and_nobody_else(
    database: Database, loader: Loader
) -> None:
    await put_record(database, 1)
    await execute(database, "ALTER TABLE data_keys RENAME TO away")
    waiting = [loader.load(pseudonym(number)) for number in (1, 1, 2, 3)]
    refused = await asyncio.gather(*waiting, return_exceptions=True)
    reasons = [error.reason for error in refused if isinstance(error, VaultError)]
    assert reasons == [Reason.STORAGE_UNAVAILABLE] * 4

    await execute(database, "ALTER TABLE away RENAME TO data_keys")
    assert await loader.load(pseudonym(1)) == stored(1)


async def test_one_who_stops_waiting_takes_the_answer_from_nobody(
    database: Database, loader: Loader
) -> None:
    await put_record(database, 1)
    with first_answer_held(database) as held:
        gone, waiting = (asyncio.create_task(loader.load(pseudonym(1))) for _ in range(2))
        await held.carried_out()
        gone.cancel()
        held.may_pass.set()
        assert await waiting == stored(1)
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_all_may_stop_waiting(database: Database, loader: Loader) -> None:
    """Nobody hears the answer, nor the failure, and the next load is none the worse for it."""
    with first_answer_held(database) as held:
        gone = asyncio.create_task(loader.load(pseudonym(1)))
        await held.carried_out()
        gone.cancel()
        held.may_pass.set()
    await put_record(database, 1)
    assert await loader.load(pseudonym(1)) == stored(1)


async def test_who_left_before_their_turn_takes_nobody_along(
    database: Database, loader: Loader
) -> None:
    """Two wait for one record and one of them leaves, two for another and both do."""
    await put_record(database, 1)
    with seen(database.reads, "SELECT") as selects, first_answer_held(database) as held:
        first = asyncio.create_task(loader.load(pseudonym(9)))
        await held.carried_out()
        one = [asyncio.create_task(loader.load(pseudonym(1))) for _ in range(2)]
        two = [asyncio.create_task(loader.load(pseudonym(2))) for _ in range(2)]
        await asyncio.sleep(0)
        for task in (one[0], *two):
            task.cancel()
        await asyncio.wait((one[0], *two))
        held.may_pass.set()
        assert await one[1] == stored(1)
        await first
    assert len(selects) == 2


async def test_if_all_left_nothing_is_read(database: Database, loader: Loader) -> None:
    with seen(database.reads, "SELECT") as selects:
        gone = asyncio.create_task(loader.load(pseudonym(1)))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait((gone,))
        await loader.close()
    assert selects == []
