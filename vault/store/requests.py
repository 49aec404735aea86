"""The rows of subjects' requests: an id, and sealed bytes. Nothing in one leads to a subject."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Select, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.lane import Lane
from vault.store import tables as t
from vault.store.changes import insert_if_absent
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import HotConnection

_MOST_AT_ONCE = 200
_ADD = """
    INSERT INTO requests (id, sealed) SELECT * FROM unnest($1::bytea[], $2::bytea[])
    ON CONFLICT DO NOTHING RETURNING id
"""
_ROWS = select(t.requests.c.id, t.requests.c.sealed)


@dataclass(frozen=True, slots=True)
class Finish:
    """What a request becomes: sealed, as it was read and as it is once it has ended."""

    id: bytes
    begun: bytes = field(repr=False)
    done: bytes = field(repr=False)


class Requests:
    """The requests of one compartment. All raise VaultError(STORAGE_UNAVAILABLE)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hot = HotConnection(database.writes) if database.is_postgresql else None
        self._new = Lane(self._add_each, _MOST_AT_ONCE)

    async def add(self, id_: bytes, sealed: bytes) -> bool:
        """Write a request, unless one of that id is there; tell whether it was written.

        Those who come at one time share a statement.
        """
        return await self._new.ask((id_, sealed))

    async def find(self, ids: Sequence[bytes]) -> Sequence[tuple[bytes, bytes]]:
        """Return those of these requests that there are: id and sealed bytes."""
        return await self._select(_ROWS.where(t.requests.c.id.in_(ids)))

    async def page(self, after: bytes, most: int) -> Sequence[tuple[bytes, bytes]]:
        """Return the next requests in the order of the key: id and sealed bytes."""
        rows = _ROWS.where(t.requests.c.id > after).order_by(t.requests.c.id)
        return await self._select(rows.limit(most))

    async def replace(self, finish: Finish) -> bool:
        """Do what `replace` does, in a transaction of its own."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                return await replace(connection, finish)

    async def drop(self, ids: Sequence[bytes]) -> None:
        """Delete requests."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                await connection.execute(delete(t.requests).where(t.requests.c.id.in_(ids)))

    async def close(self) -> None:
        """Finish what is under way, then give back what is kept open."""
        await self._new.close()
        if self._hot is not None:
            await self._hot.close()

    async def _select(self, rows: Select[tuple[bytes, bytes]]) -> Sequence[tuple[bytes, bytes]]:
        with storage_errors():
            async with self._database.reads.connect() as connection:
                return [(row.id, row.sealed) for row in await connection.execute(rows)]

    async def _add_each(self, asked: Sequence[tuple[bytes, bytes]]) -> Sequence[bool]:
        new: dict[bytes, bytes] = {}
        for id_, sealed in asked:
            new.setdefault(id_, sealed)  # of one id, the first alone
        ordered = dict(sorted(new.items()))  # so two processes never wait for each other
        with storage_errors():
            written = await self._written(ordered)
        told: list[bool] = []
        for id_, _ in asked:
            told.append(id_ in written)
            written.discard(id_)
        return told

    async def _written(self, new: Mapping[bytes, bytes]) -> set[bytes]:
        if self._hot is not None:
            return {id_ for (id_,) in await self._hot.fetch(_ADD, [*new], [*new.values()])}
        async with self._database.writes.begin() as connection:
            return {
                id_
                for id_, sealed in new.items()
                if await insert_if_absent(connection, t.requests, id=id_, sealed=sealed)
            }


async def replace(connection: AsyncConnection, finish: Finish) -> bool:
    """Put a request's new state in the place of the one that was read; tell whether it was it."""
    statement = (
        update(t.requests)
        .where(t.requests.c.id == finish.id, t.requests.c.sealed == finish.begun)
        .values(sealed=finish.done)
    )
    return (await connection.execute(statement)).rowcount == 1
