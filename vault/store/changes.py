"""The statements that change a record. What changes one runs in a committer's transaction.

What writes is conditional, and says so when its condition didn't hold: nothing is overwritten
that the caller hasn't seen.
"""

from collections.abc import Collection, Iterable
from dataclasses import field
from functools import cache

from sqlalchemy import Insert, Table, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.crypto.record import SealedRecord
from vault.errors import Reason, VaultError
from vault.frozen import dataclass
from vault.store import tables as t
from vault.store.load import WrappedDataKey

TOMBSTONES = "SELECT token FROM tombstones WHERE token = ANY ($1::bytea[])"
_TOMBSTONE = select(t.tombstones.c.token).where(t.tombstones.c.token == bindparam("token"))


@dataclass(frozen=True, slots=True)
class IndexRow:
    """A row of `blind_index`; `name` is the field's, for an error."""

    name: str
    uid: int
    version: int
    value: bytes = field(repr=False)
    unique: bool

    def slot(self, pseudonym: bytes) -> bytes:
        """Return what keeps equal values of several records apart; of a unique field, nothing."""
        return b"" if self.unique else pseudonym

    def row(self, pseudonym: bytes) -> tuple[int, int, bytes, bytes, bytes]:
        """Return the row of `blind_index`: all but the last, the pseudonym, is its key."""
        return self.uid, self.version, self.value, self.slot(pseudonym), pseudonym


@dataclass(frozen=True, slots=True)
class RequestMark:
    """Keyed hashes of a request id and of what was asked under it; the day counts from 1970."""

    token: bytes = field(repr=False)
    content: bytes = field(repr=False)
    day: int


async def remember_request(connection: AsyncConnection, mark: RequestMark) -> bool:
    """Note a request id; return False if this very request was carried out before.

    Raises VaultError(REQUEST_ID_REUSED) if another one was.
    """
    if await insert_if_absent(
        connection, t.idempotency, token=mark.token, content=mark.content, day=mark.day
    ):
        return True
    query = select(t.idempotency.c.content).where(t.idempotency.c.token == mark.token)
    if (await connection.execute(query)).scalar_one() == mark.content:
        return False
    raise VaultError(
        Reason.REQUEST_ID_REUSED,
        "This request id was used before with another request. Draw a new one for each request.",
    )


async def forget_requests(connection: AsyncConnection, before: int) -> None:
    """Delete what is remembered of requests from before a day."""
    await connection.execute(delete(t.idempotency).where(t.idempotency.c.day < before))


async def insert_record(
    connection: AsyncConnection,
    pseudonym: bytes,
    row_version: bytes,
    sealed: bytes,
    data_key: WrappedDataKey,
) -> None:
    """Open a record; raise VaultError(ALREADY_REGISTERED) if there is one."""
    if not await insert_if_absent(
        connection, t.records, pseudonym=pseudonym, row_version=row_version, sealed=sealed
    ):
        raise VaultError(
            Reason.ALREADY_REGISTERED,
            "The subject is registered in this compartment already. Use Put to change values.",
        )
    await insert_if_absent(
        connection,
        t.data_keys,
        pseudonym=pseudonym,
        id=data_key.id,
        kek_version=data_key.kek_version,
        wrapped=data_key.wrapped,
    )


async def replace_record(
    connection: AsyncConnection,
    pseudonym: bytes,
    old_version: bytes,
    new_version: bytes,
    sealed: bytes,
) -> None:
    """Put a new version in the place of the one that was read, or raise VaultError(STALE_ETAG)."""
    statement = (
        update(t.records)
        .where(t.records.c.pseudonym == pseudonym, t.records.c.row_version == old_version)
        .values(row_version=new_version, sealed=sealed)
    )
    if (await connection.execute(statement)).rowcount != 1:
        raise stale()


async def take_row(connection: AsyncConnection, pseudonym: bytes) -> SealedRecord | None:
    """Return a record's row as nobody else changes it before this transaction ends."""
    query = select(t.records.c.row_version, t.records.c.sealed).where(
        t.records.c.pseudonym == pseudonym
    )
    row = (await connection.execute(query.with_for_update())).first()
    return SealedRecord(*row) if row else None


async def erase_record(
    connection: AsyncConnection, pseudonym: bytes, tombstone: bytes | None
) -> bool:
    """Delete all rows of a pseudonym, leave a tombstone; return whether there was a record."""
    gone = 0
    for table in (t.blind_index, t.data_keys, t.records):
        result = await connection.execute(delete(table).where(table.c.pseudonym == pseudonym))
        gone = result.rowcount
    if gone and tombstone is not None:
        await insert_if_absent(connection, t.tombstones, token=tombstone)
    return gone > 0


async def lift_tombstone(connection: AsyncConnection, token: bytes) -> bool:
    """Let a new record begin where one was erased: the subject came back. Return whether so."""
    gone = await connection.execute(delete(t.tombstones).where(t.tombstones.c.token == token))
    if gone.rowcount:  # nobody knows when it was made: no closed epoch may claim too many
        fewer = update(t.epochs).where(t.epochs.c.tombstones > 0)
        await connection.execute(fewer.values(tombstones=t.epochs.c.tombstones - 1))
    return gone.rowcount > 0


async def has_tombstone(connection: AsyncConnection, token: bytes) -> bool:
    """Tell whether an erasure left its mark."""
    return (await connection.execute(_TOMBSTONE, {"token": token})).first() is not None


async def replace_index_rows(
    connection: AsyncConnection, pseudonym: bytes, uids: Collection[int], rows: Iterable[IndexRow]
) -> None:
    """Put `rows` in the place of all rows that the pseudonym has in these fields.

    Raises VaultError(VALUE_TAKEN) where another record holds a unique value.
    """
    if uids:
        await connection.execute(
            delete(t.blind_index).where(
                t.blind_index.c.pseudonym == pseudonym, t.blind_index.c.field.in_(sorted(uids))
            )
        )
    for row in rows:
        inserted = await insert_if_absent(
            connection,
            t.blind_index,
            field=row.uid,
            version=row.version,
            value=row.value,
            slot=row.slot(pseudonym),
            pseudonym=pseudonym,
        )
        if not inserted:
            raise VaultError(
                Reason.VALUE_TAKEN,
                f"Another record holds this value of {row.name}, and no two may.",
                violations={f"fields.{row.name}": "is taken"},
            )


def stale() -> VaultError:
    """Return the error for a write that was made from an old version."""
    return VaultError(
        Reason.STALE_ETAG, "The record changed since its etag was read. Read again, then write."
    )


async def insert_if_absent(connection: AsyncConnection, table: Table, **values: object) -> bool:
    """Insert a row unless its key is taken; return whether it was inserted."""
    statement = _insert_if_absent(connection.dialect.name, table)
    return (await connection.execute(statement, values)).rowcount == 1


@cache
def _insert_if_absent(dialect: str, table: Table) -> Insert:
    """Write it once a table: that costs as much as to send it."""
    insert = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return insert(table).on_conflict_do_nothing()
