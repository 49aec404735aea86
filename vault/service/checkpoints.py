"""The auditor's checkpoints: what is new is verified, signed, stored and shipped.

A checkpoint goes as far as each chain holds. Where one doesn't, it stands still at the last event
that does, and the fault is reported until somebody looks at it; what other writers write goes on
being covered. Heads never go back: what was cut off stays on record.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from vault.audit.checkpoint import Base, Checkpoint, Noted
from vault.audit.faults import Fault
from vault.audit.signed import CheckpointError, Signed
from vault.service.covered import NOTHING, Covered
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.store.checkpoints import (
    CheckpointRow,
    add_checkpoint,
    checkpoints_from,
    last_checkpoint,
)
from vault.store.engine import Database

log = logging.getLogger("piivault.audit")

_DAY = 24 * 3600 * 1_000_000  # microseconds
_A_FEW = 20  # checkpoints at a time, where few are expected


def microseconds() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


@dataclass(frozen=True, slots=True)
class Pace:
    """When a checkpoint is due: after so many events, or if there are any, after so many seconds.

    `keep_days` is how long events are kept; None keeps them for ever.
    """

    events: int = 10_000
    interval: float = 60.0
    keep_days: int | None = None


class Checkpoints:
    """The checkpoints of one compartment, as one auditor makes them. Others may, too.

    `newest` is the last one; `faults` is what doesn't hold, as of the last look; `covered_at` is
    when no event waited for a checkpoint, last (microseconds since 1970; 0: never yet).
    """

    def __init__(
        self,
        name: str,
        uuid: bytes,
        database: Database,
        signer: Signer,
        shipping: Shipping,
        pace: Pace,
        clock: Callable[[], int] = microseconds,
    ) -> None:
        """`clock` returns microseconds since 1970."""
        self.name = name
        self.newest: Checkpoint | None = None
        self.faults: tuple[Fault, ...] = ()
        self.covered_at = 0
        self._uuid, self._database = uuid, database
        self._signer, self._shipping, self._pace, self._clock = signer, shipping, pace, clock
        self._begun = False
        self._broken: dict[bytes, Fault] = {}  # writers whose chains don't hold any more
        self._lost: Fault | None = None  # a checkpoint that was shipped, and isn't stored
        self._stuck: Fault | None = None  # a stored checkpoint that none may follow
        self._nameless: tuple[Fault, ...] = ()  # events that no chain can have
        self._waiting_since: int | None = None  # since when events wait for a checkpoint

    async def look(self, *, now: bool = False) -> None:
        """Ship what others made; make a checkpoint if one is due, or now if anything is new.

        Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE), OSError from shipping.
        """
        if not self._begun:
            await self._begin()
        await self._catch_up()
        stored = await self._ends()
        if not self._stuck and (now or self._is_due(stored)):
            await self._make(stored)
        alone = (fault for fault in (self._stuck, self._lost) if fault)
        gone = [fault async for fault in self._covered.gone(stored)]
        self._report((*alone, *self._broken.values(), *gone, *self._nameless))

    async def accept(self, faults: Collection[Noted]) -> Checkpoint:
        """Sign that somebody took note of faults; go on behind them, in chains that they name.

        They stay in the trail and on record, and count no more. Whatever else is wrong there is
        found by verification, covered or not. Raises CheckpointError if nothing can be signed,
        and what `look` raises.
        """
        if any(number < 0 for _, number, _ in faults):
            raise CheckpointError(
                "can't be made: there are events that no chain can have, and nobody can accept "
                "these. Have the tables' owner delete them, and verify again."
            )
        await self.look()
        if self._stuck or self.newest is None:
            raise CheckpointError(f"can't be made: {self._stuck or 'there is none to follow'}")
        self._broken.clear()
        await self._make(await self._ends(), faults)
        return self.newest

    # What was made before.

    async def _begin(self) -> None:
        """Go on from the last checkpoint that was shipped; else from the last that is stored."""
        shipped = await asyncio.to_thread(self._shipping.last, self._uuid)
        if shipped is not None:
            try:
                await self._signer.check(shipped)
                self.newest = Checkpoint.read(shipped.body)
            except CheckpointError as e:
                log.error("checkpoints of %s: the last one in the file %s", self.name, e)
        if self.newest is None and (last := await last_checkpoint(self._database)):
            await self._accept(last)
        self._begun = True

    async def _catch_up(self) -> None:
        """Take over what is stored since: by another auditor, or before a crash."""
        self._stuck = None
        if known := self.newest:
            rows = await checkpoints_from(self._database, known.number, 1)
            if not rows:
                what = "was shipped, and isn't stored: the trail was cut off, or it was restored"
                self._lost = Fault(f"checkpoint {known.number} {what}", sequence=known.number)
            elif rows[0].number == known.number and rows[0].body != known.body:
                self._stuck = Fault(f"checkpoint {known.number} isn't the one that was shipped")
        while not self._stuck:
            after = self.newest.number + 1 if self.newest else 0
            rows = await checkpoints_from(self._database, after)
            if not rows:
                break
            for row in rows:
                if not await self._accept(row):
                    return

    async def _accept(self, row: CheckpointRow) -> bool:
        """Go on from a stored checkpoint, once it is shipped, if it holds."""
        signed = Signed(row.body, row.signature)
        try:
            await self._signer.check(signed)
            found = Checkpoint.read(row.body)
        except CheckpointError as e:
            self._stuck = Fault(f"checkpoint {row.number} {e}")
            return False
        if found.compartment != self._uuid or found.number != row.number:
            self._stuck = Fault(f"checkpoint {row.number} is from somewhere else")
            return False
        if self.newest and (found.number, found.previous) != self._following:
            self._stuck = Fault(f"checkpoint {row.number} doesn't follow from the one before it")
            return False
        await asyncio.to_thread(self._shipping.ship, signed.line(self.name))
        self._forget(found)
        self.newest, self.covered_at = found, max(self.covered_at, found.at)
        return True

    def _forget(self, found: Checkpoint) -> None:
        """Report no more what somebody took note of, as this checkpoint says."""
        self._broken = {  # a head lies behind a break only where that was accepted
            writer: fault
            for writer, fault in self._broken.items()
            if found.heads.get(writer, NOTHING).sequence < fault.sequence
        }
        if any(not writer for writer, _, _ in found.accepted - self._covered.accepted):
            self._lost = None

    @property
    def _following(self) -> tuple[int, bytes]:
        assert self.newest is not None  # noqa: S101 -- asked where there is one
        return self.newest.number + 1, self.newest.hash

    # What is new.

    @property
    def _covered(self) -> Covered:
        return Covered(self._uuid, self._database, self.newest)

    async def _ends(self) -> Mapping[bytes, int]:
        """Return the last sequence of each chain; report what no chain can have."""
        ends, self._nameless = await self._covered.ends()
        return ends

    def _is_due(self, stored: Mapping[bytes, int]) -> bool:
        known = self._covered.heads
        new = sum(
            last - known.get(writer, NOTHING).sequence
            for writer, last in stored.items()
            if writer not in self._broken and last > known.get(writer, NOTHING).sequence
        )
        if not new:
            self._waiting_since, self.covered_at = None, self._clock()
            return False
        if self._waiting_since is None:
            self._waiting_since = self._clock()
        waited = (self._clock() - self._waiting_since) / 1_000_000
        return new >= self._pace.events or waited >= self._pace.interval

    async def _make(self, stored: Mapping[bytes, int], accepted: Collection[Noted] = ()) -> None:
        covered, named = self._covered, {writer for writer, _, _ in accepted}
        heads = dict(covered.heads)
        for writer, last in sorted(stored.items()):
            if writer in self._broken:
                continue
            head, fault = await covered.follow(writer, last, past_breaks=writer in named)
            if head:
                heads[writer] = head
            if fault:
                self._broken[writer] = fault
        if heads == covered.heads and not accepted:
            return
        if self.newest is None:
            checkpoint = Checkpoint.first(self._uuid, self._clock(), heads)
        else:
            checkpoint = self.newest.next(
                self._clock(), heads, await self._base(self.newest), accepted
            )
        Checkpoint.read(checkpoint.body)  # one that nobody can read would be the last
        signed = await self._signer.sign(checkpoint.body)
        row = CheckpointRow(checkpoint.number, signed.body, signed.signature)
        if not await add_checkpoint(self._database, row):
            log.info("checkpoint %d of %s: another auditor was first", row.number, self.name)
        await self._catch_up()  # ours, or the other's
        self._waiting_since = None

    async def _base(self, newest: Checkpoint) -> Base | None:
        """Return the checkpoint before whose heads all may go: the last one that is old enough."""
        base = newest.base
        if self._pace.keep_days is None:
            return base
        oldest_kept = self._clock() - self._pace.keep_days * _DAY
        while True:
            rows = await checkpoints_from(self._database, base.number + 1 if base else 0, _A_FEW)
            for row in rows:
                signed = Signed(row.body, row.signature)
                try:
                    await self._signer.check(signed)
                    if Checkpoint.read(row.body).at > oldest_kept:
                        return base
                except CheckpointError as e:
                    log.error("checkpoint %d of %s %s", row.number, self.name, e)
                    return base
                base = Base(row.number, signed.hash)
            if not rows:
                return base

    def _report(self, found: tuple[Fault, ...]) -> None:
        for fault in found:
            if fault not in self.faults:
                log.error("the trail of %s, %s", self.name, fault)
        self.faults = found
