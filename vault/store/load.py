"""Coalesced reads: all requests that wait share one SELECT, and none joins a SELECT already sent.

So what a request reads was committed when it began: a reveal that begins after a withdrawal
was acknowledged sees the withdrawal.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from typing import Any

from sqlalchemy import select

from vault.frozen import dataclass
from vault.lane import Lane
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

# The same, as the raw driver takes it: prepared once, whatever the number of pseudonyms.
_HOT = """
    SELECT r.pseudonym, r.row_version, r.sealed, k.id, k.kek_version, k.wrapped
    FROM records r LEFT JOIN data_keys k ON k.pseudonym = r.pseudonym
    WHERE r.pseudonym = ANY ($1::bytea[])
"""


class Loader:
    """Reads records by pseudonym for one compartment, one SELECT at a time."""

    def __init__(self, database: Database) -> None:
        self._engine = database.reads
        self._hot = HotConnection(database.reads) if database.is_postgresql else None
        self._lane = Lane(self._select, MOST_A_SELECT, len)

    async def load(self, pseudonym: bytes) -> StoredRecord | None:
        """Return the record, or None. Raises VaultError(STORAGE_UNAVAILABLE)."""
        return (await self.load_each((pseudonym,))).get(pseudonym)

    async def load_each(self, pseudonyms: Collection[bytes]) -> Mapping[bytes, StoredRecord]:
        """Return the records that there are of these, by pseudonym.

        Raises VaultError(STORAGE_UNAVAILABLE).
        """
        return await self._lane.ask(pseudonyms)

    async def close(self) -> None:
        """Finish what is under way, then give back what is kept open."""
        await self._lane.close()
        if self._hot is not None:
            await self._hot.close()

    async def _select(
        self, asked: Sequence[Collection[bytes]]
    ) -> Sequence[Mapping[bytes, StoredRecord]]:
        wanted = {pseudonym for pseudonyms in asked for pseudonym in pseudonyms}
        with storage_errors():
            found = _gather(await self._rows(list(wanted)))
        return [{p: found[p] for p in pseudonyms if p in found} for pseudonyms in asked]

    async def _rows(self, pseudonyms: Sequence[bytes]) -> Sequence[Sequence[Any]]:
        if self._hot is not None:
            return await self._hot.read(_HOT, pseudonyms)
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
