"""Rows that a rotation goes through: data keys and the blind index.

What changes them runs `in_epoch`: it shares the lock that writers take, so that nothing is written
under a key that leaves. Each statement is conditional on the row as it was read, so that two
workers that carry out one rotation do no harm to each other.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, insert, select, update

from vault.crypto.envelope import KEY_ID_BYTES
from vault.store import tables as t
from vault.store.changes import IndexRow, insert_if_absent
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.jobs import KeysChangedError, Transaction
from vault.store.load import WrappedDataKey

_NAMED_AT = 4  # where an envelope names its data key, counted from 1


@dataclass(frozen=True, slots=True)
class DataKeyRow:
    """A row of `data_keys`."""

    pseudonym: bytes = field(repr=False)
    id: bytes
    kek_version: int
    wrapped: bytes = field(repr=False)


@asynccontextmanager
async def in_epoch(database: Database, epoch: int) -> AsyncIterator[Transaction]:
    """Open a transaction that ends before the epoch does.

    Raises KeysChangedError where it is over, VaultError(STORAGE_UNAVAILABLE).
    """
    with storage_errors():
        async with database.writes.begin() as transaction:
            query = select(t.compartment.c.epoch).with_for_update(read=True)
            if (await transaction.execute(query)).scalar_one() != epoch:
                raise KeysChangedError
            yield transaction


def _wrapped_below(version: int) -> ColumnElement[bool]:
    """What an older KEK wraps; but what a destroyed one does is lost, and can't be wrapped anew."""
    its = (t.keyring.c.kind == "kek") & (t.keyring.c.state != "destroyed")
    older = select(t.keyring.c.version).where(its, t.keyring.c.version < version)
    return t.data_keys.c.kek_version.in_(older)


async def data_keys_below(
    database: Database, version: int, after: bytes, most: int
) -> list[DataKeyRow]:
    """Return the next data keys that are wrapped under an older KEK, pseudonym by pseudonym."""
    columns = t.data_keys.c
    query = (
        select(t.data_keys)
        .where(_wrapped_below(version), columns.pseudonym > after)
        .order_by(columns.pseudonym, columns.id)
        .limit(most)
    )
    return [DataKeyRow(*row) for row in await all_rows(database, query)]


async def count_data_keys_below(transaction: Transaction, version: int) -> int:
    """Return how many data keys are wrapped under an older KEK."""
    query = select(func.count()).select_from(t.data_keys).where(_wrapped_below(version))
    return int((await transaction.execute(query)).scalar_one())


async def count_left(database: Database, version: int) -> int:
    """Return the same, outside a transaction. Raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.reads.connect() as connection:
            return await count_data_keys_below(connection, version)


async def data_keys_under(transaction: Transaction, version: int) -> list[DataKeyRow]:
    """Return all data keys that one version of the KEK wraps, in the order of their keys."""
    query = (
        select(t.data_keys)
        .where(t.data_keys.c.kek_version == version)
        .order_by(t.data_keys.c.pseudonym, t.data_keys.c.id)
    )
    return [DataKeyRow(*row) for row in (await transaction.execute(query)).all()]


async def count_named(transaction: Transaction, version: int) -> int:
    """Return how many records are sealed under a data key that one version of the KEK wraps."""
    named = func.substr(t.records.c.sealed, _NAMED_AT, KEY_ID_BYTES)
    its = (t.records.c.pseudonym == t.data_keys.c.pseudonym) & (named == t.data_keys.c.id)
    query = select(func.count()).select_from(t.records).join(t.data_keys, its)
    found = await transaction.execute(query.where(t.data_keys.c.kek_version == version))
    return int(found.scalar_one())


async def rewrap(
    transaction: Transaction, rows: Collection[tuple[DataKeyRow, WrappedDataKey]]
) -> None:
    """Put data keys that were wrapped anew in their place, unless they changed meanwhile."""
    columns = t.data_keys.c
    statement = (
        update(t.data_keys)
        .where(columns.pseudonym == bindparam("of"), columns.id == bindparam("its"))
        .where(columns.wrapped == bindparam("old"))
        .values(kek_version=bindparam("version"), wrapped=bindparam("new"))
    )
    values = [
        {
            "of": old.pseudonym,
            "its": old.id,
            "old": old.wrapped,
            "version": new.kek_version,
            "new": new.wrapped,
        }
        for old, new in rows
    ]
    if values:
        await transaction.execute(statement, values)


async def add_data_key(transaction: Transaction, pseudonym: bytes, key: WrappedDataKey) -> None:
    """Write one more data key of a record."""
    await transaction.execute(insert(t.data_keys).values(pseudonym=pseudonym, **asdict(key)))


async def named_data_keys(
    database: Database, after: bytes, most: int
) -> Mapping[bytes, tuple[bytes, Sequence[bytes]]]:
    """Return the next records: the id that each is sealed under, and the ids of its data keys.

    One statement, so that the two are of one moment.
    """
    named = func.substr(t.records.c.sealed, _NAMED_AT, KEY_ID_BYTES)
    page = (
        select(t.records.c.pseudonym, named.label("named"))
        .where(t.records.c.pseudonym > after)
        .order_by(t.records.c.pseudonym)
        .limit(most)
        .subquery()
    )
    query = select(page.c.pseudonym, page.c.named, t.data_keys.c.id).join_from(
        page, t.data_keys, page.c.pseudonym == t.data_keys.c.pseudonym
    )
    found: dict[bytes, tuple[bytes, list[bytes]]] = {}
    for pseudonym, named, id_ in await all_rows(database, query):
        found.setdefault(pseudonym, (named, []))[1].append(id_)
    return found


async def drop_data_keys(transaction: Transaction, pairs: Collection[tuple[bytes, bytes]]) -> None:
    """Delete data keys by pseudonym and id."""
    columns = t.data_keys.c
    statement = delete(t.data_keys).where(
        columns.pseudonym == bindparam("of"), columns.id == bindparam("its")
    )
    if pairs:
        await transaction.execute(statement, [{"of": of, "its": its} for of, its in pairs])


async def has_version(transaction: Transaction, pseudonym: bytes, row_version: bytes) -> bool:
    """Tell whether a record is still what was read, and keep it so until the end."""
    query = select(t.records.c.pseudonym).where(
        t.records.c.pseudonym == pseudonym, t.records.c.row_version == row_version
    )
    return (await transaction.execute(query.with_for_update(read=True))).first() is not None


async def add_index_row(transaction: Transaction, pseudonym: bytes, row: IndexRow) -> None:
    """Write a row of an index that is being built, unless it is there.

    A unique value that another record holds too, from a time when that was allowed, stays found.
    """
    its = {"field": row.uid, "version": row.version, "value": row.value}
    slot = row.slot(pseudonym)
    if await insert_if_absent(transaction, t.blind_index, **its, slot=slot, pseudonym=pseudonym):
        return
    query = select(t.blind_index.c.pseudonym).where(
        *(t.blind_index.c[name] == value for name, value in its.items()),
        t.blind_index.c.slot == slot,
    )
    if (await transaction.execute(query)).scalar_one() != pseudonym:
        own = {"slot": pseudonym, "pseudonym": pseudonym}
        await insert_if_absent(transaction, t.blind_index, **its, **own)


async def drop_index_rows(database: Database, uid: int, below: int, most: int) -> int:
    """Delete rows of older versions of an index; return how many."""
    key = [t.blind_index.c[name] for name in ("field", "version", "value", "slot")]
    query = select(*key).where(t.blind_index.c.field == uid, t.blind_index.c.version < below)
    rows = [row._asdict() for row in await all_rows(database, query.limit(most))]
    if rows:
        statement = delete(t.blind_index).where(*(c == bindparam(f"its_{c.name}") for c in key))
        with storage_errors():
            async with database.writes.begin() as transaction:
                await transaction.execute(
                    statement, [{f"its_{k}": v for k, v in row.items()} for row in rows]
                )
    return len(rows)


async def count(transaction: Transaction, table: Table) -> int:
    """Return how many rows a table has."""
    query = select(func.count()).select_from(table)
    return int((await transaction.execute(query)).scalar_one())


async def count_rows(database: Database, table: Table) -> int:
    """Return how many rows a table has. Raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.reads.connect() as connection:
            return await count(connection, table)


async def all_rows(database: Database, query: Any) -> Sequence[Any]:
    """Run a query and return all its rows. Raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.reads.connect() as connection:
            return (await connection.execute(query)).all()
