"""The checkpoints of a compartment's trail, and cutting the trail off at one of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, select, update

from vault.store import changes
from vault.store import tables as t
from vault.store.backup import owner_alone
from vault.store.engine import Database
from vault.store.errors import storage_errors

PAGE = 200  # rows in memory at a time


@dataclass(frozen=True, slots=True)
class CheckpointRow:
    """A row of `checkpoints`, as stored."""

    number: int
    body: bytes
    signature: bytes = field(repr=False)


async def last_checkpoint(database: Database) -> CheckpointRow | None:
    """Return the newest one. Raises VaultError(STORAGE_UNAVAILABLE)."""
    query = select(t.checkpoints).order_by(t.checkpoints.c.number.desc()).limit(1)
    with storage_errors():
        async with database.reads.connect() as connection:
            row = (await connection.execute(query)).first()
            return CheckpointRow(*row) if row else None


async def checkpoints_from(
    database: Database, number: int, most: int = PAGE
) -> Sequence[CheckpointRow]:
    """Return this one and those after it, in order. Raises VaultError(STORAGE_UNAVAILABLE)."""
    query = (
        select(t.checkpoints)
        .where(t.checkpoints.c.number >= number)
        .order_by(t.checkpoints.c.number)
        .limit(most)
    )
    with storage_errors():
        async with database.reads.connect() as connection:
            return [CheckpointRow(*row) for row in (await connection.execute(query)).all()]


async def add_checkpoint(database: Database, row: CheckpointRow) -> bool:
    """Write one; return False if another auditor took its number. Raises VaultError."""
    with storage_errors():
        async with database.writes.begin() as connection:
            return await changes.insert_if_absent(
                connection,
                t.checkpoints,
                number=row.number,
                body=row.body,
                signature=row.signature,
            )


async def cut_off(
    database: Database, number: int, first_kept: Mapping[bytes, int], begins: int | None = None
) -> int:
    """Delete events before the first that each writer keeps, and checkpoints before a number.

    One transaction. Notes since when a compartment's trail is whole, in microseconds since 1970:
    the broker's database has no room for it. Returns how many events are gone. Raises BackupError
    if the login isn't the tables' owner's, VaultError(STORAGE_UNAVAILABLE).
    """
    gone = 0
    with storage_errors(), owner_alone():
        async with database.writes.begin() as connection:
            for writer, sequence in first_kept.items():
                result = await connection.execute(
                    delete(t.audit).where(t.audit.c.writer == writer, t.audit.c.sequence < sequence)
                )
                gone += result.rowcount
            await connection.execute(delete(t.checkpoints).where(t.checkpoints.c.number < number))
            if gone and begins is not None:
                await connection.execute(update(t.compartment).values(trail_begins=begins))
    return gone
