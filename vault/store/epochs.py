"""Closed epochs of a compartment's keys: what was erased before can't be read any more."""

from dataclasses import asdict, dataclass

from sqlalchemy import insert, select, update

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.jobs import Transaction
from vault.store.rotation_rows import all_rows


@dataclass(frozen=True, slots=True)
class EpochRow:
    """A row of `epochs`; `closed_at` is 0 while it is being closed."""

    number: int
    closed_at: int
    tombstones: int
    transit_version: int


async def epochs(database: Database) -> list[EpochRow]:
    """Return all epochs that were closed or are being closed, the last one first."""
    query = select(t.epochs).order_by(t.epochs.c.number.desc())
    return [EpochRow(*row) for row in await all_rows(database, query)]


async def last_epoch(transaction: Transaction) -> EpochRow | None:
    """Return the epoch that was closed last, or is being closed."""
    query = select(t.epochs).order_by(t.epochs.c.number.desc()).limit(1)
    row = (await transaction.execute(query)).first()
    return EpochRow(*row) if row else None


async def add_epoch(transaction: Transaction, row: EpochRow) -> None:
    """Write an epoch that is to be closed."""
    await transaction.execute(insert(t.epochs).values(**asdict(row)))


async def close_epoch(transaction: Transaction, number: int, at: int, transit_version: int) -> None:
    """Note that an epoch is closed."""
    await transaction.execute(
        update(t.epochs)
        .where(t.epochs.c.number == number, t.epochs.c.closed_at == 0)
        .values(closed_at=at, transit_version=transit_version)
    )
