"""Whole records, as they come and go: at once on PostgreSQL, one row after another on SQLite.

A registration is a row in three tables and more, an erasure takes them away: as many statements,
each of which the whole batch waits for. Here one does what it can, and `changes` does the rest: so
who is refused is refused there, by the same words.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from vault.crypto.record import SealedRecord
from vault.store import changes
from vault.store.changes import IndexRow
from vault.store.load import WrappedDataKey

_OPEN = """
    WITH opened AS (
        INSERT INTO records (pseudonym, row_version, sealed) VALUES ($1, $2, $3)
        ON CONFLICT DO NOTHING RETURNING pseudonym
    ), keyed AS (
        INSERT INTO data_keys (pseudonym, id, kek_version, wrapped)
        SELECT pseudonym, $4, $5, $6 FROM opened ON CONFLICT DO NOTHING
    ), indexed AS (
        INSERT INTO blind_index (field, version, value, slot, pseudonym)
        SELECT its.*, opened.pseudonym FROM opened,
            unnest($7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[]) AS its
        ON CONFLICT DO NOTHING RETURNING field, version
    )
    SELECT EXISTS (SELECT FROM opened), ARRAY (SELECT ROW (field, version) FROM indexed)
"""
# The record's row is locked by then: nobody adds to the other tables what isn't seen here.
_ERASE = """
    WITH gone AS (DELETE FROM records WHERE pseudonym = $1 RETURNING pseudonym),
        keys AS (DELETE FROM data_keys WHERE pseudonym = $1),
        index AS (DELETE FROM blind_index WHERE pseudonym = $1),
        mark AS (
            INSERT INTO tombstones (token) SELECT $2::bytea FROM gone ON CONFLICT DO NOTHING
        )
    SELECT EXISTS (SELECT FROM gone)
"""


async def open_record(
    connection: AsyncConnection,
    pseudonym: bytes,
    record: SealedRecord,
    data_key: WrappedDataKey,
    rows: Sequence[IndexRow],
    tombstone: bytes,
) -> bool:
    """Write a new record with its data key and index rows; return whether it lifted a tombstone.

    Raises VaultError(ALREADY_REGISTERED, VALUE_TAKEN).
    """
    its = (pseudonym, record.row_version, record.sealed)
    opened, indexed = False, set[tuple[int, int]]()
    if connection.dialect.name == "postgresql":
        key = (data_key.id, data_key.kek_version, data_key.wrapped)
        columns = (
            [row.uid for row in rows],
            [row.version for row in rows],
            [row.value for row in rows],
            [row.slot(pseudonym) for row in rows],
        )
        sent = await connection.exec_driver_sql(_OPEN, (*its, *key, *columns))
        answer: Any = sent.one()
        opened, found = answer
        indexed = {tuple(key) for key in found}
    if not opened:
        await changes.insert_record(connection, *its, data_key)
    missing = [row for row in rows if (row.uid, row.version) not in indexed]
    await changes.replace_index_rows(connection, pseudonym, (), missing)
    # By a statement of its own: it sees what was erased while the record's place was waited for.
    return await changes.lift_tombstone(connection, tombstone)


async def erase_record(connection: AsyncConnection, pseudonym: bytes, tombstone: bytes) -> bool:
    """Delete all rows of a pseudonym that `take_row` locked; leave a tombstone.

    Returns whether there was a record.
    """
    if connection.dialect.name != "postgresql":
        return await changes.erase_record(connection, pseudonym, tombstone)
    sent = await connection.exec_driver_sql(_ERASE, (pseudonym, tombstone))
    return bool(sent.scalar_one())
