"""How long it takes to verify a long trail, and in how much memory: on one core.

    make bench-audit                 # or: python -m tests.bench.audit --events 1000000

Writes events of four writers with a checkpoint after each thousand, and runs `piivault audit
verify` on the database and on an export of it, each in a process of its own. PostgreSQL shares
the core.
"""

import asyncio
import os
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from sqlalchemy import insert

from tests.bench.command import measured
from vault.audit.chain import Link, first, hash_of
from vault.audit.checkpoint import Checkpoint, Head
from vault.dev import Running
from vault.dev.local import prepared
from vault.keys.provision import AUDIT_KEY
from vault.policy import compile_edition
from vault.service.signer import Signer
from vault.store import tables as t
from vault.store.engine import Database, connect

POLICY = Path(__file__).parents[2] / "examples/osh/policy.yaml"
NAME = "accounts"
WRITERS = 4
EVERY = 1000  # events a checkpoint
SEALED = 295  # bytes of an event of 256, sealed; random ones hash as fast
_COLUMNS = ["writer", "sequence", "previous", "token", "sealed"]


@click.command()
@click.option("--events", default=1_000_000, show_default=True)
def main(events: int) -> None:
    """Measure `piivault audit verify`."""
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])  # and so for all children
    with tempfile.TemporaryDirectory(prefix="piivault-bench-") as folder:
        state = Path(folder, "state")
        with prepared(state, POLICY, postgres=True) as running:
            shipped, export = state / "shipped.jsonl", state / "export.jsonl"
            lines = asyncio.run(_fill(running, events))
            shipped.write_text("".join(lines), encoding="ascii")
            config: list[str | Path] = ["--config", running.config]
            measured("audit", "export", NAME, "--output", export, *config)
            given: list[str | Path] = ["--checkpoints", shipped, *config]
            runs = {
                "from PostgreSQL": measured("audit", "verify", "--compartment", NAME, *given),
                "from an export": measured("audit", "verify", "--export", export, *given),
            }
            size = export.stat().st_size
    for name, run in runs.items():
        click.echo(run.said.strip())
        click.echo(
            f"{name}: {run.wall:.1f} s, {run.processor:.1f} s of them its own, "
            f"{run.memory / 1e6:.0f} MB"
        )
    click.echo(f"the export: {size / 1e6:.0f} MB")


async def _fill(running: Running, events: int) -> list[str]:
    """Write the trail; return its checkpoints as they would be shipped."""
    uuid = compile_edition(POLICY.read_text(encoding="utf-8")).compartment(NAME).uuid
    signer = Signer(running.admin, AUDIT_KEY)
    database = connect(running.owner_urls[NAME])
    row = {c.name: c.type.python_type() for c in t.compartment.columns} | {"uuid": uuid}
    async with database.writes.begin() as connection:
        await connection.execute(insert(t.compartment).values(row))
    writers = [secrets.token_bytes(16) for _ in range(WRITERS)]
    heads = {writer: Head(-1, first(uuid, writer)) for writer in writers}
    newest: Checkpoint | None = None
    lines: list[str] = []
    for done in range(0, events, EVERY):
        links = [_next(uuid, writers[n % WRITERS], heads) for n in range(min(EVERY, events - done))]
        newest = (
            newest.next(time.time_ns() // 1000, dict(heads), None)
            if newest
            else Checkpoint.first(uuid, time.time_ns() // 1000, dict(heads))
        )
        signed = await signer.sign(newest.body)
        row = {"number": newest.number, "body": signed.body, "signature": signed.signature}
        await _insert(database, links, row)
        lines.append(signed.line(NAME) + "\n")
    await database.close()
    return lines


def _next(uuid: bytes, writer: bytes, heads: dict[bytes, Head]) -> Link:
    head = heads[writer]
    token, sealed = secrets.token_bytes(16), secrets.token_bytes(SEALED)
    link = Link(writer, head.sequence + 1, head.hash, token, sealed)
    heads[writer] = Head(link.sequence, hash_of(uuid, link))
    return link


async def _insert(database: Database, links: Sequence[Link], checkpoint: dict[str, Any]) -> None:
    async with database.writes.begin() as connection:
        raw: Any = (await connection.get_raw_connection()).driver_connection
        records = [tuple(getattr(link, name) for name in _COLUMNS) for link in links]
        await raw.copy_records_to_table("audit", records=records, columns=_COLUMNS)
        await connection.execute(insert(t.checkpoints).values(checkpoint))


if __name__ == "__main__":
    main()
