"""What a process does besides answering: each keeps on until it is cancelled."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

from vault.audit.event import Event
from vault.errors import VaultError
from vault.service.checkpoints import Checkpoints
from vault.service.compartment import ServedCompartment
from vault.service.control_checkpoints import ControlCheckpoints
from vault.service.editions import Editions
from vault.service.ledger import ControlChainError
from vault.service.metrics import Metrics
from vault.service.sweep import sweep
from vault.service.watching import Covering, Watching
from vault.store.commit import Committer

log = logging.getLogger("piivault.app")

POLL = 1.0  # seconds between looks at the control chain
TRAIL_POLL = 2.0  # seconds between an auditor's looks at a trail, at most


async def follow(editions: Editions, compartments: Sequence[ServedCompartment]) -> None:
    """Keep to the control chain, and note in each database how far it was seen."""
    noted = editions.ledger
    while True:
        await asyncio.sleep(POLL)
        try:
            await editions.refresh()
            ledger = editions.ledger
            if ledger.sequence > noted.sequence:  # read just now, or written by a first touch
                for served in compartments:
                    await served.lookups.saw_ledger(ledger.sequence, ledger.head)
                noted = ledger
        except (VaultError, ControlChainError) as e:
            log.error("control chain: %s", e)


class Writer(Protocol):
    """What has a trail that this process writes: a compartment, or the broker."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def committer(self) -> Committer[Event]:
        """The one writer of the trail here."""


async def keep_ready(
    writers: Sequence[Writer],
    tell: Callable[[bool], Awaitable[None]],
    metrics: Metrics,
) -> None:
    """Say that we aren't ready while a trail can't be written: nothing could be answered."""
    was_ready = True
    while True:
        for served in writers:
            if served.committer.failing:
                with contextlib.suppress(VaultError):  # logged where it arose
                    await served.committer.probe()
            metrics.writable(served.name, is_so=not served.committer.failing)
        ready = not any(served.committer.failing for served in writers)
        if ready is not was_ready:
            log.log(*((logging.INFO, "ready again") if ready else (logging.ERROR, "not ready")))
            await tell(ready)
            was_ready = ready
        await asyncio.sleep(POLL)


async def watch(watching: Watching, checkpoints: Covering) -> None:
    """Follow a trail, and raise alarms."""
    has_started = False
    while True:
        try:
            if not has_started:
                await watching.start()
                has_started = True
            await watching.look(checkpoints)
        except (VaultError, OSError) as e:
            log.error("watching: %s", e)
        await asyncio.sleep(POLL)


async def write_metrics(metrics: Metrics, file: Path, interval: float) -> None:
    """Write the counts again and again, and once more at the end."""
    try:
        while True:
            _write(metrics, file)
            await asyncio.sleep(interval)
    finally:
        _write(metrics, file)


def _write(metrics: Metrics, file: Path) -> None:
    try:
        metrics.write(file)
    except OSError as e:
        log.error("metrics: %s", e)


async def sweep_often(served: ServedCompartment, editions: Editions, interval: float) -> None:
    """Erase what fell due, again and again."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 -- spreads load
        try:
            await sweep(served, editions.state)
        except VaultError as e:
            log.error("sweeping %s: %s", served.name, e)


async def checkpoint_often(checkpoints: Checkpoints, interval: float) -> None:
    """Look at a trail again and again, and make a checkpoint when one is due."""
    while True:
        try:
            await checkpoints.look()
        except (VaultError, OSError) as e:
            log.error("checkpoints of %s: %s", checkpoints.name, e)
        pause = min(TRAIL_POLL, interval)
        await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311 -- spreads load


async def checkpoint_control(checkpoints: ControlCheckpoints, editions: Editions) -> None:
    """Ship how far the control chain went, whenever it went on."""
    while True:
        try:
            await checkpoints.look(editions.ledger.sequence, editions.ledger.head)
        except (VaultError, OSError) as e:
            log.error("checkpoints of the control chain: %s", e)
        await asyncio.sleep(TRAIL_POLL)
