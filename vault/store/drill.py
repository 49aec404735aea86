"""A scratch database for a drill: made from nothing, and destroyed afterwards."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from sqlalchemy import Connection, MetaData, inspect, select

from vault.crypto.envelope import key_id
from vault.crypto.primitives import DamagedError
from vault.store import schema
from vault.store import tables as t
from vault.store.backup import BATCH, Progress
from vault.store.backup_file import BackupError, BackupReader
from vault.store.engine import Database, connect
from vault.store.errors import storage_errors
from vault.store.rights import FUNCTIONS
from vault.store.schema import Schema


@asynccontextmanager
async def scratch(url: str, password_file: Path | None = None) -> AsyncIterator[Database]:
    """Give an empty database the tables of a compartment; drop all of them at the end.

    Raises BackupError if there is anything in it, VaultError(STORAGE_UNAVAILABLE).
    """
    database = connect(url, password_file)
    try:
        with storage_errors():
            async with database.reads.connect() as connection:
                found = await connection.run_sync(_tables)
        if found:
            raise BackupError(
                f"The scratch database has tables ({', '.join(found)}), and this command drops all "
                "tables of its scratch when it is done. Make a new, empty one."
            )
        try:
            await schema.upgrade(database, Schema.COMPARTMENT)
            yield database
        finally:
            with storage_errors():
                async with database.writes.begin() as connection:
                    await connection.run_sync(_drop)
    finally:
        await database.close()


def _tables(connection: Connection) -> list[str]:
    return sorted(inspect(connection).get_table_names())


def _drop(connection: Connection) -> None:
    all_tables = MetaData()
    all_tables.reflect(connection)
    all_tables.drop_all(connection)
    if connection.dialect.name == "postgresql":
        for function in chain.from_iterable(FUNCTIONS.values()):
            connection.exec_driver_sql(f"DROP FUNCTION IF EXISTS public.{function}")


@dataclass(slots=True)
class Compared:
    """Records of a data backup: living or erased since, and whether they came back."""

    living_back: int = 0
    living_lost: int = 0
    erased_back: int = 0
    erased_gone: int = 0
    without_key: int = 0  # of `living_lost`: the data key that the backup names was dropped


Lasting = Callable[[Collection[bytes]], Awaitable[set[bytes]]]


async def compare(
    data: Path, restored: Database, live: Database, lasting: Lasting, progress: Progress
) -> Compared:
    """Hold each record of a data backup against the live database and against a restored one.

    A record lives if the data key that it is sealed under is in the live database. Where that is
    gone and there is a record still, it was dropped as superseded, or the subject erased their
    data and came back: `lasting` says who of these didn't erase it. Raises BackupError, VaultError.
    """
    compared = Compared()
    with BackupReader(data) as reader:
        heads, records, *_ = reader.header.sections
        for _ in reader.rows(heads):
            pass
        rows, done = reader.rows(records), 0
        while batch := list(islice(rows, BATCH)):
            wanted = {row[0]: _key_id(row[2]) for row in batch}
            living = await _living(live, wanted)
            back = await _with_record(restored, list(wanted))
            others = await _with_record(live, [raw for raw in wanted if raw not in living])
            rekeyed = await lasting(others) if others else set()
            living |= rekeyed
            compared.without_key += len(rekeyed - back)
            compared.living_back += len(living & back)
            compared.living_lost += len(living - back)
            compared.erased_back += len(back - living)
            compared.erased_gone += len(set(wanted) - living - back)
            done += len(batch)
            progress("compare", done, records.rows)
    return compared


def _key_id(sealed: bytes) -> bytes | None:
    try:
        return key_id(sealed)
    except DamagedError:
        return None


async def _living(live: Database, wanted: Mapping[bytes, bytes | None]) -> set[bytes]:
    columns = t.data_keys.c.pseudonym, t.data_keys.c.id
    query = select(*columns).where(t.data_keys.c.pseudonym.in_(list(wanted)))
    with storage_errors():
        async with live.reads.connect() as connection:
            held = (await connection.execute(query)).all()
    # A record too damaged to name its key lives if its subject has any.
    return {k.pseudonym for k in held if wanted[k.pseudonym] in (k.id, None)}


async def _with_record(database: Database, pseudonyms: list[bytes]) -> set[bytes]:
    query = select(t.records.c.pseudonym).where(t.records.c.pseudonym.in_(pseudonyms))
    with storage_errors():
        async with database.reads.connect() as connection:
            return set((await connection.execute(query)).scalars())
