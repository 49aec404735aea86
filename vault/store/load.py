"""Coalesced reads: all requests that wait share one SELECT, and none joins a SELECT already sent.

So what a request reads was committed when it began: a reveal that begins after a withdrawal
was acknowledged sees the withdrawal.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from sqlalchemy import select

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import BROKEN, Company, HotConnection

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

# The same, as the raw driver takes it: prepared once, whatever the number of pseudonyms.
_HOT = """
    SELECT r.pseudonym, r.row_version, r.sealed, k.id, k.kek_version, k.wrapped
    FROM records r LEFT JOIN data_keys k ON k.pseudonym = r.pseudonym
    WHERE r.pseudonym = ANY ($1::bytea[])
"""

_Waiter: TypeAlias = "asyncio.Future[StoredRecord | None]"


class Loader:
    """Reads records by pseudonym for one compartment, one SELECT at a time.

    While one is under way, others gather for the next.
    """

    def __init__(self, database: Database) -> None:
        self._engine = database.reads
        self._hot = HotConnection(database.reads) if database.is_postgresql else None
        self._company = Company()
        self._waiting: dict[bytes, set[_Waiter]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def load(self, pseudonym: bytes) -> StoredRecord | None:
        """Return the record, or None. Raises VaultError(STORAGE_UNAVAILABLE)."""
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(pseudonym, set()).add(waiter)
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        try:
            return await waiter
        finally:
            if waiter.cancelled():
                self._leave(pseudonym, waiter)

    async def close(self) -> None:
        """Finish what is under way, then give back what is kept open."""
        if self._reading is not None:
            await self._reading
        if self._hot is not None:
            await self._hot.close()

    def _leave(self, pseudonym: bytes, waiter: _Waiter) -> None:
        """Take a caller who has gone out of the queue: nothing is read for nobody."""
        waiters = self._waiting.get(pseudonym, set())
        waiters.discard(waiter)
        if not waiters:
            self._waiting.pop(pseudonym, None)

    async def _read(self) -> None:
        try:
            while self._waiting:
                await self._company.gather(self._waiting, MOST_A_SELECT)
                if keys := list(self._waiting)[:MOST_A_SELECT]:
                    await self._select({key: self._waiting.pop(key) for key in keys})
        finally:
            self._reading = None

    async def _select(self, batch: Mapping[bytes, set[_Waiter]]) -> None:
        try:
            with storage_errors():
                found = _gather(await self._rows(list(batch)))
        except Exception as e:  # whatever it is, whoever waits must hear of it
            for waiters in batch.values():
                _refuse(waiters, e)
            return
        for key, waiters in batch.items():
            _answer(waiters, found.get(key))

    async def _rows(self, pseudonyms: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        if self._hot is not None:
            try:
                return await self._hot.fetch(_HOT, pseudonyms)
            except BROKEN:  # what it would have read is there to be read again
                return await self._hot.fetch(_HOT, pseudonyms)
        async with self._engine.connect() as connection:
            query = _LOAD.where(t.records.c.pseudonym.in_(pseudonyms))
            return (await connection.execute(query)).all()


def _answer(waiters: Iterable[_Waiter], record: StoredRecord | None) -> None:
    for waiter in waiters:
        if not waiter.done():  # else the caller has gone
            waiter.set_result(record)


def _refuse(waiters: Iterable[_Waiter], error: Exception) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_exception(error)
            waiter.exception()  # heard, even if the caller goes now


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
