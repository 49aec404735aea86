"""How long `piivault keys status` takes where there are many records: on PostgreSQL.

    python -m tests.bench.keys_status --records 1000000

Writes as many data keys and events, and a tenth as many tombstones; then asks a worker process,
first by the command and then by the SDK. All share the machine.
"""

import asyncio
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import click
from piivault.officers import OfficersClient
from sqlalchemy import Table

from tests.bench.clients import officer
from tests.bench.command import measured
from tests.bench.population import SMALL as NAME
from tests.bench.processes import serving, stack
from vault.dev import Running
from vault.store import tables as t
from vault.store.engine import Database, connect

WRAPPED = 71  # bytes of a wrapped data key
SEALED = 295  # bytes of an event
TIMES = 20
_AT_ONCE = 50_000  # rows


@click.command()
@click.option("--records", default=1_000_000, show_default=True)
def main(records: int) -> None:
    """Measure `piivault keys status`."""
    with (
        tempfile.TemporaryDirectory(prefix="piivault-bench-") as folder,
        stack(Path(folder, "state")) as running,
        serving(running) as worker,
    ):
        rows = asyncio.run(_fill(running, records))
        environment = officer(running, worker.address)
        command = measured("keys", "status", NAME, environment=environment)
        with OfficersClient.from_env(environment) as officers:
            ring = officers.keys(NAME)
            asked = [_timed(ring.status) for _ in range(TIMES)]
            counted = sum(key.data_keys for key in ring.status().keys)
    click.echo(", ".join(f"{count:,} {table}" for table, count in rows.items()))
    click.echo(
        f"`piivault keys status {NAME}`: {command.wall:.2f} s, "
        f"{command.processor:.2f} s of them its own, to start above all"
    )
    click.echo(
        f"the worker's answer, of {TIMES}: {median(asked):.2f} s, the slowest {max(asked):.2f} s"
    )
    if counted != records:
        raise SystemExit(f"The status counts {counted:,} data keys.")


def _timed(ask: Any) -> float:
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


async def _fill(running: Running, records: int) -> dict[str, int]:
    """Write the rows; return how many each table has now."""
    database = connect(running.owner_urls[NAME])
    written = {t.data_keys: records, t.audit: records, t.tombstones: records // 10}
    for table, count in written.items():
        await _copy(database, table, count)
    async with database.writes.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.exec_driver_sql("VACUUM ANALYZE")  # as PostgreSQL does by itself
    await database.close()
    return {table.name: count for table, count in written.items()}


async def _copy(database: Database, table: Table, count: int) -> None:
    columns = [column.name for column in table.columns]
    async with database.writes.begin() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        for begin in range(0, count, _AT_ONCE):
            end = min(begin + _AT_ONCE, count)
            rows = list(_rows(table, begin, end))
            await raw.copy_records_to_table(table.name, records=rows, columns=columns)


def _rows(table: Table, begin: int, end: int) -> Iterator[tuple[object, ...]]:
    writer = secrets.token_bytes(16)
    for number in range(begin, end):
        if table is t.data_keys:
            key = secrets.token_bytes(32), secrets.token_bytes(8)
            yield (*key, 1, secrets.token_bytes(WRAPPED))
        elif table is t.audit:
            link = secrets.token_bytes(32), secrets.token_bytes(16)
            yield writer, number - begin, *link, secrets.token_bytes(SEALED)
        else:
            yield (secrets.token_bytes(32),)


if __name__ == "__main__":
    main()
