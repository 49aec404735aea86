"""The hot statements on PostgreSQL: the raw driver, on connections of the pool.

A reveal costs one SELECT and one INSERT, each shared with all that wait. What SQLAlchemy adds to a
statement costs more than the rest of a reveal (docs/adr/0011-hot-statements.md), so these two go
past it, on a connection that is kept. So do tombstones looked for and requests put on record; pages
of the trail, on whichever connection is free; and what changes share, within the transaction that
SQLAlchemy began and ends. Everything else doesn't.
"""

from collections.abc import Sequence
from typing import Any, Self

from asyncpg import InterfaceError, PostgresError
from asyncpg.exceptions import OperatorInterventionError, PostgresConnectionError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

# What a statement raises when its connection is gone; nobody knows whether it was carried out.
BROKEN = (InterfaceError, OperatorInterventionError, PostgresConnectionError, ConnectionError)

_PATIENCE = 10.0  # seconds: a connection gone silent must not hold up whoever comes later


class HotConnection:
    """One connection, for one caller at a time. What fails takes the connection along."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._held: AsyncConnection | None = None
        self._driver: Any = None  # asyncpg.Connection

    async def fetch(self, statement: str, *arguments: object) -> Sequence[Any]:
        """Run one statement, a transaction of its own; it is prepared once. Returns its rows.

        Raises the driver's own errors, whose text holds parameters: see `store.errors`.
        """
        if self._driver is None or self._driver.is_closed():
            await self._connect()
        try:
            rows: Sequence[Any] = await self._driver.fetch(statement, *arguments, timeout=_PATIENCE)
        except BaseException:  # a cancelled statement may still be running on it
            await self._drop()
            raise
        return rows

    async def read(self, statement: str, *arguments: object) -> Sequence[Any]:
        """Run a SELECT; once more, where the connection was lost: what it reads is still there."""
        try:
            return await self.fetch(statement, *arguments)
        except BROKEN:
            return await self.fetch(statement, *arguments)

    async def close(self) -> None:
        """Give the connection back."""
        held, self._held, self._driver = self._held, None, None
        if held is not None:
            await held.close()

    async def _connect(self) -> None:
        await self._drop()
        self._held = await self._engine.connect()
        self._driver = await _alive(self._held)

    async def _drop(self) -> None:
        held, self._held, self._driver = self._held, None, None
        if held is not None:
            try:
                await held.invalidate()
            finally:
                await held.close()


async def fetch(engine: AsyncEngine, statement: str, *arguments: object) -> Sequence[Any]:
    """Run one statement, a transaction of its own, on whichever connection of the pool is free.

    For those who don't wait for each other. Otherwise like `HotConnection.fetch`.
    """
    async with engine.connect() as connection:
        driver = await _alive(connection)
        try:
            rows: Sequence[Any] = await driver.fetch(statement, *arguments, timeout=_PATIENCE)
        except BaseException:  # a cancelled statement may still be running on it
            await connection.invalidate()
            raise
        return rows


async def _alive(connection: AsyncConnection) -> Any:
    """Return the driver's connection; another one, for as long as the pool's are dead.

    After a restart of the database all that lay idle are.
    """
    while (driver := await _driver(connection)).is_closed():
        await connection.invalidate()
    return driver


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection


class HotTransaction:
    """Statements in a transaction of SQLAlchemy's, past it: each is prepared once."""

    def __init__(self, connection: AsyncConnection, driver: Any) -> None:
        self._connection = connection
        self._driver = driver

    @classmethod
    async def of(cls, connection: AsyncConnection) -> Self:
        """Go into the transaction that a connection is in."""
        driver = await _driver(connection)
        if not driver.is_in_transaction():  # SQLAlchemy begins one with its own first statement
            await connection.execute(text("SELECT"))
        return cls(connection, driver)

    async def fetch(self, statement: str, *arguments: object) -> Sequence[Any]:
        """Run a statement; return its rows. Raises DBAPIError, as SQLAlchemy would."""
        try:
            rows: Sequence[Any] = await self._driver.fetch(statement, *arguments, timeout=_PATIENCE)
        except (PostgresError, InterfaceError, OSError) as e:
            lost = isinstance(e, BROKEN)
            if lost:
                await self._connection.invalidate()
            raise DBAPIError(
                None, None, e, hide_parameters=True, connection_invalidated=lost
            ) from None
        return rows


def columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Return rows by their columns, as arrays for `unnest`."""
    return [[row[column] for row in rows] for column in range(width)]
