"""Reading the trail backwards: where each chain begins and ends, and pages of one chain.

A chain begins at 0: what somebody stored below isn't of it, and is left to `audit verify`.
No statement here reads more than it returns: what is asked goes by the key (writer, sequence).
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import CTE, FromClause, Select, bindparam, func, make_url, select, true
from sqlalchemy.sql.compiler import SQLCompiler

from vault.store import hot
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.events import COLUMNS, StoredEvent, writers


def _edges(*, lateral: bool) -> Select[Any]:
    """Return the statement; `lateral` as PostgreSQL may say it, but not SQLite."""
    walk = writers()
    first: FromClause
    last: FromClause
    if lateral:
        first, last = _end(walk, t.audit.c.sequence.asc()), _end(walk, t.audit.c.sequence.desc())
        found = walk.join(first, true()).join(last, true())
    else:
        first, last = t.audit.alias("first"), t.audit.alias("last")
        found = walk.join(first, _is_end(walk, first, func.min))
        found = found.join(last, _is_end(walk, last, func.max))
    columns = (*(first.c[c.name] for c in COLUMNS), *(last.c[c.name] for c in COLUMNS))
    return select(*columns).select_from(found)


def _end(walk: CTE, order: Any) -> FromClause:
    events = select(*COLUMNS).where(t.audit.c.writer == walk.c.writer, t.audit.c.sequence >= 0)
    return events.order_by(order).limit(1).correlate(walk).lateral()


def _is_end(walk: CTE, event: Any, which: Any) -> Any:
    events = t.audit.alias()
    query = select(which(events.c.sequence)).where(
        events.c.writer == walk.c.writer, events.c.sequence >= 0
    )
    end = query.correlate(walk).scalar_subquery()
    return (event.c.writer == walk.c.writer) & (event.c.sequence == end)


# Written once: that costs more than to send them. PostgreSQL has no other way to be told that this
# goes by the key, writer by writer: it takes them for many, and would read a short trail whole.
_EDGES = {True: _edges(lateral=True), False: _edges(lateral=False)}
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
    found = await _rows(database, _EDGES[database.is_postgresql])
    return [(tuple(row[:5]), tuple(row[5:])) for row in found]


async def read_backwards(
    database: Database, writer: bytes, sequence: int, most: int
) -> list[StoredEvent]:
    """Return up to `most` events of a writer, from a sequence down."""
    asked = {"writer": writer, "sequence": sequence, "most": most}
    return [tuple(row) for row in await _rows(database, _BACKWARDS, asked)]


async def _rows(
    database: Database, query: Select[Any], asked: dict[str, object] | None = None
) -> Sequence[Any]:
    with storage_errors():
        if database.is_postgresql:
            compiled = _compiled(query)
            given = compiled.construct_params(asked)
            arguments = [given[name] for name in compiled.positiontup or ()]
            return await hot.fetch(database.reads, compiled.string, *arguments)
        async with database.reads.connect() as connection:
            return list((await connection.execute(query, asked)).all())


@cache  # there are two
def _compiled(query: Select[Any]) -> SQLCompiler:
    dialect = make_url("postgresql+asyncpg://").get_dialect()()
    compiled: SQLCompiler = query.compile(dialect=dialect)
    return compiled
