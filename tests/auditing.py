"""Auditors of a trail, each as a process of its own would be, and what they leave behind."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from tests.committing import COMPARTMENT
from tests.database import put, rows
from tests.trails import DAY, KEYS, SECRET, write
from vault.audit.chain import Chain
from vault.audit.checkpoint import Checkpoint
from vault.audit.signed import Signed
from vault.keys.errors import KeyServerUnavailable
from vault.service.checkpoints import Checkpoints, Pace
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.service.verify_chains import ShippedFile, verify_database
from vault.store import tables as t
from vault.store.engine import Database, connect

__all__ = ["auditor", "clock", "keys", "ship_file"]


class Keys:
    """Transit's part, in memory: the key's newest version signs."""

    def __init__(self) -> None:
        self.versions = [SECRET]
        self.away = False

    def sign(self, key: str, data: bytes) -> bytes:
        if self.away:
            raise KeyServerUnavailable("away")
        return self.versions[-1].sign(data)

    def public_keys(self, key: str) -> Mapping[int, bytes]:
        return {n: its.public_key().public_bytes_raw() for n, its in enumerate(self.versions, 1)}


class Clock:
    now = DAY

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ship_file(tmp_path: Path) -> Path:
    return tmp_path / "shipped.jsonl"


NewAuditor = Callable[..., Checkpoints]


@pytest.fixture
async def auditor(
    database: Database, database_url: str, keys: Keys, clock: Clock, ship_file: Path
) -> AsyncIterator[NewAuditor]:
    """Make an auditor, as a process of its own would be: with its own connections."""
    opened: list[Database] = []

    def make(
        *, events: int = 1, keep_days: int | None = None, file: Path = ship_file
    ) -> Checkpoints:
        opened.append(connect(database_url))
        signer, shipping = Signer(keys, "piivault-audit"), Shipping(file)
        pace = Pace(events, 60.0, keep_days)
        return Checkpoints("accounts", COMPARTMENT, opened[-1], signer, shipping, pace, clock)

    yield make
    for its in opened:
        await its.close()


async def add_events(database: Database, chain: Chain, count: int) -> None:
    async with database.writes.begin() as connection:
        for link in write(chain, count):
            values = {name: getattr(link, name) for name in ("writer", "sequence", "previous")}
            values |= {"token": link.token, "sealed": link.sealed}
            await connection.execute(insert(t.audit).values(values))


async def stored(database: Database) -> list[Checkpoint]:
    found = await rows(database, t.checkpoints)
    for row in found:
        Signed(row.body, row.signature).check(KEYS)
    return [Checkpoint.read(row.body) for row in found]


async def holds(database: Database, shipped: Path | None = None) -> bool:
    if not await rows(database, t.compartment):
        await put(database, t.compartment, uuid=COMPARTMENT)
    file = ShippedFile(shipped) if shipped else None
    return (await verify_database(database, file, KEYS)).holds


def numbers(file: Path) -> list[int]:
    """The numbers of the checkpoints that were shipped."""
    return [its["checkpoint"]["number"] for its in lines(file)]


def lines(file: Path) -> list[dict[str, Any]]:
    """The lines of a file that are whole."""
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]


def tear(file: Path) -> None:
    """As a crash in a write does."""
    whole = file.read_bytes()
    file.write_bytes(whole + whole[:100])
