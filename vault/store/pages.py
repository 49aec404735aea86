"""Reading the trail backwards: where each chain begins and ends, and pages of one chain.

A chain begins at 0: what somebody stored below isn't of it, and is left to `audit verify`.
No statement here reads more than it returns: what is asked goes by the key (writer, sequence).
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import CTE, Select, func, select

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.events import COLUMNS, StoredEvent, writers


async def read_edges(database: Database) -> list[tuple[StoredEvent, StoredEvent]]:
    """Return each writer's first and last event. Raises VaultError(STORAGE_UNAVAILABLE)."""
    walk = writers()
    first, last = t.audit.alias("first"), t.audit.alias("last")
    query = (
        select(*(first.c[c.name] for c in COLUMNS), *(last.c[c.name] for c in COLUMNS))
        .select_from(walk)
        .join(
            first,
            (first.c.writer == walk.c.writer) & (first.c.sequence == _end(func.min, walk)),
        )
        .join(
            last,
            (last.c.writer == walk.c.writer) & (last.c.sequence == _end(func.max, walk)),
        )
    )
    found = await _rows(database, query)
    return [(tuple(row[:5]), tuple(row[5:])) for row in found]


async def read_backwards(
    database: Database, writer: bytes, sequence: int, most: int
) -> list[StoredEvent]:
    """Return up to `most` events of a writer, from a sequence down."""
    query = (
        select(*COLUMNS)
        .where(t.audit.c.writer == writer, t.audit.c.sequence.between(0, sequence))
        .order_by(t.audit.c.sequence.desc())
        .limit(most)
    )
    return [tuple(row) for row in await _rows(database, query)]


def _end(which: Any, walk: CTE) -> Any:
    events = t.audit.alias()
    query = select(which(events.c.sequence)).where(
        events.c.writer == walk.c.writer, events.c.sequence >= 0
    )
    return query.correlate(walk).scalar_subquery()


async def _rows(database: Database, query: Select[Any]) -> Sequence[Any]:
    with storage_errors():
        async with database.reads.connect() as connection:
            return list((await connection.execute(query)).all())
