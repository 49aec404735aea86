"""One moment of a compartment's trail, streamed: for verifying it, and for exports."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.store import tables as t
from vault.store.checkpoints import CheckpointRow
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.events import COLUMNS, StoredEvent

BATCH = 2000  # rows in memory at a time


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one transaction sees; nothing of it changes while it is read."""

    connection: AsyncConnection

    async def compartment(self) -> bytes | None:
        """Return the uuid of the compartment; None if nothing was ever written here."""
        uuid: bytes | None = (await self.connection.execute(select(t.compartment.c.uuid))).scalar()
        return uuid

    async def count(self) -> int:
        """Return how many events there are."""
        query = select(func.count()).select_from(t.audit)
        return int((await self.connection.execute(query)).scalar_one())

    async def checkpoints(self) -> AsyncIterator[Sequence[CheckpointRow]]:
        """Yield all checkpoints in order, in batches."""
        query = select(t.checkpoints).order_by(t.checkpoints.c.number)
        async for rows in self._stream(query):
            yield [CheckpointRow(*row) for row in rows]

    async def events(self) -> AsyncIterator[Sequence[StoredEvent]]:
        """Yield all events by writer and sequence, in batches."""
        query = select(*COLUMNS).order_by(t.audit.c.writer, t.audit.c.sequence)
        async for rows in self._stream(query):
            yield rows

    async def _stream(self, query: Select[Any]) -> AsyncIterator[Sequence[Any]]:
        result = await self.connection.stream(query.execution_options(yield_per=BATCH))
        async for rows in result.partitions():
            yield rows


@asynccontextmanager
async def snapshot(database: Database) -> AsyncIterator[Snapshot]:
    """Open one moment of the trail, for reading. Raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.reads.connect() as connection:
            if database.is_postgresql:
                options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
                await connection.execution_options(**options)
            else:
                await connection.exec_driver_sql("BEGIN")
            yield Snapshot(connection)
