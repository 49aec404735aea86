"""Walls: what a worker's login can't do, what no SQL can name, and what no error says."""

import logging
import os
import traceback
from collections.abc import AsyncIterator
from pathlib import Path
from sqlite3 import OperationalError

import pytest
from sqlalchemy import insert, make_url, text
from sqlalchemy.exc import DBAPIError

from tests.database import Cluster, execute, load, put, rows
from vault import config
from vault.dev import Running
from vault.errors import Reason, VaultError
from vault.store import changes, role_sql, schema
from vault.store import tables as t
from vault.store.engine import Database, connect
from vault.store.errors import storage_errors
from vault.store.load import WrappedDataKey
from vault.store.rights import Rights
from vault.store.schema import Schema

PLANTED = "canary-Aigul-+996555123456"


# A worker's role on PostgreSQL.


@pytest.fixture(scope="module")
def worker_url(cluster: Cluster, postgres_home: str) -> str:
    return cluster.create_role(postgres_home)


@pytest.fixture
async def worker(postgres: Database, worker_url: str) -> AsyncIterator[Database]:
    """A login with a worker's rights, in a database that another one owns."""
    opened = connect(worker_url)
    role = opened.writes.url.username
    assert role is not None
    await role_sql.grant(postgres, role, Rights.WORKER)
    yield opened
    await opened.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM audit",
        "SELECT count(*) FROM audit",
        "UPDATE audit SET token = ''",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit VALUES ('w', 0, '', '', '') RETURNING sealed",
        "COPY audit TO STDOUT",
        "LOCK audit IN ACCESS EXCLUSIVE MODE",
        "SELECT * FROM checkpoints",
        "INSERT INTO checkpoints VALUES (1, '', '')",
        "DELETE FROM compartment",
        "DELETE FROM keyring",
        "UPDATE blind_index SET pseudonym = ''",
        "UPDATE tombstones SET token = ''",
        "UPDATE idempotency SET content = ''",
        "UPDATE alembic_version SET version_num = ''",
        "TRUNCATE records",
        "ALTER TABLE records ADD COLUMN first_name TEXT",
        "DROP TABLE audit",
        "CREATE TABLE mine (id int)",
        "CREATE TRIGGER t AFTER INSERT ON audit EXECUTE FUNCTION f()",
        "SET ROLE piivault_owner",
        "COPY records TO PROGRAM 'cat'",
        "SELECT pg_read_file('PG_VERSION')",
    ],
)
async def test_a_worker_may_not(worker: Database, statement: str) -> None:
    """SQLSTATE 42501: insufficient privilege, and nothing else."""
    with pytest.raises(DBAPIError) as refused:
        await execute(worker, statement)
    assert getattr(refused.value.orig, "sqlstate", None) == "42501"


async def test_a_worker_writes_the_trail_and_never_reads_it(
    worker: Database, postgres: Database
) -> None:
    await put(worker, t.audit, writer=b"w", sealed=b"sealed")
    assert [row.sealed for row in await rows(postgres, t.audit)] == [b"sealed"]


async def test_a_workers_rights_are_enough_for_its_work(worker: Database) -> None:
    """A record's whole life, under the login that a worker has."""
    await schema.check(worker, Schema.COMPARTMENT)
    key = WrappedDataKey(b"key id", 1, b"wrapped")
    row = changes.IndexRow("email", 4, 1, b"value", True)
    async with worker.writes.begin() as c:
        assert await changes.remember_request(c, changes.RequestMark(b"id", b"asked", 1))
        await changes.insert_record(c, b"A", b"v1", b"sealed", key)
        await changes.replace_index_rows(c, b"A", [4], [row])
        await changes.replace_record(c, b"A", b"v1", b"v2", b"sealed anew")
    assert await load(worker, b"A") is not None
    async with worker.writes.begin() as c:
        assert await changes.erase_record(c, b"A", b"tombstone")
        assert await changes.has_tombstone(c, b"tombstone")
        await changes.lift_tombstone(c, b"tombstone")
        await changes.forget_requests(c, 2)


async def test_rights_may_be_given_again_and_are_taken_back_first(
    worker: Database, postgres: Database
) -> None:
    role = worker.writes.url.username
    assert role is not None
    await execute(postgres, f"GRANT SELECT ON audit TO {role}")
    await role_sql.grant(postgres, role, Rights.WORKER)
    with pytest.raises(DBAPIError, match="permission denied"):
        await execute(worker, "SELECT * FROM audit")


async def test_a_compartments_login_enters_no_other_database(running: Running) -> None:
    """Not by connecting, and not by naming it in SQL."""
    settings = config.load(running.config, {})
    section = settings.compartments["accounts"].database
    own = connect(section.url, section.password_file)
    with pytest.raises(DBAPIError, match="cross-database references are not implemented"):
        await execute(own, "SELECT * FROM piivault_orders.public.records")
    await own.close()
    for other in ("orders", "enterprises", "web", "control"):
        elsewhere = make_url(section.url).set(database=f"piivault_{other}")
        stranger = connect(elsewhere.render_as_string(), section.password_file)
        with pytest.raises(DBAPIError, match="permission denied for database"):
            await execute(stranger, "SELECT 1")
        await stranger.close()


# SQLite files.


@pytest.mark.parametrize("engine", ["reads", "writes"])
@pytest.mark.parametrize("statement", ["ATTACH '{}' AS orders", "VACUUM INTO '{}'"])
async def test_no_second_file_can_be_attached(
    sqlite: Database, tmp_path: Path, statement: str, engine: str
) -> None:
    """Neither to join compartments nor to copy one out."""
    async with getattr(sqlite, engine).connect() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        assert driver is not None
        with pytest.raises(OperationalError, match="too many attached databases - max 0"):
            await driver.execute(statement.format(tmp_path / "orders.db"))
    assert "orders.db" not in os.listdir(tmp_path)


async def test_rows_lie_in_key_order(sqlite: Database) -> None:
    """WITHOUT ROWID: a file doesn't show in which order subjects came."""
    async with sqlite.reads.connect() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'table'"
        found = (await connection.execute(text(query))).all()
    with_rowid = {name for name, sql in found if "WITHOUT ROWID" not in sql}
    assert with_rowid == {"alembic_version"}
    assert {name for name, _ in found} - with_rowid == set(t.COMPARTMENT.tables)


async def test_an_erased_row_is_gone_from_the_files(sqlite: Database, tmp_path: Path) -> None:
    """Overwritten, not merely unlinked: the file of the database and what lies beside it."""
    sealed = PLANTED.encode() * 100
    await put(sqlite, t.records, pseudonym=b"A", sealed=sealed)
    await put(sqlite, t.records, pseudonym=b"B", sealed=b"stays")
    assert _is_in_files(tmp_path)
    async with sqlite.writes.begin() as connection:
        assert await changes.erase_record(connection, b"A", b"tombstone")
    await sqlite.close()
    assert not _is_in_files(tmp_path)
    assert [row.sealed for row in await rows(sqlite, t.records)] == [b"stays"]


def _is_in_files(folder: Path) -> bool:
    return any(PLANTED.encode() in file.read_bytes() for file in folder.iterdir())


async def test_a_commit_is_on_the_disk(sqlite: Database) -> None:
    """Write-ahead log, synced at each commit, and others wait instead of failing."""
    wanted = {"journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "busy_timeout": 5000}
    for engine in (sqlite.reads, sqlite.writes):
        async with engine.connect() as connection:
            for pragma, value in wanted.items():
                found = await connection.exec_driver_sql(f"PRAGMA {pragma}")
                assert found.scalar_one() == value


@pytest.mark.parametrize("url", ["sqlite:///x.db", "postgresql://x/y", "mysql+aiomysql://x/y"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"use postgresql\+asyncpg:// or sqlite\+aiosqlite:///"):
        connect(url)


# Errors and logs.


async def _insert_twice(database: Database) -> None:
    row = insert(t.tombstones).values(token=PLANTED.encode())
    with storage_errors():
        async with database.writes.begin() as connection:
            await connection.execute(row)
            await connection.execute(row)


async def test_no_error_and_no_log_line_has_a_parameter(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    """A statement fails on a planted value; everything that is said of it is searched."""
    caplog.set_level(logging.DEBUG)
    with pytest.raises(VaultError) as refused:
        await _insert_twice(database)
    error = refused.value
    assert error.reason is Reason.STORAGE_UNAVAILABLE
    shown = [str(error), repr(error), repr(vars(error)), *traceback.format_exception(error)]
    _assert_nothing_planted("\n".join([*shown, caplog.text]))
    assert "storage: IntegrityError" in caplog.text


async def test_not_even_the_drivers_debug_lines(
    database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await put(database, t.records, pseudonym=PLANTED.encode(), sealed=PLANTED.encode())
    await put(database, t.keyring, kind="kek", wrapped=PLANTED)
    assert await load(database, PLANTED.encode()) is not None
    assert [row.wrapped for row in await rows(database, t.keyring)] == [PLANTED]
    _assert_nothing_planted(caplog.text)


async def test_nothing_shows_a_password(worker_url: str, tmp_path: Path) -> None:
    """Neither the engines' repr nor the error of a refused login."""
    (tmp_path / "password").write_text(f" {PLANTED}\n")
    database = connect(worker_url, tmp_path / "password")
    with pytest.raises(VaultError) as refused:
        await schema.check(database, Schema.COMPARTMENT)
    shown = repr(database) + repr(database.writes.url) + str(database.writes.url)
    _assert_nothing_planted(shown + "".join(traceback.format_exception(refused.value)))
    await database.close()


def _assert_nothing_planted(shown: str) -> None:
    for spelling in (PLANTED, PLANTED[:12], PLANTED.encode().hex()[:24]):
        assert spelling not in shown
