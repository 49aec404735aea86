"""The statements by which officers change keys, and what is counted for them.

Statements that change run in a committer's transaction (`Committer.alter`), which has the
compartment's own row for itself.
"""

from collections.abc import Mapping

from sqlalchemy import func, select, text, update

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.jobs import Transaction
from vault.store.lookups import KeyRow


async def next_epoch(transaction: Transaction) -> int:
    """Begin an epoch and return it: every worker follows, and plans its changes anew."""
    statement = update(t.compartment).values(epoch=t.compartment.c.epoch + 1)
    epoch = (await transaction.execute(statement.returning(t.compartment.c.epoch))).scalar_one()
    return int(epoch)


async def evict(transaction: Transaction) -> None:
    """Have every process forget the keys that it has in clear, in the epoch that begins next."""
    await transaction.execute(update(t.compartment).values(evicted=t.compartment.c.epoch + 1))


async def epoch_of(transaction: Transaction) -> int:
    """Return the epoch."""
    return int((await transaction.execute(select(t.compartment.c.epoch))).scalar_one())


async def set_compartment_state(transaction: Transaction, state: str) -> bool:
    """Set it; return False if it was so before."""
    statement = update(t.compartment).where(t.compartment.c.state != state).values(state=state)
    return (await transaction.execute(statement)).rowcount == 1


async def versions(transaction: Transaction, kind: str, field: int) -> list[KeyRow]:
    """Return all versions of a key, oldest first."""
    its = (t.keyring.c.kind == kind) & (t.keyring.c.field == field)
    query = select(t.keyring).where(its).order_by(t.keyring.c.version)
    return [KeyRow(*row) for row in (await transaction.execute(query)).all()]


async def set_key_state(transaction: Transaction, row: KeyRow, state: str) -> bool:
    """Set the state of a version that is as it was read; return False if it isn't any more."""
    statement = (
        update(t.keyring)
        .where(
            t.keyring.c.kind == row.kind,
            t.keyring.c.field == row.field,
            t.keyring.c.version == row.version,
            t.keyring.c.state == row.state,
        )
        .values(state=state)
    )
    return (await transaction.execute(statement)).rowcount == 1


async def count_data_keys(database: Database) -> Mapping[int, int]:
    """Return how many data keys are wrapped under each version of the KEK.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    query = select(t.data_keys.c.kek_version, func.count()).group_by(t.data_keys.c.kek_version)
    with storage_errors():
        async with database.reads.connect() as connection:
            rows = (await connection.execute(query)).all()
    return {version: count for version, count in rows}  # noqa: C416 -- rows aren't typed as pairs


async def estimate_events(database: Database) -> int | None:
    """Return about how many events the trail has; None where PostgreSQL didn't look yet.

    A worker may not read the trail, and an estimate takes no time. Raises
    VaultError(STORAGE_UNAVAILABLE).
    """
    if database.is_postgresql:
        asked = "SELECT reltuples::bigint FROM pg_class WHERE oid = 'audit'::regclass"
    else:
        asked = "SELECT count(token) FROM audit"
    with storage_errors():
        async with database.reads.connect() as connection:
            found = int((await connection.execute(text(asked))).scalar_one())
    return found if found >= 0 else None
