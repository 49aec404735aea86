"""`verify` on a running house, and damage made to its rows by SQL, as the tables' owner."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any, TypeVar

from sqlalchemy import Table, delete, insert, select

from tests.command import piivault
from tests.house import House
from vault import app, config
from vault.dev.postgres import OWNER
from vault.names import Pseudonym
from vault.service.verify import Kind, Report, verify_compartment
from vault.store import tables as t
from vault.store.engine import Database, connect

ACCOUNTS = "accounts"
OF_A_RECORD = (t.records, t.data_keys, t.blind_index)

T = TypeVar("T")
Saved = Mapping[Table, Sequence[Mapping[str, Any]]]


class Verifier:
    """A house's accounts and their trail, opened as the command opens them, and kept open."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._runner.run(self._open())

    def __call__(
        self, *, trail: bool = True, sample: int | None = None, begins: int | None = None
    ) -> Report:
        """Verify accounts."""
        read = self._trail if trail else None
        work = verify_compartment(
            self._served, self._editions, read, sample=sample, trail_begins=begins
        )
        return self._runner.run(work)

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()

    async def _open(self) -> None:
        settings = self._house.settings
        opened = await self._stack.enter_async_context(app.opened(settings, ACCOUNTS))
        self._served, self._editions = opened
        _, trails = await self._stack.enter_async_context(app.audited(settings))
        self._trail = trails[ACCOUNTS]


def run(house: House, *arguments: str | Path, **overrides: str) -> CompletedProcess[str]:
    """Run `piivault` with the house's configuration."""
    variables = {f"{config.ENVIRONMENT_PREFIX}{name}": value for name, value in overrides.items()}
    return piivault(*arguments, "--config", house.running.config, environment=variables)


def owner_of(house: House) -> list[str | Path]:
    """Return the options that name the tables' owner, on PostgreSQL."""
    password = house.state / "passwords" / OWNER
    return ["--owner", OWNER, "--owner-password-file", password] if house.postgres else []


def found(report: Report) -> dict[Kind, int]:
    """Return what is wrong, by kind."""
    assert sum(report.counts.values()) == len(report.findings)
    return dict(report.counts)


def saved(house: House, pseudonym: str, compartment: str = ACCOUNTS) -> Saved:
    """Return all rows under a pseudonym."""
    raw = Pseudonym.parse(pseudonym).raw

    async def run(database: Database) -> Saved:
        rows: dict[Table, list[Mapping[str, Any]]] = {}
        async with database.reads.connect() as connection:
            for table in OF_A_RECORD:
                query = select(table).where(table.c.pseudonym == raw)
                rows[table] = [dict(r) for r in (await connection.execute(query)).mappings()]
        return rows

    return _run(house, run, compartment)


def put_back(house: House, pseudonym: str, rows: Saved, compartment: str = ACCOUNTS) -> None:
    """Put saved rows in the place of all rows under a pseudonym, in these tables alone."""
    raw = Pseudonym.parse(pseudonym).raw

    async def run(database: Database) -> None:
        async with database.writes.begin() as connection:
            for table, some in rows.items():
                await connection.execute(delete(table).where(table.c.pseudonym == raw))
                if some:
                    await connection.execute(insert(table), [dict(row) for row in some])

    _run(house, run, compartment)


def all_of(house: House, table: Table) -> list[Mapping[str, Any]]:
    """Return a whole table."""

    async def run(database: Database) -> list[Mapping[str, Any]]:
        async with database.reads.connect() as connection:
            return [dict(r) for r in (await connection.execute(select(table))).mappings()]

    return _run(house, run)


def replace_all(house: House, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put rows in the place of a whole table."""

    async def run(database: Database) -> None:
        async with database.writes.begin() as connection:
            await connection.execute(delete(table))
            if rows:
                await connection.execute(insert(table), [dict(row) for row in rows])

    _run(house, run)


def flipped(raw: bytes, at: int = -1) -> bytes:
    """Return bytes with one bit changed."""
    changed = bytearray(raw)
    changed[at] ^= 1
    return bytes(changed)


def _run(house: House, run: Callable[[Database], Awaitable[T]], compartment: str = ACCOUNTS) -> T:
    async def opened() -> T:
        database = connect(house.running.owner_urls[compartment])
        try:
            return await run(database)
        finally:
            await database.close()

    return asyncio.run(opened())
