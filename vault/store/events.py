"""Reading the trail back: for the auditor, whose login may."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sqlalchemy import CTE, Select, and_, case, func, select

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors

StoredEvent = tuple[bytes, int, bytes, bytes, bytes]  # writer, sequence, previous, token, sealed
COLUMNS = (
    t.audit.c.writer,
    t.audit.c.sequence,
    t.audit.c.previous,
    t.audit.c.token,
    t.audit.c.sealed,
)


def writers() -> CTE:
    """List the writers, and a NULL at the end, by hopping from one to the next in the key."""
    # PostgreSQL has no min(bytea) before 18.
    first = select(t.audit.c.writer).order_by(t.audit.c.writer).limit(1)
    walk = select(first.scalar_subquery().label("writer")).cte("walk", recursive=True)
    following = first.where(t.audit.c.writer > walk.c.writer).correlate(walk)
    step = select(following.scalar_subquery()).select_from(walk)
    return walk.union_all(step.where(walk.c.writer.is_not(None)))


def _heads() -> Select[Any]:
    walk = writers()
    last = select(func.max(t.audit.c.sequence)).where(t.audit.c.writer == walk.c.writer)
    return select(walk.c.writer, last.scalar_subquery()).where(walk.c.writer.is_not(None))


_HEADS = _heads()  # written once: that costs more than to send it


async def read_events(database: Database) -> AsyncIterator[StoredEvent]:
    """Yield all events by writer and sequence. Raises VaultError(STORAGE_UNAVAILABLE)."""
    query = select(*COLUMNS).order_by(t.audit.c.writer, t.audit.c.sequence)
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
    # A number below the least is an error, and somebody may have stored the least.
    before = case((last.c.sequence > 0, last.c.sequence - 1), else_=last.c.sequence)
    near = and_(t.audit.c.writer == last.c.writer, t.audit.c.sequence >= before)
    query = select(*COLUMNS).join(last, near).order_by(t.audit.c.writer, t.audit.c.sequence)
    with storage_errors():
        async with database.reads.connect() as connection:
            return [tuple(row) for row in await connection.execute(query)]


async def read_heads(database: Database) -> Mapping[bytes, int]:
    """Return the last sequence of each writer.

    Walks the key from writer to writer, so that its cost grows with writers and not with events.
    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    with storage_errors():
        async with database.reads.connect() as connection:
            return {row[0]: row[1] for row in await connection.execute(_HEADS)}


async def has_below(database: Database, sequence: int) -> bool:
    """Tell whether any writer has an event below a sequence: by the key, as `read_heads`.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    walk = writers()
    first = select(func.min(t.audit.c.sequence)).where(t.audit.c.writer == walk.c.writer)
    query = select(walk.c.writer).where(first.scalar_subquery() < sequence).limit(1)
    with storage_errors():
        async with database.reads.connect() as connection:
            return (await connection.execute(query)).first() is not None


async def read_after(
    database: Database, writer: bytes, after: int, last: int, most: int
) -> Sequence[StoredEvent]:
    """Return the first events of a writer after a sequence, up to another, at most `most`.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    query = (
        select(*COLUMNS)
        .where(
            t.audit.c.writer == writer,
            t.audit.c.sequence > after,
            t.audit.c.sequence <= last,
        )
        .order_by(t.audit.c.sequence)
        .limit(most)
    )
    with storage_errors():
        async with database.reads.connect() as connection:
            return [tuple(row) for row in await connection.execute(query)]
