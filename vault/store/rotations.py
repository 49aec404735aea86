"""Rotations: how far they are, and what they do to the compartment's own keys."""

import dataclasses
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import insert, select, update

from vault.store import tables as t
from vault.store.changes import insert_if_absent
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.jobs import Transaction
from vault.store.lookups import KeyRow
from vault.store.rotation_rows import all_rows

RUNNING, DONE, FAILED = "running", "done", "failed"


@dataclass(frozen=True, slots=True)
class RotationRow:
    """A row of `rotations`. Times are in seconds since 1970; `ended` is 0 while it runs.

    `unreadable` is how many rows couldn't be opened, of those up to the cursor.
    """

    id: bytes
    level: str
    field: int
    state: str
    from_version: int
    to_version: int
    done: int
    total: int
    cursor: bytes = dataclasses.field(repr=False)
    error: str
    started: int
    ended: int
    unreadable: int = 0


async def rotations(database: Database) -> list[RotationRow]:
    """Return all, the newest first. Raises VaultError(STORAGE_UNAVAILABLE)."""
    query = select(t.rotations).order_by(t.rotations.c.started.desc(), t.rotations.c.id)
    return [RotationRow(*row) for row in await all_rows(database, query)]


async def rotation(database: Database, id_: bytes) -> RotationRow | None:
    """Return one, or None. Raises VaultError(STORAGE_UNAVAILABLE)."""
    rows = await all_rows(database, select(t.rotations).where(t.rotations.c.id == id_))
    return RotationRow(*rows[0]) if rows else None


async def running(transaction: Transaction, level: str, uid: int) -> RotationRow | None:
    """Return the rotation of a level and field that runs, or None."""
    query = select(t.rotations).where(
        t.rotations.c.level == level, t.rotations.c.field == uid, t.rotations.c.state == RUNNING
    )
    row = (await transaction.execute(query)).first()
    return RotationRow(*row) if row else None


async def done_last(transaction: Transaction, level: str) -> RotationRow | None:
    """Return the rotation of a level that was done last, or None."""
    its = (t.rotations.c.level == level) & (t.rotations.c.state == DONE)
    query = select(t.rotations).where(its).order_by(t.rotations.c.ended.desc()).limit(1)
    row = (await transaction.execute(query)).first()
    return RotationRow(*row) if row else None


async def add(transaction: Transaction, row: RotationRow) -> None:
    """Write a new rotation."""
    await transaction.execute(insert(t.rotations).values(**asdict(row)))


async def advance(
    database: Database, row: RotationRow, cursor: bytes, done: int, unreadable: int
) -> None:
    """Note how far it is by now, unless another worker noted it before."""
    with storage_errors():
        async with database.writes.begin() as transaction:
            await transaction.execute(
                update(t.rotations)
                .where(t.rotations.c.id == row.id, t.rotations.c.state == RUNNING)
                .where(t.rotations.c.cursor == row.cursor, t.rotations.c.done == row.done)
                .values(cursor=cursor, done=done, unreadable=unreadable, error="")
            )


async def note(database: Database, id_: bytes, error: str) -> None:
    """Note what a running rotation waits for."""
    its = (t.rotations.c.id == id_) & (t.rotations.c.state == RUNNING)
    with storage_errors():
        async with database.writes.begin() as transaction:
            await transaction.execute(update(t.rotations).where(its).values(error=error))


async def end(transaction: Transaction, row: RotationRow, **values: Any) -> bool:
    """End a rotation; return False if it was ended before."""
    its = (t.rotations.c.id == row.id) & (t.rotations.c.state == RUNNING)
    statement = update(t.rotations).where(its).values(cursor=b"", **values)
    return (await transaction.execute(statement)).rowcount == 1


async def add_key(transaction: Transaction, key: KeyRow) -> bool:
    """Write a new version of a key; return False if it is there."""
    return await insert_if_absent(transaction, t.keyring, **asdict(key))


async def set_states(
    transaction: Transaction, kind: str, uid: int, of: str, to: str, below: int
) -> None:
    """Bring all versions of a key below one from one state to another."""
    await transaction.execute(
        update(t.keyring)
        .where(t.keyring.c.kind == kind, t.keyring.c.field == uid)
        .where(t.keyring.c.version < below, t.keyring.c.state == of)
        .values(state=to)
    )


async def destroy_key(transaction: Transaction, key: KeyRow) -> None:
    """Take a wrapped key out for ever; its row stays and says so."""
    await transaction.execute(
        update(t.keyring)
        .where(t.keyring.c.kind == key.kind, t.keyring.c.field == key.field)
        .where(t.keyring.c.version == key.version)
        .values(state="destroyed", wrapped="")
    )


async def all_keys(transaction: Transaction) -> list[KeyRow]:
    """Return all keys of the ring."""
    return [KeyRow(*row) for row in (await transaction.execute(select(t.keyring))).all()]


async def canary(transaction: Transaction) -> str:
    """Return the canary."""
    return str((await transaction.execute(select(t.compartment.c.canary))).scalar_one())


async def replace_wrapped(database: Database, row: KeyRow, wrapped: str) -> None:
    """Put a key that was wrapped anew in its place, unless it changed since it was read."""
    with storage_errors():
        async with database.writes.begin() as transaction:
            await transaction.execute(
                update(t.keyring)
                .where(t.keyring.c.kind == row.kind, t.keyring.c.field == row.field)
                .where(t.keyring.c.version == row.version, t.keyring.c.wrapped == row.wrapped)
                .values(wrapped=wrapped)
            )


async def replace_canary(database: Database, old: str, new: str) -> None:
    """Put a canary that was encrypted anew in its place, unless it changed since it was read."""
    statement = update(t.compartment).where(t.compartment.c.canary == old).values(canary=new)
    with storage_errors():
        async with database.writes.begin() as transaction:
            await transaction.execute(statement)
