"""Reads beside those of records, and the few writes that belong to no request.

Index look-ups and tombstones; the keyring, the database's own row and the sweeper's pages.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import func, insert, literal, select, update

from vault.lane import Lane
from vault.store import changes
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import HotConnection

_MOST_TOMBSTONES = 200  # that are looked for at once
SERVING, SUSPENDED = "serving", "suspended"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a compartment's database says of itself.

    `canary` is a Transit ciphertext; the ledger's sequence and head are the last that a worker saw.
    Events from before `trail_begins` (microseconds since 1970) may have been cut off; 0: none were.
    """

    uuid: bytes
    epoch: int
    ledger_sequence: int
    ledger_head: bytes
    sweep_cursor: bytes
    canary: str
    state: str = SERVING
    evicted: int = 0
    trail_begins: int = 0


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A row of `keyring`."""

    kind: str
    field: int
    version: int
    state: str
    wrapped: str
    created: int = 0  # seconds since 1970; 0 where nobody knows


CheckKey = Callable[[KeyRow, Sequence[KeyRow], str], None]


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up found, and the epoch of the compartment's keys at that moment."""

    epoch: int
    pseudonyms: Sequence[bytes] = field(repr=False)


class Lookups:
    """What one compartment's database says. All raise VaultError(STORAGE_UNAVAILABLE)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._hot = HotConnection(database.reads) if database.is_postgresql else None
        self._tombstones = Lane(self._have_tombstones, _MOST_TOMBSTONES)

    async def close(self) -> None:
        """Finish what is under way, then give back what is kept open."""
        await self._tombstones.close()
        if self._hot is not None:
            await self._hot.close()

    async def find(self, uid: int, version: int, value: bytes, most: int) -> "Found":
        """Return the pseudonyms that an index value stands for, at most `most`.

        `version` is that of the index key; whether it was the one to look up by, the epoch says.
        """
        its = (
            (t.blind_index.c.field == uid)
            & (t.blind_index.c.version == version)
            & (t.blind_index.c.value == value)
        )
        once = select(literal(1)).subquery()  # so that the epoch is said even if nothing is found
        epoch = select(t.compartment.c.epoch).scalar_subquery()
        query = (
            select(epoch, t.blind_index.c.pseudonym)
            .join_from(once, t.blind_index, its, isouter=True)
            .order_by(t.blind_index.c.slot)
            .limit(most)
        )
        with storage_errors():
            async with self._database.reads.connect() as connection:
                rows = (await connection.execute(query)).all()
        return Found(rows[0][0] or 0, [row[1] for row in rows if row[1] is not None])

    async def has_tombstone(self, token: bytes) -> bool:
        """Tell whether an erasure left its mark. Those who ask at one time share a SELECT."""
        return await self._tombstones.ask(token)

    async def _have_tombstones(self, tokens: Sequence[bytes]) -> Sequence[bool]:
        with storage_errors():
            rows: Sequence[Any]
            if self._hot is not None:
                rows = await self._hot.read(changes.TOMBSTONES, tokens)
            else:
                query = select(t.tombstones.c.token).where(t.tombstones.c.token.in_(tokens))
                async with self._database.reads.connect() as connection:
                    rows = (await connection.execute(query)).all()
        found = {token for (token,) in rows}
        return [token in found for token in tokens]

    async def identity(self) -> Identity | None:
        """Return the database's own row, or None where nothing was established yet."""
        with storage_errors():
            async with self._database.reads.connect() as connection:
                row = (await connection.execute(select(t.compartment))).first()
                return Identity(*row) if row else None

    async def keyring(self) -> Sequence[KeyRow]:
        """Return all wrapped keys."""
        with storage_errors():
            async with self._database.reads.connect() as connection:
                rows = (await connection.execute(select(t.keyring))).all()
                return [KeyRow(*row) for row in rows]

    async def standing(self) -> tuple[Identity | None, Sequence[KeyRow]]:
        """Return the database's own row, and wrapped keys that are no older than its epoch."""
        with storage_errors():
            async with self._database.reads.connect() as connection:
                own = (await connection.execute(select(t.compartment))).first()
                keys = (await connection.execute(select(t.keyring))).all()
                return Identity(*own) if own else None, [KeyRow(*row) for row in keys]

    async def establish(self, identity: Identity, keys: Sequence[KeyRow]) -> None:
        """Write the database's own row and first keys, unless another process was first."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                first = await changes.insert_if_absent(
                    connection,
                    t.compartment,
                    uuid=identity.uuid,
                    epoch=identity.epoch,
                    ledger_sequence=identity.ledger_sequence,
                    ledger_head=identity.ledger_head,
                    sweep_cursor=identity.sweep_cursor,
                    canary=identity.canary,
                    state=identity.state,
                )
                if first:
                    await connection.execute(insert(t.keyring), [asdict(key) for key in keys])

    async def saw_ledger(self, sequence: int, head: bytes) -> None:
        """Note how much of the control chain was seen; never less than was noted before."""
        statement = (
            update(t.compartment)
            .where(t.compartment.c.ledger_sequence < sequence)
            .values(ledger_sequence=sequence, ledger_head=head)
        )
        with storage_errors():
            async with self._database.writes.begin() as connection:
                await connection.execute(statement)

    async def now(self) -> datetime:
        """Return the database's time: what falls due does so by one clock."""
        with storage_errors():
            async with self._database.reads.connect() as connection:
                found: datetime = (await connection.execute(select(func.now()))).scalar_one()
        return found if found.tzinfo else found.replace(tzinfo=UTC)  # SQLite says UTC without it

    async def page(self, after: bytes, most: int) -> Sequence[bytes]:
        """Return the next pseudonyms in the order of the key."""
        query = (
            select(t.records.c.pseudonym)
            .where(t.records.c.pseudonym > after)
            .order_by(t.records.c.pseudonym)
            .limit(most)
        )
        with storage_errors():
            async with self._database.reads.connect() as connection:
                return list((await connection.execute(query)).scalars())

    async def swept(self, cursor: bytes, forget_before: int) -> None:
        """Note how far the sweeper came, and forget requests from before a day."""
        with storage_errors():
            async with self._database.writes.begin() as connection:
                await connection.execute(update(t.compartment).values(sweep_cursor=cursor))
                await changes.forget_requests(connection, forget_before)

    async def empty_log(self) -> None:
        """Empty SQLite's write-ahead log, which has pages as they were: also those of the erased.

        It goes as far as readers let it. PostgreSQL's is its administrator's.
        """
        if self._database.is_postgresql:
            return
        with storage_errors():
            async with self._database.reads.connect() as connection:
                await connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    async def add_key(self, key: KeyRow, check: CheckKey) -> None:
        """Write one more key, unless another process wrote that version first.

        `check` is given the key, all that are there, and the canary; what it raises is raised.
        """
        # Held until commit, so that wrapping all keys anew doesn't end in between.
        held = select(t.compartment.c.canary).with_for_update(read=True)
        with storage_errors():
            async with self._database.writes.begin() as connection:
                canary = (await connection.execute(held)).scalar() or ""
                rows = (await connection.execute(select(t.keyring))).all()
                check(key, [KeyRow(*row) for row in rows], canary)
                await changes.insert_if_absent(connection, t.keyring, **asdict(key))
