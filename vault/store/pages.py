"""Reading the trail backwards: where each chain begins and ends, and pages of one chain.

A chain begins at 0: what somebody stored below isn't of it, and is left to `audit verify`.
No statement here reads more than it returns: what is asked goes by the key (writer, sequence).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import CTE, Select, bindparam, func, select

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.events import COLUMNS, StoredEvent, writers


def _edges() -> Select[Any]:
    walk = writers()
    first, last = t.audit.alias("first"), t.audit.alias("last")
    return (
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


def _end(which: Any, walk: CTE) -> Any:
    events = t.audit.alias()
    query = select(which(events.c.sequence)).where(
        events.c.writer == walk.c.writer, events.c.sequence >= 0
    )
    return query.correlate(walk).scalar_subquery()


# Written once: that costs more than to send them.
_EDGES = _edges()
_BACKWARDS = (
    select(*COLUMNS)
    .where(
        t.audit.c.writer == bindparam("writer"),
        t.audit.c.sequence.between(0, bindparam("sequence")),
    )
    .order_by(t.audit.c.sequence.desc())
    .limit(bindparam("most"))
)


async def read_edges(database: Database) -> list[tuple[StoredEvent, StoredEvent]]:
    """Return each writer's first and last event. Raises VaultError(STORAGE_UNAVAILABLE)."""
    found = await _rows(database, _EDGES)
    return [(tuple(row[:5]), tuple(row[5:])) for row in found]


async def read_backwards(
    database: Database, writer: bytes, sequence: int, most: int
) -> list[StoredEvent]:
    """Return up to `most` events of a writer, from a sequence down."""
    asked = {"writer": writer, "sequence": sequence, "most": most}
    return [tuple(row) for row in await _rows(database, _BACKWARDS, asked)]


async def _rows(
    database: Database, query: Select[Any], asked: Mapping[str, object] | None = None
) -> Sequence[Any]:
    with storage_errors():
        async with database.reads.connect() as connection:
            return list((await connection.execute(query, asked)).all())
