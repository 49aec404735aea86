"""Databases with something to back up, and empty ones to restore into."""

import itertools
import random
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, delete, insert

from tests.database import rows, url_of
from tests.vectors.formats import draw
from vault.store import tables as t
from vault.store.backup import back_up
from vault.store.backup_format import Contents
from vault.store.engine import Database, connect
from vault.store.restore import Restored, restore_compartment

__all__ = ["empty_url"]

UUID = draw("uuid of accounts", 16)
Content = Mapping[Table, Sequence[dict[str, Any]]]
EmptyUrl = Callable[[str], Awaitable[str]]


@pytest.fixture
def empty_url(sqlite_home: Path, postgres_home: str, tmp_path: Path) -> EmptyUrl:
    """Make the URL of an empty database of a kind: on PostgreSQL, by emptying the one there is."""
    numbers = itertools.count()

    async def make(kind: str) -> str:
        if kind == "sqlite":
            return url_of(Path(shutil.copy(sqlite_home, tmp_path / f"{next(numbers)}.db")))
        await _empty(postgres_home)
        return postgres_home

    return make


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    database = connect(url)
    try:
        yield database
    finally:
        await database.close()


def data_key_id(subject: int, turn: int = 0) -> bytes:
    return draw(f"data key {subject} {turn}", 8)


def record(subject: int, turn: int = 0) -> dict[str, Any]:
    """A record sealed under the subject's data key of this turn: they may have come back."""
    sealed = b"\1\1\0" + data_key_id(subject, turn) + draw(f"sealed {subject} {turn}", 200)
    version = draw(f"version {subject} {turn}", 16)
    return {"pseudonym": pseudonym(subject), "row_version": version, "sealed": sealed}


def data_key(subject: int, turn: int = 0) -> dict[str, Any]:
    return {
        "pseudonym": pseudonym(subject),
        "id": data_key_id(subject, turn),
        "kek_version": 1 + turn,
        "wrapped": draw(f"wrapped {subject} {turn}", 71),
    }


def pseudonym(subject: int) -> bytes:
    return draw(f"pseudonym {subject}")


def index_rows(subject: int) -> list[dict[str, Any]]:
    """One row of a unique field, and one of a field that isn't."""
    whose = pseudonym(subject)
    value = {"version": 1, "value": draw(f"value {subject}"), "pseudonym": whose}
    shared = {"version": 1, "value": draw("shared"), "pseudonym": whose}
    return [value | {"field": 4, "slot": b""}, shared | {"field": 9, "slot": whose}]


def events(writer: str, count: int) -> list[dict[str, Any]]:
    return [
        {
            "writer": draw(writer, 16),
            "sequence": n,
            "previous": draw(f"previous {writer} {n}"),
            "token": draw(f"token {writer} {n}", 16),
            "sealed": draw(f"event {writer} {n}", 300),
        }
        for n in range(count)
    ]


def key(kind: str, field: int = 0, version: int = 1) -> dict[str, Any]:
    wrapped = f"vault:v1:{draw(f'{kind} {field} {version}').hex()}"
    return {
        "kind": kind,
        "field": field,
        "version": version,
        "state": "active",
        "wrapped": wrapped,
        "created": 1_700_000_000 + version,
    }


def rotation() -> dict[str, Any]:
    """One under way; its cursor is somebody who may be erased before the next backup."""
    blank = {column.name: column.type.python_type() for column in t.rotations.columns}
    return blank | {"id": draw("rotation", 16), "level": "kek", "cursor": pseudonym(0)}


def content(subjects: int = 7) -> Content:
    """A compartment: its rows, every table with some, in the order of nothing."""
    everybody = range(subjects)
    identity = {
        "uuid": UUID,
        "epoch": 3,
        "ledger_sequence": 12,
        "ledger_head": draw("ledger head"),
        "sweep_cursor": pseudonym(0),
        "canary": "vault:v1:canary",
        "state": "suspended",
    }
    checkpoint = {"number": 1, "body": b"heads", "signature": draw("signature", 64)}
    return {
        t.compartment: [identity],
        t.records: [record(s) for s in everybody],
        t.data_keys: [data_key(s) for s in everybody],
        t.blind_index: [row for s in everybody for row in index_rows(s)],
        t.keyring: [
            key("kek"),
            key("kek", version=2),
            key("audit"),
            key("lookup"),
            key("index", 4),
        ],
        t.audit: events("a process", 9) + events("another", 3),
        t.checkpoints: [checkpoint],
        t.tombstones: [{"token": draw(f"tombstone {n}")} for n in range(3)],
        t.epochs: [
            {"number": n, "closed_at": 10 + n, "tombstones": n, "transit_version": n}
            for n in (1, 2)
        ],
        t.requests: [
            {"id": draw(f"request {n}", 16), "sealed": draw(f"sealed {n}", 103)} for n in range(3)
        ],
        t.rotations: [rotation()],
        t.idempotency: [{"token": draw("asked"), "content": draw("what"), "day": 20_000}],
    }


async def fill(database: Database, given: Content, seed: int = 0) -> None:
    """Insert rows in an order of their own, with some that go away again in between."""
    order = random.Random(seed)
    async with database.writes.begin() as connection:
        for table, some in given.items():
            shuffled = order.sample(list(some), len(some))
            for row in shuffled:
                await connection.execute(insert(table).values(**row))
                if order.random() < 0.5:
                    same = [table.c[name] == value for name, value in row.items()]
                    await connection.execute(delete(table).where(*same))
                    await connection.execute(insert(table).values(**row))


async def everything(database: Database) -> dict[str, list[Any]]:
    """Return what a backup keeps: not marks of requests, rotations, or the sweeper's cursor."""
    found = {}
    for table in t.COMPARTMENT.sorted_tables:
        if table not in (t.idempotency, t.rotations):
            found[table.name] = [
                {k: v for k, v in row._mapping.items() if k != "sweep_cursor"}
                for row in await rows(database, table)
            ]
    return found


async def backed_up(url: str, folder: Path, name: str = "accounts") -> tuple[Path, Path]:
    """Back up a compartment; return its data and its keys."""
    data, keys = folder / f"{name}.data", folder / f"{name}.keys"
    async with opened(url) as database:
        await back_up(database, {Contents.DATA: data, Contents.KEYS: keys})
    return data, keys


async def restored_into(url: str, data: Path, keys: Path) -> Restored:
    async with opened(url) as database:
        return await restore_compartment(database, UUID, data, keys)


async def _empty(url: str) -> None:
    async with opened(url) as database, database.writes.begin() as connection:
        for table in t.COMPARTMENT.sorted_tables:
            await connection.execute(table.delete())
