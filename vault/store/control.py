"""The control database: one chain of entries that officers signed.

    hash = SHA-256(label, sequence, previous hash, kind, body)

An officer signs the hash, so a signature holds for one body at one place of one chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from vault.errors import Reason, VaultError
from vault.store import changes
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors


@dataclass(frozen=True, slots=True)
class ChainRow:
    """A row of `chain`, as stored; `service.publish` knows what it means and whether it holds."""

    sequence: int
    previous: bytes
    kind: str
    body: bytes
    signatures: bytes


class ControlChain:
    """Reads and appends. All raise VaultError(STORAGE_UNAVAILABLE)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def after(self, sequence: int) -> Sequence[ChainRow]:
        """Return all entries after this one, in order."""
        query = select(t.chain).where(t.chain.c.sequence > sequence).order_by(t.chain.c.sequence)
        with storage_errors():
            async with self._database.reads.connect() as connection:
                return [ChainRow(*row) for row in (await connection.execute(query)).all()]

    async def append(self, row: ChainRow) -> None:
        """Add an entry at the end; raise VaultError(STALE_ETAG) if the end has moved on."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                inserted = await changes.insert_if_absent(
                    connection,
                    t.chain,
                    sequence=row.sequence,
                    previous=row.previous,
                    kind=row.kind,
                    body=row.body,
                    signatures=row.signatures,
                )
        if not inserted:
            raise VaultError(
                Reason.STALE_ETAG,
                "Somebody else added to the control chain. Look again, then sign.",
            )
