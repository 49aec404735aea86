"""Coalesced reads: all requests that wait share one SELECT, and none joins a SELECT already sent.

So what a request reads was committed when it began: a reveal that begins after a withdrawal
was acknowledged sees the withdrawal.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import HotConnection

MOST_A_SELECT = 200


@dataclass(frozen=True, slots=True)
class WrappedDataKey:
    """A row of `data_keys`."""

    id: bytes
    kek_version: int
    wrapped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class StoredRecord:
    """A row of `records` with the data keys of its pseudonym, by id."""

    row_version: bytes
    sealed: bytes = field(repr=False)
    data_keys: Mapping[bytes, WrappedDataKey]


_LOAD = select(
    t.records.c.pseudonym,
    t.records.c.row_version,
    t.records.c.sealed,
    t.data_keys.c.id,
    t.data_keys.c.kek_version,
    t.data_keys.c.wrapped,
).join_from(t.records, t.data_keys, t.records.c.pseudonym == t.data_keys.c.pseudonym, isouter=True)


_HOT = """
    SELECT r.pseudonym, r.row_version, r.sealed, k.id, k.kek_version, k.wrapped
    FROM records r LEFT JOIN data_keys k ON k.pseudonym = r.pseudonym
    WHERE r.pseudonym = ANY ($1::bytea[])
"""


class Loader:
    """Reads records by pseudonym for one compartment, one SELECT at a time.

    While one is under way, others gather for the next.
    """

    def __init__(self, database: Database) -> None:
        self._engine = database.reads
        self._hot = HotConnection(database.reads) if database.is_postgresql else None
        self._waiting: dict[bytes, asyncio.Future[StoredRecord | None]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def load(self, pseudonym: bytes) -> StoredRecord | None:
        """Return the record, or None. Raises VaultError(STORAGE_UNAVAILABLE)."""
        future = self._waiting.get(pseudonym)
        if future is None:
            future = asyncio.get_running_loop().create_future()
            self._waiting[pseudonym] = future
            if self._reading is None:
                self._reading = asyncio.create_task(self._read())
        # One waiter that gives up must not take the answer from the others.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Give back what is kept open."""
        if self._hot is not None:
            await self._hot.close()

    async def _read(self) -> None:
        await asyncio.sleep(0)  # let everyone who is ready in this turn of the loop come aboard
        try:
            while self._waiting:
                keys = list(self._waiting)[:MOST_A_SELECT]
                await self._select({key: self._waiting.pop(key) for key in keys})
        finally:
            self._reading = None

    async def _select(self, batch: Mapping[bytes, "asyncio.Future[StoredRecord | None]"]) -> None:
        try:
            with storage_errors():
                found = _gather(await self._rows(list(batch)))
        except Exception as e:  # whatever it is, whoever waits must hear of it
            for future in batch.values():
                future.set_exception(e)
                future.exception()  # heard, even if every waiter has gone
            return
        for key, future in batch.items():
            future.set_result(found.get(key))


    async def _rows(self, pseudonyms: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        if self._hot is not None:
            return await self._hot.fetch(_HOT, pseudonyms)
        async with self._engine.connect() as connection:
            query = _LOAD.where(t.records.c.pseudonym.in_(pseudonyms))
            return (await connection.execute(query)).all()


def _gather(rows: Sequence[Sequence[Any]]) -> dict[bytes, StoredRecord]:
    found: dict[bytes, StoredRecord] = {}
    keys: dict[bytes, dict[bytes, WrappedDataKey]] = {}
    for pseudonym, row_version, sealed, key_id, kek_version, wrapped in rows:
        if pseudonym not in found:
            keys[pseudonym] = {}
            found[pseudonym] = StoredRecord(row_version, sealed, keys[pseudonym])
        if key_id is not None:
            keys[pseudonym][key_id] = WrappedDataKey(key_id, kek_version, wrapped)
    return found
