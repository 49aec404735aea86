"""The same data as a team keeps it that doesn't seal it: one table, in clear, through SQLAlchemy.

No encryption, no trail, no consent checks beyond a column, no server in between: what is lost
against this is the price of all of them together.
"""

import os
from collections.abc import Iterable
from typing import Any

from sqlalchemy import ARRAY, Column, LargeBinary, MetaData, Table, Text
from sqlalchemy.schema import CreateSchema

from tests.bench.population import FIELDS, purposes, values
from tests.bench.sample import Call
from vault.store.engine import Database

SCHEMA = "plain"
METADATA = MetaData(schema=SCHEMA)
people = Table(
    "people",
    METADATA,
    Column("id", LargeBinary, primary_key=True),
    Column("purposes", ARRAY(Text), nullable=False),
    Column("last_name", Text),
    Column("first_name", Text),
    Column("patronymic", Text),
    Column("email", Text, unique=True),
    Column("phone", Text, index=True),
    Column("city", Text),
)
_EACH = 50_000  # rows a COPY
_WARMING = f"SELECT count(city) FROM (SELECT city FROM {SCHEMA}.people ORDER BY id OFFSET 0) AS its"


async def fill(database: Database, ids: Iterable[bytes]) -> None:
    """Make the table and copy the persons of these ids into it, numbered from zero."""
    columns = [column.name for column in people.columns]
    async with database.writes.begin() as connection:
        await connection.execute(CreateSchema(SCHEMA))
        await connection.run_sync(METADATA.create_all)
        raw: Any = (await connection.get_raw_connection()).driver_connection
        rows: list[tuple[Any, ...]] = []
        for number, id_ in enumerate(ids):
            held = values(number)
            rows.append((id_, purposes(number), *(held[name] for name in FIELDS)))
            if len(rows) == _EACH:
                await _copy(raw, rows, columns)
                rows = []
        await _copy(raw, rows, columns)
    async with database.reads.connect() as connection:  # known and at hand, as ours is
        await connection.exec_driver_sql("VACUUM ANALYZE")
        await connection.exec_driver_sql("SET enable_seqscan = off")
        await connection.exec_driver_sql(_WARMING)
        await connection.exec_driver_sql("RESET enable_seqscan")


async def _copy(raw: Any, rows: list[tuple[Any, ...]], columns: list[str]) -> None:
    await raw.copy_records_to_table("people", records=rows, columns=columns, schema_name=SCHEMA)


async def copying(database: Database, each: int) -> Call:
    """Return a call that copies so many persons into a table of its own, and commits."""
    table = f"{SCHEMA}.copied"
    async with database.writes.begin() as connection:
        await connection.execute(CreateSchema(SCHEMA, if_not_exists=True))
        await connection.run_sync(METADATA.create_all)
        await connection.exec_driver_sql(f"CREATE TABLE {table} (LIKE {SCHEMA}.people)")
    columns = [column.name for column in people.columns]

    async def call() -> None:
        rows = [
            (os.urandom(32), purposes(n), *(values(n)[name] for name in FIELDS))
            for n in range(each)
        ]
        async with database.writes.begin() as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.copy_records_to_table(
                "copied", records=rows, columns=columns, schema_name=SCHEMA
            )

    return call


async def size(database: Database) -> int:
    """Return the bytes that the table and its indexes take."""
    return await bytes_of(database, f"{SCHEMA}.people")


async def bytes_of(database: Database, *tables: str) -> int:
    """Return the bytes that tables and their indexes take."""
    total = 0
    async with database.reads.connect() as connection:
        for table in tables:
            query = f"SELECT pg_total_relation_size('{table}')"
            total += (await connection.exec_driver_sql(query)).scalar_one()
    return total
