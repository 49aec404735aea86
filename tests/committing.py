"""A committer with its trail, as the tests of the store use it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest
from sqlalchemy import insert

from tests.database import put, rows
from vault.audit.chain import Chain, Link, open_event, verify
from vault.audit.event import ALLOWED, DENIED, Event
from vault.errors import VaultError
from vault.sealed.v1 import sealed_pb2
from vault.store import tables as t
from vault.store.commit import Committer
from vault.store.engine import Database
from vault.store.events import read_events
from vault.store.jobs import Change, Transaction

__all__ = ["committer"]

COMPARTMENT = b"accounts: 16 byt"
KEY = bytes(range(32))
EPOCH = 7

Commit = Committer[Event]
AuditKey = tuple[bytes, int]


async def _key() -> AuditKey:
    return KEY, 1


def committing(database: Database, key: Callable[[], Awaitable[AuditKey]] = _key) -> Commit:
    return Committer(database, Chain(COMPARTMENT, key), lambda: EPOCH)


def asked(request_id: object) -> Event:
    return Event(1, "orders", "shop", "services", "reveal", str(request_id), ALLOWED)


def told(request_id: object) -> Callable[[Any], Event]:
    """The event of a change: allowed, or denied with its reason."""

    def describe(outcome: Any) -> Event:
        said = asked(request_id)
        return said.refused(DENIED, outcome.reason) if isinstance(outcome, VaultError) else said

    return describe


def adding(token: bytes, then: Exception | None = None) -> Change[bytes]:
    """Insert a row, and raise if told so."""

    async def change(transaction: Transaction) -> bytes:
        await transaction.execute(insert(t.tombstones).values(token=token))
        if then is not None:
            raise then
        return token

    return change


async def links(database: Database) -> list[Link]:
    return [Link(*row) async for row in read_events(database)]


async def events(database: Database) -> list[sealed_pb2.AuditEvent]:
    """All events in the order of their chains, which must hold."""
    found = await links(database)
    assert list(verify(COMPARTMENT, found)) == []
    return [open_event(KEY, COMPARTMENT, link) for link in found]


async def ids(database: Database) -> list[str]:
    return [event.request_id for event in await events(database)]


async def tokens(database: Database) -> list[bytes]:
    return [row.token for row in await rows(database, t.tombstones)]


async def outcomes(*waiting: Awaitable[object]) -> Sequence[object]:
    """What each was answered: a result, or a reason."""
    found = await asyncio.gather(*waiting, return_exceptions=True)
    return [its.reason if isinstance(its, VaultError) else its for its in found]


@pytest.fixture
async def committer(database: Database) -> AsyncIterator[Commit]:
    await put(database, t.compartment, epoch=EPOCH)
    begun = committing(database)
    yield begun
    await begun.close()
