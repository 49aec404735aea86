"""The rows of subjects' requests: an id, and sealed bytes. Nothing in one leads to a subject."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.store import tables as t
from vault.store.changes import insert_if_absent
from vault.store.engine import Database
from vault.store.errors import storage_errors


@dataclass(frozen=True, slots=True)
class Finish:
    """What a request becomes: sealed, as it was read and as it is once it has ended."""

    id: bytes
    begun: bytes = field(repr=False)
    done: bytes = field(repr=False)


async def add(database: Database, id_: bytes, sealed: bytes) -> bool:
    """Write a request, unless one of that id is there; tell whether it was written."""
    # One statement is a transaction of its own on PostgreSQL, without the two around it.
    writes = database.reads.connect if database.is_postgresql else database.writes.begin
    with storage_errors():
        async with writes() as connection:
            return await insert_if_absent(connection, t.requests, id=id_, sealed=sealed)


async def replace(connection: AsyncConnection, finish: Finish) -> bool:
    """Put a request's new state in the place of the one that was read; tell whether it was it."""
    statement = (
        update(t.requests)
        .where(t.requests.c.id == finish.id, t.requests.c.sealed == finish.begun)
        .values(sealed=finish.done)
    )
    return (await connection.execute(statement)).rowcount == 1


async def swap(database: Database, finish: Finish) -> bool:
    """Do what `replace` does, in a transaction of its own."""
    with storage_errors():
        async with database.writes.begin() as connection:
            return await replace(connection, finish)


async def find(database: Database, ids: Sequence[bytes]) -> Sequence[tuple[bytes, bytes]]:
    """Return those of these requests that there are: id and sealed bytes."""
    query = select(t.requests.c.id, t.requests.c.sealed).where(t.requests.c.id.in_(ids))
    with storage_errors():
        async with database.reads.connect() as connection:
            return [(row.id, row.sealed) for row in await connection.execute(query)]


async def page(database: Database, after: bytes, most: int) -> Sequence[tuple[bytes, bytes]]:
    """Return the next requests in the order of the key: id and sealed bytes."""
    query = (
        select(t.requests.c.id, t.requests.c.sealed)
        .where(t.requests.c.id > after)
        .order_by(t.requests.c.id)
        .limit(most)
    )
    with storage_errors():
        async with database.reads.connect() as connection:
            return [(row.id, row.sealed) for row in await connection.execute(query)]


async def drop(database: Database, ids: Sequence[bytes]) -> None:
    """Delete requests."""
    with storage_errors():
        async with database.writes.begin() as connection:
            await connection.execute(delete(t.requests).where(t.requests.c.id.in_(ids)))
