"""What a thief of every database sees, who has no key.

Here the story leaves the SDK: a thief has no certificate, and needs none to read files.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from rich.table import Table
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from examples.osh.cast import COMPARTMENTS, VALUES, Cast
from examples.osh.stage import Stage, step
from vault.dev import Running

_ROWS_SHOWN = 2  # of each compartment


@dataclass(frozen=True, slots=True)
class Loot:
    """What stands in one compartment's database."""

    uuid: bytes
    records: Sequence[tuple[bytes, bytes]]  # pseudonym, sealed
    index_values: Collection[bytes]


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found in which file, how many files were read, and how many bytes."""

    hits: Collection[tuple[bytes, str]]
    files: int
    size: int


@step("2.4 d, 4.1")
def thief_reads(stage: Stage, cast: Cast) -> None:
    """A thief takes every database, and opens it."""
    stage.asks("a thief, with SQL and no key: SELECT * FROM records, in each database")
    loot = asyncio.run(_steal(cast.running))
    stage.show(_table(loot))
    pseudonyms = [pseudonym for its in loot.values() for pseudonym, _ in its.records]
    stage.check(
        f"{len(pseudonyms)} rows of {len(loot)} databases, and no pseudonym stands in two",
        len(loot) == len(COMPARTMENTS) and len(set(pseudonyms)) == len(pseudonyms) > 0,
    )
    stage.check("the erased record has left no row", len(loot["accounts"].records) == 1)
    # Бекзат gave one e-mail address and one telephone to two compartments.
    values = [value for its in loot.values() for value in its.index_values]
    stage.check(
        f"{len(values)} values in the indexes, and no two are alike, though one phone came twice",
        len(set(values)) == len(values) > len(loot["accounts"].index_values) > 0,
    )


@step("4.1")
def thief_searches(stage: Stage, cast: Cast) -> None:
    """The thief searches every file for what people told the city."""
    state = cast.running.config.parent
    stage.asks(f"a thief: grep for {len(VALUES)} values and {len(cast.roots)} root ids")
    sought = [value.encode() for value in VALUES]
    sought += chain.from_iterable((bytes(root), root.expose().encode()) for root in cast.roots)
    searched = _grep(state, sought)
    where = ", ".join(sorted({file for _, file in searched.hits})) or "nothing found"
    stage.answers(f"{searched.files} files, {searched.size / 1e6:.0f} MB, logs and all: {where}")
    stage.check("neither the living records nor the erased one are found", not searched.hits)

    loot = asyncio.run(_steal(cast.running))
    found = {needle for needle, _ in _grep(state, [its.uuid for its in loot.values()]).hits}
    stage.check(
        "the same search does find what stands in clear: each database's own number",
        len(found) == len(loot) > 0,
    )


def _table(loot: Mapping[str, Loot]) -> Table:
    table = Table()
    for column in ("compartment", "pseudonym", "sealed record"):
        table.add_column(column, overflow="fold")
    for name, its in loot.items():
        for pseudonym, sealed in its.records[:_ROWS_SHOWN]:
            shown = f"{sealed[:8].hex()}… ({len(sealed):,} bytes)"
            table.add_row(name, f"{pseudonym[:8].hex()}…", shown)
    return table


async def _steal(running: Running) -> dict[str, Loot]:
    """Read the databases as their owner, past the server."""
    loot = {}
    for name in COMPARTMENTS:
        engine = create_async_engine(running.owner_urls[name])
        async with engine.connect() as connection:
            uuid = await connection.scalar(text("SELECT uuid FROM compartment"))
            rows = await connection.execute(text("SELECT pseudonym, sealed FROM records"))
            index = await connection.execute(text("SELECT value FROM blind_index"))
            records = [(pseudonym, sealed) for pseudonym, sealed in rows]
            loot[name] = Loot(uuid, records, list(index.scalars()))
        await engine.dispose()
    return loot


def _grep(folder: Path, sought: Sequence[bytes]) -> Searched:
    """Look for byte strings in all files of a folder."""
    hits, files, size = set(), 0, 0
    for file in folder.rglob("*"):
        if file.is_file():
            with suppress(FileNotFoundError):  # databases remove files of their own at any time
                content = file.read_bytes()
                files, size = files + 1, size + len(content)
                name = str(file.relative_to(folder))
                hits |= {(needle, name) for needle in sought if needle in content}
    return Searched(hits, files, size)
