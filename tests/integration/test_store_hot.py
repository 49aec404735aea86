"""The raw driver's connection: what breaks it takes nobody along, and its errors tell nothing."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import QueuePool, text

from tests.committing import EPOCH, asked, committing, ids
from tests.database import Fetch, hot_statements, put, rows
from vault.company import Company
from vault.errors import Reason, VaultError
from vault.store import hot
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import BROKEN, HotConnection
from vault.store.load import Loader
from vault.store.requests import Requests

PLANTED = "Токтогулова"
KEEP = "INSERT INTO tombstones (token) VALUES ($1)"
LONG = "SELECT pg_sleep(60)"
END_MYSELF = "SELECT pg_terminate_backend(pg_backend_pid())"


@pytest.fixture
async def connection(postgres: Database) -> AsyncIterator[HotConnection]:
    begun = HotConnection(postgres.writes)
    yield begun
    await begun.close()


async def is_well(connection: HotConnection) -> bool:
    return [tuple(row) for row in await connection.fetch("SELECT 1")] == [(1,)]


async def backend(connection: HotConnection) -> int:
    return int((await connection.fetch("SELECT pg_backend_pid()"))[0][0])


async def end(database: Database, connection: HotConnection) -> None:
    """Have PostgreSQL end a connection, and return once that is known here."""
    pid, driver = await backend(connection), connection._driver
    async with database.reads.connect() as other:
        await other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
    for _ in range(1000):
        if driver.is_closed():
            return
        await asyncio.sleep(0.01)
    pytest.fail("the connection lives on")


def in_use(database: Database) -> int:
    pool = database.writes.pool
    assert isinstance(pool, QueuePool)
    return pool.checkedout()


async def test_a_statement_is_a_transaction_of_its_own(
    postgres: Database, connection: HotConnection
) -> None:
    await connection.fetch(KEEP, b"one")
    assert [row.token for row in await rows(postgres, t.tombstones)] == [b"one"]


async def test_one_connection_is_kept_until_it_is_given_back(
    postgres: Database, connection: HotConnection
) -> None:
    assert await backend(connection) == await backend(connection)
    assert in_use(postgres) == 1
    await connection.close()
    assert in_use(postgres) == 0
    await connection.close()


async def test_one_that_ended_meanwhile_is_replaced(
    postgres: Database, connection: HotConnection
) -> None:
    await end(postgres, connection)
    assert await is_well(connection)


async def test_where_all_that_lay_idle_are_dead_another_is_made(
    postgres: Database, connection: HotConnection
) -> None:
    """As after the database was restarted."""
    idle = [HotConnection(postgres.writes) for _ in range(4)]
    for each in idle:
        await each.fetch("SELECT 1")
    for each in idle:
        await end(postgres, each)
    for each in idle:
        await each.close()
    assert await is_well(connection)
    assert await hot.fetch(postgres.writes, "SELECT 1")


async def test_one_that_ends_amid_a_statement_fails_it_and_is_replaced(
    connection: HotConnection,
) -> None:
    with pytest.raises(BROKEN):
        await connection.fetch(END_MYSELF)
    assert await is_well(connection)


async def test_a_cancelled_statement_holds_up_nobody(
    postgres: Database, connection: HotConnection
) -> None:
    before = await backend(connection)
    cancelled = asyncio.create_task(connection.fetch(LONG))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await backend(connection) != before
    assert in_use(postgres) == 1


async def test_a_silent_connection_is_given_up(
    connection: HotConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(hot, "_PATIENCE", 0.05)
        with pytest.raises(TimeoutError):
            await connection.fetch(LONG)
    assert await is_well(connection)


async def test_a_refused_statement_is_told_without_its_parameters(
    connection: HotConnection, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.fetch(KEEP, PLANTED.encode())
    with pytest.raises(VaultError) as refused, storage_errors():
        await connection.fetch(KEEP, PLANTED.encode())
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert refused.value.__suppress_context__
    assert "UniqueViolationError SQLSTATE 23505" in caplog.text
    for told in (str(refused.value), repr(refused.value), caplog.text):
        assert PLANTED not in told
        assert PLANTED.encode().hex() not in told


# On whichever connection is free.


async def test_a_free_connection_is_borrowed_for_a_statement(postgres: Database) -> None:
    await hot.fetch(postgres.reads, KEEP, b"one")
    assert [row.token for row in await rows(postgres, t.tombstones)] == [b"one"]
    assert in_use(postgres) == 0


async def test_a_free_connection_that_ended_is_replaced(
    postgres: Database, connection: HotConnection
) -> None:
    await end(postgres, connection)
    await connection.close()
    assert [tuple(row) for row in await hot.fetch(postgres.reads, "SELECT 1")] == [(1,)]


async def test_a_cancelled_statement_takes_its_connection_along(postgres: Database) -> None:
    pid = "SELECT pg_backend_pid()"
    before = await hot.fetch(postgres.reads, pid)
    cancelled = asyncio.create_task(hot.fetch(postgres.reads, LONG))
    await asyncio.sleep(0.05)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await hot.fetch(postgres.reads, pid) != before
    assert in_use(postgres) == 0


# Those that use it.


def breaking_once() -> Fetch:
    """Have the connection end just before the first hot statement of each."""
    ended: set[HotConnection] = set()

    async def send(send_on: Fetch, connection: HotConnection, *statement: Any) -> Any:
        if connection in ended:
            return await send_on(connection, *statement)
        ended.add(connection)
        return await send_on(connection, END_MYSELF)

    return send


async def test_a_load_is_tried_again_where_the_connection_broke(postgres: Database) -> None:
    await put(postgres, t.records, pseudonym=b"A")
    loader = Loader(postgres)
    with hot_statements(breaking_once()):
        assert await loader.load(b"A") is not None
    await loader.close()


async def test_a_load_that_fails_twice_is_refused(postgres: Database) -> None:
    async def never(*_: Any) -> Any:
        raise ConnectionResetError(PLANTED)

    loader = Loader(postgres)
    with hot_statements(never), pytest.raises(VaultError) as refused:
        await loader.load(b"A")
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    assert await loader.load(b"A") is None
    await loader.close()


async def test_a_request_is_not_added_twice_where_the_connection_broke(postgres: Database) -> None:
    """Nobody knows whether it was written: the caller hears of it, and may repeat it."""
    added = Requests(postgres)
    with hot_statements(breaking_once()):
        with pytest.raises(VaultError) as refused:
            await added.add(b"id", b"sealed")
        assert await added.add(b"id", b"sealed")
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE
    await added.close()


async def test_an_event_is_not_written_twice_where_the_connection_broke(
    postgres: Database,
) -> None:
    """Nobody knows whether it was written: the caller hears of it, and the next goes through."""
    await put(postgres, t.compartment, epoch=EPOCH)
    committer = committing(postgres)
    with hot_statements(breaking_once()):
        with pytest.raises(VaultError) as refused:
            await committer.record(asked("lost"))
        await committer.record(asked("next"))
    assert refused.value.reason is Reason.AUDIT_UNAVAILABLE
    assert await ids(postgres) == ["next"]
    await committer.close()


# Gathering.


async def feed(waiting: list[int], turns: int, count: int) -> None:
    """Let some turns of the loop pass, then add one in each of so many."""
    for _ in range(turns):
        await asyncio.sleep(0)
    for _ in range(count):
        waiting.append(0)
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("last", "aboard", "waits"),
    [(1, 1, False), (1, 2, True), (2, 1, True)],
    ids=["alone", "in company", "after company"],
)
async def test_who_is_alone_waits_for_nobody(last: int, aboard: int, waits: bool) -> None:
    gathering = Company()
    await gathering.gather([0] * last, last)
    waiting = [0] * aboard
    late = asyncio.create_task(feed(waiting, turns=2, count=1))
    await gathering.gather(waiting, 1000)
    assert (len(waiting) > aboard) is waits
    await late


@pytest.mark.parametrize("most", [2, 10**9], ids=["full", "long enough"])
async def test_it_leaves_however_many_come(most: int) -> None:
    waiting = [0, 0]
    feeding = asyncio.create_task(feed(waiting, turns=0, count=10**9))
    await asyncio.wait_for(Company().gather(waiting, most), 30)
    feeding.cancel()
