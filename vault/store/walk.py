"""Walking through a compartment's rows in the order of their keys, some records at a time.

What is read together is of one moment, so that a row without its partner is a fault, not a change
that was under way.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Column, ColumnElement, Select, Table, and_, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.crypto.record import SealedRecord
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.events import StoredEvent
from vault.store.load import WrappedDataKey


@dataclass(frozen=True, slots=True)
class StoredIndexRow:
    """A row of `blind_index`, but for its pseudonym."""

    uid: int
    version: int
    value: bytes
    slot: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Rows:
    """All that stands under one pseudonym. `row` is None where only other tables have it."""

    pseudonym: bytes = field(repr=False)
    row: SealedRecord | None
    data_keys: Sequence[WrappedDataKey]
    index: Sequence[StoredIndexRow]


@dataclass(frozen=True, slots=True)
class Span:
    """Pseudonyms above `after` up to and with `until`; None is either end."""

    after: bytes | None = None
    until: bytes | None = None

    def holds(self, column: Column[Any]) -> ColumnElement[bool]:
        """Return the condition that a pseudonym is in here."""
        bounds: list[ColumnElement[bool]] = [column.is_not(None)]
        if self.after is not None:
            bounds.append(column > self.after)
        if self.until is not None:
            bounds.append(column <= self.until)
        return and_(*bounds)


async def read_rows(database: Database, span: Span, most: int) -> tuple[list[Rows], Span | None]:
    """Read up to `most` records of a span, with what belongs to them or to no record.

    Returns them in the order of their pseudonyms, and the span that remains, if any does.
    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    with storage_errors():
        async with _moment(database) as connection:
            records = await _select(connection, t.records, span, most)
            rest = None
            if len(records) == most:
                end: bytes = records[-1].pseudonym
                span, rest = Span(span.after, end), Span(end, span.until)
            data_keys = await _select(connection, t.data_keys, span)
            index = await _select(connection, t.blind_index, span)
    return _together(records, data_keys, index), rest


async def read_one(database: Database, pseudonym: bytes) -> Rows:
    """Read what stands under a pseudonym. Raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with _moment(database) as connection:
            found = [
                (
                    await connection.execute(select(table).where(table.c.pseudonym == pseudonym))
                ).all()
                for table in (t.records, t.data_keys, t.blind_index)
            ]
    together = _together(*found)
    return together[0] if together else Rows(pseudonym, None, (), ())


async def count(database: Database, table: Table) -> int:
    """Count a table's rows. Raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.reads.connect() as connection:
            query = select(func.count()).select_from(table)
            found: int = (await connection.execute(query)).scalar_one()
            return found


async def tombstones_among(database: Database, tokens: Collection[bytes]) -> frozenset[bytes]:
    """Return which of these tombstones there are. Raises VaultError(STORAGE_UNAVAILABLE)."""
    query = select(t.tombstones.c.token).where(t.tombstones.c.token.in_(list(tokens)))
    with storage_errors():
        async with database.reads.connect() as connection:
            return frozenset((await connection.execute(query)).scalars())


async def events_of(database: Database, tokens: Collection[bytes]) -> Sequence[StoredEvent]:
    """Return the events with these tokens, by a login that may read them.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    columns = ("writer", "sequence", "previous", "token", "sealed")
    query = select(*(t.audit.c[name] for name in columns)).where(t.audit.c.token.in_(list(tokens)))
    with storage_errors():
        async with database.reads.connect() as connection:
            return [tuple(row) for row in await connection.execute(query)]


@asynccontextmanager
async def _moment(database: Database) -> AsyncIterator[AsyncConnection]:
    async with database.reads.connect() as connection:
        if database.is_postgresql:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            await connection.execution_options(**options)
        else:
            await connection.exec_driver_sql("BEGIN")
        yield connection


async def _select(
    connection: AsyncConnection, table: Table, span: Span, most: int | None = None
) -> Sequence[Any]:
    query: Select[Any] = select(table).where(span.holds(table.c.pseudonym))
    if most is not None:
        query = query.order_by(table.c.pseudonym).limit(most)
    found: Sequence[Any] = (await connection.execute(query)).all()
    return found


def _together(records: Sequence[Any], data_keys: Sequence[Any], index: Sequence[Any]) -> list[Rows]:
    rows = {r.pseudonym: SealedRecord(r.row_version, r.sealed) for r in records}
    keys: dict[bytes, list[WrappedDataKey]] = {}
    for k in data_keys:
        keys.setdefault(k.pseudonym, []).append(WrappedDataKey(k.id, k.kek_version, k.wrapped))
    entries: dict[bytes, list[StoredIndexRow]] = {}
    for e in index:
        entry = StoredIndexRow(e.field, e.version, e.value, e.slot)
        entries.setdefault(e.pseudonym, []).append(entry)
    return [
        Rows(p, rows.get(p), tuple(keys.get(p, ())), tuple(entries.get(p, ())))
        for p in sorted({*rows, *keys, *entries})
    ]
