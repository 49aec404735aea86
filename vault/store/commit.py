"""Group commit: one writer a compartment and process, many events a transaction.

Whatever is to be durable in a compartment passes here: events of reads, and changes with
their events. The committer takes all that waits, carries it out in one transaction, appends
the events to the trail's chain in the same order, and only then answers. So the trail has no
gaps, a change never stands without its event, and an fsync is shared by many.

A change that is refused (a stale row, a value taken) is undone alone and leaves an event that says
so (`together` has how); the rest of the batch stands. What can be taken back is, where whoever
waits for it leaves before its turn: nobody would have what the event says.

A change that was planned under another epoch of the compartment's keys isn't carried out and leaves
no event: whoever planned it plans it again. The row that has the epoch is locked until commit, by
changes in common and by what alters keys alone, so nothing is written under a key that is leaving.
"""

import asyncio
import os
from collections.abc import Callable, Sequence
from itertools import islice
from operator import attrgetter
from secrets import SystemRandom
from typing import Any, Generic, Protocol, TypeVar

from sqlalchemy import insert, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.company import Company, fitting
from vault.errors import Reason, VaultError, returned
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.hot import HotConnection, HotTransaction
from vault.store.jobs import Change, Job, KeysChangedError, describe_each
from vault.store.together import carry_out

MOST_A_BATCH = 256
_ROLLED_BACK = {"40001", "40P01"}  # SQLSTATE: serialization failure, deadlock
_MOST_TRIES = 5
_PAUSE = 0.05  # seconds after the first try, at most; after each that follows, so much more

# Where there are events alone, it is a transaction of its own.
_HOT = """
    INSERT INTO audit (writer, sequence, previous, token, sealed)
    SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[])
"""
_COLUMNS = ("writer", "sequence", "previous", "token", "sealed")

# The row that has the epoch, alone or in common: written once, which costs as much as to send it.
_HELD = {
    alone: select(t.compartment.c.epoch).with_for_update(read=not alone) for alone in (False, True)
}

E = TypeVar("E")
E_contra = TypeVar("E_contra", contravariant=True)
T = TypeVar("T")


class Trail(Protocol[E_contra]):
    """A hash chain as the committer needs it; `audit.chain` is the one there is."""

    async def ready(self) -> None:
        """Have at hand whatever `extend` needs, before a transaction is open."""

    def extend(self, events: Sequence[E_contra]) -> Sequence[dict[str, object]]:
        """Return the rows that append these events."""

    def settle(self) -> None:
        """The rows are durable: go on from them."""

    def abandon(self) -> None:
        """Nobody knows whether the rows are durable: begin the chain of a new writer."""


def _nobody(events: Sequence[object]) -> None:
    """Tell nobody."""


class Committer(Generic[E]):
    """The one writer of this process in one compartment.

    `failing` from a batch that couldn't be written until one could, or `probe` says so. `tell`
    is told of the events that became durable.
    """

    def __init__(
        self,
        database: Database,
        trail: Trail[E],
        epoch: Callable[[], int],
        tell: Callable[[Sequence[E]], None] = _nobody,
    ) -> None:
        self._database = database
        self._hot = HotConnection(database.writes) if database.is_postgresql else None
        self._company = Company()
        self._trail = trail
        self._epoch = epoch
        self._tell = tell
        self.failing = False
        self._waiting: dict[Job[E], None] = {}  # in the order of their coming
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._committing = False  # whether the commit of this batch was asked for

    async def record(self, event: E, taken_back: Callable[[], None] | None = None) -> None:
        """Return once the event is durable. Raises VaultError(AUDIT_UNAVAILABLE).

        With `taken_back`, a caller that leaves before the event's turn takes it along, and that is
        called.
        """
        await self.record_all((event,), taken_back)

    async def record_all(
        self, events: Sequence[E], taken_back: Callable[[], None] | None = None
    ) -> None:
        """Return once all of these events are durable, or none is. Otherwise like `record`."""
        if events:
            await self._submit(Job((), lambda _: events, len(events), taken_back=taken_back))

    async def change(
        self,
        change: Change[T],
        describe: Callable[[T | VaultError], E],
        epoch: int | None = None,
        taken_back: Callable[[], None] | None = None,
    ) -> T:
        """Carry out a change with its event; return what it returns, once both are durable.

        `change` raises VaultError to refuse: it is undone, and its event stands. `describe`
        makes the event from what was returned or raised. `epoch` is the one that the change was
        planned in, which is the present one by default; `taken_back` is as for `record`. Raises
        that VaultError, KeysChangedError where the epoch is over, or VaultError(
        STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE).
        """
        planned = self._epoch() if epoch is None else epoch
        outcomes = await self.change_all((change,), (describe,), planned, taken_back)
        return returned(outcomes[0])

    async def change_all(
        self,
        changes: Sequence[Change[T]],
        describe: Sequence[Callable[[T | VaultError], E]],
        epoch: int,
        taken_back: Callable[[], None] | None = None,
    ) -> Sequence[T | VaultError]:
        """Carry out changes, each with its event; return what each returned, or its VaultError.

        They are durable together, those that were refused undone. Otherwise like `change`.
        """
        job: Job[E] = Job(changes, describe_each(describe), len(changes), epoch, taken_back)
        return await self._submit(job) if changes else ()

    async def alter(self, change: Change[T], describe: Callable[[T | VaultError], E]) -> T:
        """Carry out a change of the keys themselves, in whatever epoch it is.

        While it runs, no process changes anything in the compartment. Otherwise like `change`.
        """
        outcomes: Sequence[T | VaultError]
        outcomes = await self._submit(Job((change,), describe_each((describe,))))
        return returned(outcomes[0])

    async def probe(self) -> None:
        """See whether an event could be written, and write none. Raises VaultError."""
        await self._trail.ready()
        event = {c.name: 0 if c is t.audit.c.sequence else os.urandom(16) for c in t.audit.c}
        with storage_errors():
            async with self._database.writes.connect() as connection:
                await connection.execute(insert(t.audit).values(event))
                await connection.rollback()
        self.failing = False

    async def close(self) -> None:
        """Finish what waits, then stop; what comes later is refused as unavailable."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await self._task
        if self._hot is not None:
            await self._hot.close()

    async def _submit(self, job: Job[E]) -> Sequence[Any]:
        if self._closing:
            stopping = VaultError(Reason.STORAGE_UNAVAILABLE, "This process is stopping. Retry.")
            raise job.failure(stopping)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        # Asking for the running loop asks the kernel for the process's id, before Python 3.12.
        job.done = self._task.get_loop().create_future()
        self._waiting[job] = None
        self._wake.set()
        try:
            # A caller that leaves cancels its own wait, never the batch that others are in.
            return await job.done
        finally:
            if job.done.cancelled() and job.taken_back and job in self._waiting:
                del self._waiting[job]
                job.taken_back()

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            await self._wake.wait()
            largest = max((job.size for job in self._waiting), default=0)
            await self._company.gather(self._waiting, MOST_A_BATCH, largest)
            batch = self._next()
            if not self._waiting and not self._closing:
                self._wake.clear()
            if batch:
                await self._settle(batch)

    def _next(self) -> Sequence[Job[E]]:
        """Take jobs out of the queue, as many as a batch has room for."""
        batch = fitting(self._waiting, attrgetter("size"), MOST_A_BATCH)
        for job in batch:
            del self._waiting[job]
        return batch

    async def _settle(self, batch: Sequence[Job[E]]) -> None:
        try:
            events = await self._commit_or_retry(batch)
        except Exception as e:  # whatever it is, whoever waits must hear of it
            self.failing = True
            self._trail.abandon()
            for job in batch:
                job.answer(job.failure(e))
        else:
            self._trail.settle()
            self.failing = False
            for job in batch:
                job.answer(job.outcomes)
            self._tell(events)

    async def _commit_or_retry(self, batch: Sequence[Job[E]]) -> Sequence[E]:
        """Commit; again where nothing of a try stands, which makes the next as good.

        PostgreSQL chose it to resolve a deadlock: two processes that take unique values in opposite
        order meet in one. On a busy machine whoever begins anew at once can take what it had before
        the other is awake, and meets it again: hence a pause. Or the connection was lost before a
        commit was asked for: PostgreSQL ends the transaction of a process that was stopped, so that
        its locks stop nobody else.
        """
        with storage_errors():
            for tries in range(1, _MOST_TRIES):
                try:
                    return await self._commit(batch)
                except DBAPIError as e:
                    lost = e.connection_invalidated and not self._committing
                    if not lost and getattr(e.orig, "sqlstate", None) not in _ROLLED_BACK:
                        raise
                await asyncio.sleep(SystemRandom().uniform(0, tries * _PAUSE))
            return await self._commit(batch)

    async def _commit(self, batch: Sequence[Job[E]]) -> Sequence[E]:
        self._committing = False
        await self._trail.ready()
        events: list[E] = []
        changing = [job for job in batch if job.changes]
        if self._hot is not None and not changing:
            events = [event for job in batch for event in job.describe(())]
            await self._hot.fetch(_HOT, *_columns(self._trail.extend(events)))
            return events
        async with self._database.writes.begin() as connection:
            epoch = await _hold_epoch(connection, changing) if changing else None
            kept = [job for job in batch if job.epoch in (None, epoch)]
            for job in batch:
                if job.epoch not in (None, epoch):
                    job.outcomes = KeysChangedError()  # and no more than that
            changes = [change for job in kept for change in job.changes]
            outcomes = iter(await carry_out(connection, changes))
            for job in kept:
                job.outcomes = list(islice(outcomes, len(job.changes)))
                events += job.describe(job.outcomes)
            if events:
                await _append(connection, self._trail.extend(events))
            self._committing = True
        return events


async def _hold_epoch(connection: AsyncConnection, changes: Sequence[Job[Any]]) -> int:
    # Held until commit. Whoever alters keys has the row alone from the start: if two held it in
    # common first and then wanted it alone, they would wait for each other.
    alters = any(job.epoch is None for job in changes)
    epoch: int = (await connection.execute(_HELD[alters])).scalar_one()
    return epoch


async def _append(connection: AsyncConnection, rows: Sequence[dict[str, object]]) -> None:
    if connection.dialect.name == "postgresql":
        await (await HotTransaction.of(connection)).fetch(_HOT, *_columns(rows))
    else:
        await connection.execute(insert(t.audit), list(rows))


def _columns(rows: Sequence[dict[str, object]]) -> tuple[list[object], ...]:
    return tuple([row[name] for row in rows] for name in _COLUMNS)
