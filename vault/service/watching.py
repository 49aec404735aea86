"""The auditor's watch over one compartment: its trail, its checkpoints and the control chain.

An alarm is a line in the log, a count, and a JSON line that is shipped as checkpoints are.
"""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Protocol

from vault.policy import WORKERS
from vault.service.editions import Editions
from vault.service.following import Follower
from vault.service.metrics import Metrics
from vault.service.reading import SECOND, ReadEvent, TrailReader
from vault.service.watch import Alarm, Thresholds, Watch

log = logging.getLogger("piivault.alarm")

MOST_FAULTS = 20  # of a trail at a time that have an alarm each; the log has all


class Covering(Protocol):
    """What checkpoints say of themselves."""

    @property
    def faults(self) -> Sequence[object]:
        """What doesn't hold, in words."""

    @property
    def covered_at(self) -> int:
        """When no event waited for a checkpoint, last; in microseconds, 0 if never yet."""


def microseconds() -> int:
    """Return the time in microseconds since 1970."""
    return time.time_ns() // 1000


class Watching:
    """Feeds the watch with what happens, and raises its alarms.

    `ship` appends a line where whoever holds the database doesn't reach; it blocks, and may raise
    OSError.
    """

    def __init__(
        self,
        name: str,
        reader: TrailReader,
        editions: Editions,
        thresholds: Thresholds,
        metrics: Metrics,
        ship: Callable[[str], None],
        clock: Callable[[], int] = microseconds,
    ) -> None:
        self.follower = Follower(reader, self._see, thresholds.window)
        self._name, self._uuid = name, reader.compartment
        self._editions, self._metrics, self._ship, self._clock = editions, metrics, ship, clock
        self._watch = Watch(name, thresholds, clock())
        self._touched = self._owners()
        self._raised: list[Alarm] = []  # not yet shipped

    async def start(self) -> None:
        """Look at the last window. Raises VaultError."""
        self._follow_policy()
        await self.follower.start(self._clock())

    async def look(self, checkpoints: Covering | None) -> None:
        """Look at what is new. Raises VaultError; OSError from `ship`, which is tried again."""
        self._follow_policy()
        if checkpoints is not None:
            self._watch.checkpointed(checkpoints.covered_at)
            # Each by itself, so that one which lasts doesn't hide what is broken after it.
            for what in map(str, checkpoints.faults[:MOST_FAULTS]):
                self._raise(self._watch.broken(what, self._clock(), what))
        try:
            await self.follower.look()
        finally:
            if checkpoints is not None:
                self._raise(self._watch.tick(self._clock()))
                age = self._watch.checkpoint_age(self._clock())
                self._metrics.checkpoint_age(self._name, age)
            await self._ship_all()

    def _see(self, events: Sequence[ReadEvent]) -> None:
        now = self._clock()
        for event in events:
            self._metrics.read(self._name, event.body.outcome, event.stands_for)
            self._raise(self._watch.see(event, now))

    def _follow_policy(self) -> None:
        now = self._clock()
        current = self._editions.ledger.in_force(datetime.fromtimestamp(now / SECOND, UTC))
        if current is not None:
            self._watch.edition(current.number, now)
        owners = self._owners()
        for owner in sorted(owners - self._touched):
            known = current.services.values() if current else ()
            names = [s.owner for s in known if s.owner_id == owner]
            self._raise(self._watch.touched(names[0] if names else owner, now))
        self._touched = owners

    def _owners(self) -> frozenset[str]:
        """Return the ids of the owners that touched the compartment."""
        touched = self._editions.ledger.touched
        here = {owner for owner, uuids in touched.items() if self._uuid in uuids}
        return frozenset(here - {WORKERS})

    def _raise(self, alarms: Iterable[Alarm]) -> None:
        for alarm in alarms:
            log.warning("%s in %s: %s", alarm.kind, alarm.compartment, alarm.sentence)
            self._metrics.alarmed(alarm.compartment, alarm.kind)
            self._raised.append(alarm)

    async def _ship_all(self) -> None:
        while self._raised:
            await asyncio.to_thread(self._ship, line(self._raised[0]))
            del self._raised[0]


def line(alarm: Alarm) -> str:
    """Write an alarm as a line of JSON."""
    said = asdict(alarm)
    said["at"] = datetime.fromtimestamp(alarm.at / SECOND, UTC).isoformat(timespec="milliseconds")
    return json.dumps({"alarm": str(said.pop("kind")), **said}, ensure_ascii=False)
