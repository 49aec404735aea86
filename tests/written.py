"""A compartment's trail on a real database, and all that was written into it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from sqlalchemy import insert

from tests.database import put
from tests.keyrings import FakeTransit
from vault.audit.chain import Chain
from vault.audit.event import ALLOWED, Event
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import Keyring
from vault.service.reading import SECOND, Backwards, ReadEvent, Span, TrailReader, parse_bookmark
from vault.service.trail import follow_states
from vault.store import tables as t
from vault.store.engine import Database

__all__ = ["written"]

COMPARTMENT = b"accounts: 16 byt"
START = 1_800_000_000 * SECOND
MINUTE = 60 * SECOND
KEY = KeyName(KeyKind.AUDIT)


@dataclass(slots=True)
class Written:
    """A trail, and all that was written into it as (at, request id)."""

    database: Database
    reader: TrailReader
    key: bytes
    events: list[tuple[int, str]]

    async def write(self, chain: Chain, moments: Sequence[int]) -> None:
        """Let a writer go on with an event at each of these moments."""
        said = [
            Event(1, "orders", "shop", "services", "reveal", f"r{len(self.events) + i}", ALLOWED,
                  at=at)
            for i, at in enumerate(moments)
        ]  # fmt: skip
        await chain.ready()
        rows = chain.extend(said)
        chain.settle()
        async with self.database.writes.begin() as connection:
            await connection.execute(insert(t.audit), list(rows))
        self.events += [(e.at, e.request_id) for e in said]

    def chain(self) -> Chain:
        async def key() -> tuple[bytes, int]:
            return self.key, KEY.version

        return Chain(COMPARTMENT, key)

    def within(self, which: Span) -> set[str]:
        return {name for at, name in self.events if which.holds(at)}

    async def read(self, which: Span, page: int = 10**9) -> list[ReadEvent]:
        """Read a span in pages, each by a new reader that knows the bookmark alone."""
        found: list[ReadEvent] = []
        begun: dict[bytes, int] = {}
        while True:
            walk = Backwards(self.reader, which, begun)
            await walk.start()
            for _ in range(page):
                if (event := await walk.next()) is None:
                    return found
                found.append(event)
            until, begun = parse_bookmark(walk.bookmark())
            assert until == which.until


@pytest.fixture
async def written(database: Database) -> Written:
    keyring = Keyring(FakeTransit(), "", "audit-key", COMPARTMENT)
    wrapped = await keyring.new_key(KEY)
    await put(database, t.keyring, kind="audit", field=0, version=KEY.version, state=wrapped.state,
              wrapped=wrapped.wrapped)  # fmt: skip
    keyring.hold([wrapped])
    key = await keyring.get(KEY)
    keyring.hold([])  # the reader finds it in the database
    keyring.evict()
    follow_states("accounts", keyring, database, math.inf)
    return Written(database, TrailReader(COMPARTMENT, database, keyring), key, [])
