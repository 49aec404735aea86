"""Engines, one a database: no error prints a parameter, and no SQL names two databases."""

import asyncio
import logging
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiosqlite
from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_POOL = 8  # connections a compartment: reads are coalesced, writes have one committer

# Its debug lines print the parameters of every statement.
logging.getLogger("aiosqlite").setLevel(logging.WARNING)


class _Walled(sqlite3.Connection):
    """A SQLite connection that can't attach a second file: no SQL can name two compartments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        self.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000;"
            "PRAGMA secure_delete=ON;"  # an erased row's bytes are overwritten in the file
        )


@dataclass(frozen=True, slots=True)
class Database:
    """One database: an engine for single SELECTs, and one for transactions."""

    reads: AsyncEngine
    writes: AsyncEngine

    @property
    def is_postgresql(self) -> bool:
        """Whether rows can be locked and roles confined; SQLite has one process and one writer."""
        return self.writes.dialect.name == "postgresql"

    async def close(self) -> None:
        """Close all connections."""
        await self.reads.dispose()
        await self.writes.dispose()


def connect(
    url: str, password_file: Path | None = None, *, stuck_after: float | None = None
) -> Database:
    """Make the engines for a URL, unconnected. Raises ValueError for another kind of database.

    PostgreSQL ends a transaction in which nothing was asked for `stuck_after` seconds: a process
    that is stopped while it holds locks would stop all others.
    """
    target = make_url(url)
    if password_file is not None:
        target = target.set(password=password_file.read_text(encoding="utf-8").strip())
    if target.drivername == "sqlite+aiosqlite":
        return _sqlite(target)
    if target.drivername == "postgresql+asyncpg":
        # asyncpg's own errors print parameters in `detail`: they are never shown, see store.errors
        arguments: dict[str, object] = {"timeout": 5}
        if stuck_after is not None:
            limit = {"idle_in_transaction_session_timeout": str(int(stuck_after * 1000))}
            arguments["server_settings"] = limit
        engine = _engine(target, arguments, pool_size=_POOL, max_overflow=_POOL)
        return Database(engine.execution_options(isolation_level="AUTOCOMMIT"), engine)
    raise ValueError(
        f"{target.drivername} isn't a database that piivault keeps rows in: "
        "use postgresql+asyncpg:// or sqlite+aiosqlite:///"
    )


def as_user(url: str, user: str) -> tuple[str, str | None]:
    """Return the URL with another login, and the login that it had."""
    target = make_url(url)
    return target.set(username=user).render_as_string(hide_password=False), target.username


def entrance(url: str, role: str, database: str) -> str:
    """Return the URL of another database on the same server, for a role, without a password."""
    at = make_url(url)  # its `set` can't take a password away
    target = URL.create(at.drivername, role, None, at.host, at.port, database, at.query)
    return target.render_as_string(hide_password=False)


def within(url: str, database: str) -> str:
    """Return the URL of another database on the same server, with the same login."""
    return make_url(url).set(database=database).render_as_string(hide_password=False)


def user_of(url: str) -> str | None:
    """Return the login of a URL; None where it names none, or is no URL."""
    try:
        return make_url(url).username
    except ArgumentError:
        return None


def _sqlite(url: URL) -> Database:
    # isolation_level None: the driver begins no transactions of its own
    arguments = {
        "factory": _Walled,
        "isolation_level": None,
        "async_creator_fn": _connect_sqlite,
    }
    reads = _engine(url, arguments)
    writes = _engine(url, arguments, pool_size=1, max_overflow=0)

    @event.listens_for(writes.sync_engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return Database(reads, writes)


async def _connect_sqlite(*args: Any, **kwargs: Any) -> aiosqlite.Connection:
    """Connect, or leave nothing behind: a failed connection's thread could outlive the loop."""
    connection = aiosqlite.connect(*args, **kwargs)
    # As SQLAlchemy has it where it connects by itself: else a connection that nobody closed keeps
    # the interpreter from ending. aiosqlite shows its thread in no other way.
    thread = connection._thread
    thread.daemon = True
    try:
        return await connection
    except BaseException:
        await asyncio.to_thread(thread.join)
        raise


def _engine(url: URL, arguments: Mapping[str, object], **pool: int) -> AsyncEngine:
    return create_async_engine(
        url, hide_parameters=True, pool_pre_ping=False, connect_args=dict(arguments), **pool
    )
