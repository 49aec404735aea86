"""Reading the trail back: for the auditor, whose login may."""

from collections.abc import AsyncIterator, Sequence

from sqlalchemy import and_, func, select

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors

StoredEvent = tuple[bytes, int, bytes, bytes, bytes]  # writer, sequence, previous, token, sealed
_COLUMNS = (
    t.audit.c.writer,
    t.audit.c.sequence,
    t.audit.c.previous,
    t.audit.c.token,
    t.audit.c.sealed,
)


async def read_events(database: Database) -> AsyncIterator[StoredEvent]:
    """Yield all events by writer and sequence. Raises VaultError(STORAGE_UNAVAILABLE)."""
    query = select(*_COLUMNS).order_by(t.audit.c.writer, t.audit.c.sequence)
    # PostgreSQL streams inside a transaction only; this one is a snapshot besides.
    options = {"isolation_level": "REPEATABLE READ"} if database.is_postgresql else {}
    with storage_errors():
        async with database.reads.connect() as connection:
            await connection.execution_options(**options)
            async for row in await connection.stream(query):
                yield tuple(row)


async def read_ends(database: Database) -> Sequence[StoredEvent]:
    """Return the last two events of each writer, by writer and sequence."""
    last = (
        select(t.audit.c.writer, func.max(t.audit.c.sequence).label("sequence"))
        .group_by(t.audit.c.writer)
        .subquery()
    )
    near = and_(t.audit.c.writer == last.c.writer, t.audit.c.sequence >= last.c.sequence - 1)
    query = select(*_COLUMNS).join(last, near).order_by(t.audit.c.writer, t.audit.c.sequence)
    with storage_errors():
        async with database.reads.connect() as connection:
            return [tuple(row) for row in await connection.execute(query)]
