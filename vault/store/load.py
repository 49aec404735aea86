"""Coalesced reads: all requests that wait share one SELECT, and none joins a SELECT already sent.

So what a request reads was committed when it began: a reveal that begins after a withdrawal
was acknowledged sees the withdrawal.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from vault.company import Company
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import BROKEN, HotConnection

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


@dataclass(slots=True, eq=False)
class _Request:
    """Records that a caller waits for: MOST_A_SELECT of them, or fewer."""

    pseudonyms: Collection[bytes]
    done: asyncio.Future[Mapping[bytes, StoredRecord]]


class Loader:
    """Reads records by pseudonym for one compartment, one SELECT at a time.

    While one is under way, others gather for the next.
    """

    def __init__(self, database: Database) -> None:
        self._engine = database.reads
        self._hot = HotConnection(database.reads) if database.is_postgresql else None
        self._company = Company()
        self._waiting: dict[_Request, None] = {}  # in the order of their coming
        self._reading: asyncio.Task[None] | None = None

    async def load(self, pseudonym: bytes) -> StoredRecord | None:
        """Return the record, or None. Raises VaultError(STORAGE_UNAVAILABLE)."""
        return (await self.load_each((pseudonym,))).get(pseudonym)

    async def load_each(self, pseudonyms: Collection[bytes]) -> Mapping[bytes, StoredRecord]:
        """Return the records that there are of these, by pseudonym.

        Raises VaultError(STORAGE_UNAVAILABLE).
        """
        if self._reading is None:
            self._reading = asyncio.create_task(self._read())
        # Asking for the running loop asks the kernel for the process's id, before Python 3.12.
        request = _Request(pseudonyms, self._reading.get_loop().create_future())
        self._waiting[request] = None
        try:
            return await request.done
        finally:
            if request.done.cancelled():  # who has gone: nothing is read for nobody
                self._waiting.pop(request, None)

    async def close(self) -> None:
        """Finish what is under way, then give back what is kept open."""
        if self._reading is not None:
            await self._reading
        if self._hot is not None:
            await self._hot.close()

    async def _read(self) -> None:
        try:
            while self._waiting:
                largest = max(len(request.pseudonyms) for request in self._waiting)
                await self._company.gather(self._waiting, MOST_A_SELECT, largest)
                if batch := self._next():
                    await self._select(batch)
        finally:
            self._reading = None

    def _next(self) -> Mapping[_Request, None]:
        """Take requests out of the queue, as many as fit into one SELECT."""
        batch: dict[_Request, None] = {}
        wanted: set[bytes] = set()
        for request in self._waiting:
            wanted.update(request.pseudonyms)
            if batch and len(wanted) > MOST_A_SELECT:
                break
            batch[request] = None
        for request in batch:
            del self._waiting[request]
        return batch

    async def _select(self, batch: Iterable[_Request]) -> None:
        wanted = {pseudonym for request in batch for pseudonym in request.pseudonyms}
        try:
            with storage_errors():
                found = _gather(await self._rows(list(wanted)))
        except Exception as e:  # whatever it is, whoever waits must hear of it
            for request in batch:
                if not request.done.done():
                    request.done.set_exception(e)
                    request.done.exception()  # heard, even if the caller goes now
            return
        for request in batch:
            if not request.done.done():  # else the caller has gone
                its = {p: found[p] for p in request.pseudonyms if p in found}
                request.done.set_result(its)

    async def _rows(self, pseudonyms: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        if self._hot is not None:
            try:
                return await self._hot.fetch(_HOT, pseudonyms)
            except BROKEN:  # what it would have read is there to be read again
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
