"""The hand of a database's owner: moves rows, and puts all back.

with rows.changed((t.records, row_of_a, {**row_of_b, "pseudonym": a})):
    …                                    # what do readers say now?
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from piivault.v1 import subject_service_pb2 as subjects
from sqlalchemy import Table, and_, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from tests.people import Registered, raw
from tests.split import SplitHouse
from vault.store.engine import connect

Row = Mapping[str, Any]
RowChange = tuple[Table, Row | None, Row | None]  # what is taken, and what stands there then


class Rows:
    """One database, as its owner reads and writes it."""

    def __init__(self, runner: asyncio.Runner, url: str) -> None:
        self._runner = runner
        self._database = connect(url)

    def all(self, table: Table, **where: object) -> list[Row]:
        """Return the rows in which columns have these values, in the order of the key."""
        wanted = [table.c[name] == value for name, value in where.items()]
        query = select(table).where(*wanted).order_by(*table.primary_key)
        return self._runner.run(self._read(query))

    def of(self, table: Table, person: Registered) -> Row:
        """Return the one row that stands under a pseudonym."""
        (row,) = self.all(table, pseudonym=raw(person))
        return row

    def write(self, changes: Sequence[RowChange]) -> list[RowChange]:
        """Make changes in one transaction; return those that undo them."""
        return self._runner.run(self._write(changes))

    @contextmanager
    def changed(self, *changes: RowChange) -> Iterator[None]:
        """Make changes for a while."""
        undo = self.write(changes)
        try:
            yield
        finally:
            self.write(undo)

    def close(self) -> None:
        """Close it."""
        self._runner.run(self._database.close())

    async def _read(self, query: Any) -> list[Row]:
        async with self._database.reads.connect() as connection:
            return [dict(row) for row in (await connection.execute(query)).mappings()]

    async def _write(self, changes: Sequence[RowChange]) -> list[RowChange]:
        undo: list[RowChange] = []
        async with self._database.writes.begin() as connection:
            for table, before, after in changes:
                for row in (before, after):
                    if row is not None:
                        found = await _taken(connection, table, row)
                        undo += [(table, None, f) for f in found]
                if after is not None:
                    await connection.execute(insert(table).values(**after))
                    undo.append((table, after, None))
        return undo[::-1]


async def _taken(connection: AsyncConnection, table: Table, row: Row) -> list[Row]:
    key = and_(*(column == row[column.name] for column in table.primary_key))
    taken = await connection.execute(delete(table).where(key).returning(table))
    return [dict(row) for row in taken.mappings()]


def reading(house: SplitHouse, person: Registered) -> str:
    """View all of a record; return the reason of a refusal, empty if there is none."""
    request = subjects.ViewRequest(compartment=person.compartment, capability=person.capability)
    return house.told("portal", request)
