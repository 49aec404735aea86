"""The control database: one chain of entries, and those that wait for officers' signatures.

What the entries mean, and whether they hold, is `service.ledger`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from vault.store import changes
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of `chain`, as stored."""

    sequence: int
    previous: bytes
    kind: str
    body: bytes
    signatures: bytes


@dataclass(frozen=True, slots=True)
class PendingRow:
    """A row of `approvals`, as stored."""

    statement: bytes
    kind: str
    body: bytes
    signatures: bytes


class ControlChain:
    """Reads and appends. All raise VaultError(STORAGE_UNAVAILABLE)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def since(self, sequence: int) -> Sequence[ChainRow]:
        """Return this entry and all after it, in order."""
        query = select(t.chain).where(t.chain.c.sequence >= sequence).order_by(t.chain.c.sequence)
        with storage_errors():
            async with self._database.reads.connect() as connection:
                return [ChainRow(*row) for row in (await connection.execute(query)).all()]

    async def pending(self) -> Sequence[PendingRow]:
        """Return what waits for more officers."""
        with storage_errors():
            async with self._database.reads.connect() as connection:
                rows = (await connection.execute(select(t.approvals))).all()
                return [PendingRow(*row) for row in rows]

    async def keep_pending(self, row: PendingRow) -> None:
        """Write what waits, in the place of an earlier state of it."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                await connection.execute(
                    delete(t.approvals).where(t.approvals.c.statement == row.statement)
                )
                await connection.execute(
                    insert(t.approvals).values(
                        statement=row.statement,
                        kind=row.kind,
                        body=row.body,
                        signatures=row.signatures,
                    )
                )

    async def drop_pending(self, statement: bytes) -> None:
        """Delete what waits no more."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                await connection.execute(
                    delete(t.approvals).where(t.approvals.c.statement == statement)
                )

    async def append(self, row: ChainRow) -> bool:
        """Add an entry at the end; return False if the end has moved on."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                return await changes.insert_if_absent(
                    connection,
                    t.chain,
                    sequence=row.sequence,
                    previous=row.previous,
                    kind=row.kind,
                    body=row.body,
                    signatures=row.signatures,
                )
