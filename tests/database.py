"""Fixtures of empty databases of a compartment, on SQLite and on PostgreSQL.

A test that takes `database` runs on both, with the tables in place and no rows; `sqlite` and
`postgres` are one of them. A test that takes `bare_url` runs on both, with nothing in place.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, event, insert, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from vault.dev import Running
from vault.dev.postgres import OWNER
from vault.store import schema, tables
from vault.store.engine import Database, connect
from vault.store.hot import HotConnection
from vault.store.load import Loader, StoredRecord
from vault.store.schema import Schema

Fetch = Callable[..., Awaitable[Any]]

__all__ = [
    "bare_postgres_url",
    "bare_sqlite_url",
    "bare_url",
    "cluster",
    "database",
    "database_url",
    "postgres",
    "postgres_home",
    "postgres_url",
    "sqlite",
    "sqlite_home",
    "sqlite_url",
]


@dataclass(frozen=True, slots=True)
class Cluster:
    """The session's PostgreSQL, for databases beside those of the stack."""

    superuser: str = field(repr=False)
    owner: str = field(repr=False)

    def create_database(self) -> str:
        """Make a database that nobody but its owner may enter; return the owner's URL."""
        name = f"test_{secrets.token_hex(6)}"
        self.run(
            f"CREATE DATABASE {name} OWNER {OWNER}", f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"
        )
        return _url(self.owner, database=name)

    def create_role(self, url: str) -> str:
        """Make a role that may enter the database of a URL; return the role's URL."""
        name, password = f"role_{secrets.token_hex(6)}", secrets.token_hex(16)
        self.run(
            f"CREATE ROLE {name} LOGIN PASSWORD '{password}'",
            f"GRANT CONNECT ON DATABASE {make_url(url).database} TO {name}",
        )
        return _url(url, username=name, password=password)

    def run(self, *statements: str) -> None:
        async def execute() -> None:
            engine = create_async_engine(self.superuser, isolation_level="AUTOCOMMIT")
            async with engine.connect() as connection:
                for statement in statements:
                    await connection.execute(text(statement))
            await engine.dispose()

        asyncio.run(execute())


@pytest.fixture(scope="session")
def cluster(running: Running) -> Cluster:
    owner = running.owner_urls["accounts"]
    password = (running.config.parent / "passwords" / "postgres").read_text()
    superuser = _url(owner, username="postgres", password=password, database="postgres")
    return Cluster(superuser, owner)


@pytest.fixture(scope="session")
def postgres_home(cluster: Cluster) -> str:
    """The owner's URL of a compartment's database, at this release's revision."""
    url = cluster.create_database()
    asyncio.run(_upgrade(url))
    return url


@pytest.fixture(scope="session")
def sqlite_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A compartment's database, at this release's revision, to be copied."""
    file = tmp_path_factory.mktemp("sqlite") / "empty.db"
    asyncio.run(_upgrade(url_of(file)))
    return file


@pytest.fixture
def postgres_url(postgres_home: str) -> str:
    asyncio.run(_clear(postgres_home))
    return postgres_home


@pytest.fixture
def sqlite_url(sqlite_home: Path, tmp_path: Path) -> str:
    return url_of(Path(shutil.copy(sqlite_home, tmp_path / "accounts.db")))


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = connect(database_url)
    yield opened
    await opened.close()


@pytest.fixture
async def postgres(postgres_url: str) -> AsyncIterator[Database]:
    opened = connect(postgres_url)
    yield opened
    await opened.close()


@pytest.fixture
async def sqlite(sqlite_url: str) -> AsyncIterator[Database]:
    opened = connect(sqlite_url)
    yield opened
    await opened.close()


@pytest.fixture
def bare_sqlite_url(tmp_path: Path) -> str:
    return url_of(tmp_path / "bare.db")


@pytest.fixture
def bare_postgres_url(cluster: Cluster) -> str:
    return cluster.create_database()


@pytest.fixture(params=["bare_sqlite_url", "bare_postgres_url"], ids=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


def url_of(file: Path) -> str:
    return f"sqlite+aiosqlite:///{file}"


async def put(database: Database, table: Table, **values: object) -> None:
    """Insert a row; columns that aren't given are empty or zero."""
    blank = {column.name: column.type.python_type() for column in table.columns}
    async with database.writes.begin() as connection:
        await connection.execute(insert(table).values(**blank | values))


async def rows(database: Database, table: Table) -> list[Any]:
    """Return all rows of a table, in the order of its key."""
    async with database.reads.connect() as connection:
        return list((await connection.execute(table.select().order_by(*table.primary_key))).all())


async def execute(database: Database, statement: str) -> None:
    async with database.writes.begin() as connection:
        await connection.execute(text(statement))


async def load(database: Database, pseudonym: bytes) -> StoredRecord | None:
    """Load a record by a loader of its own."""
    loader = Loader(database)
    try:
        return await loader.load(pseudonym)
    finally:
        await loader.close()


@contextmanager
def seen(engine: AsyncEngine, word: str) -> Iterator[list[str]]:
    """Collect the statements that begin with a word, as they are sent."""
    found: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.lstrip().startswith(word):
            found.append(statement)

    async def send(send_on: Fetch, connection: HotConnection, statement: str, *given: Any) -> Any:
        if connection._engine is engine:
            note(None, None, statement)
        return await send_on(connection, statement, *given)

    event.listen(engine.sync_engine, "before_cursor_execute", note)
    with hot_statements(send):
        yield found
    event.remove(engine.sync_engine, "before_cursor_execute", note)


@contextmanager
def hot_statements(send: Fetch) -> Iterator[None]:
    """Have the hot statements pass `send(send_on, connection, statement, *arguments)`."""
    send_on = HotConnection.fetch

    async def fetch(connection: HotConnection, statement: str, *arguments: object) -> Any:
        return await send(send_on, connection, statement, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HotConnection, "fetch", fetch)
        yield


async def _upgrade(url: str) -> None:
    database = connect(url)
    await schema.upgrade(database, Schema.COMPARTMENT)
    await database.close()


async def _clear(url: str) -> None:
    database = connect(url)
    async with database.writes.begin() as connection:
        for table in tables.COMPARTMENT.sorted_tables:
            await connection.execute(table.delete())
    await database.close()


def _url(url: str, **changes: Any) -> str:
    return make_url(url).set(**changes).render_as_string(hide_password=False)
