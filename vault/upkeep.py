"""What a process does besides answering: each keeps on until it is cancelled."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import SystemRandom
from typing import Protocol

from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.service.call import PolicyState
from vault.service.checkpoints import Checkpoints
from vault.service.compartment import ServedCompartment
from vault.service.control_checkpoints import ControlCheckpoints
from vault.service.editions import Editions
from vault.service.key_health import KeyHealth
from vault.service.ledger import ControlChainError
from vault.service.metrics import Metrics
from vault.service.rotation_run import run
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
        with _going_on("control chain"):
            await editions.refresh()
            ledger = editions.ledger
            if ledger.sequence > noted.sequence:  # read just now, or written by a first touch
                for served in compartments:
                    await served.lookups.saw_ledger(ledger.sequence, ledger.head)
                noted = ledger


class Writer(Protocol):
    """What has a trail that this process writes: a compartment, or the broker."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def committer(self) -> Committer[Event]:
        """The one writer of the trail here."""


async def tell_health(
    check: Callable[[], Awaitable[None]], tell: Callable[[bool], Awaitable[None]]
) -> None:
    """Have the health service say that we serve while `check` finds nothing against it."""
    told, said = None, ""
    while True:
        why = ""
        try:
            await check()
        except VaultError as e:
            why = e.message
        except Exception as e:
            why = f"{type(e).__name__}, which nobody foresaw; going on"
        if why and why != said:
            log.error("not ready: %s", why)
        elif said and not why:
            log.warning("ready again")
        said, ready = why, not why
        if ready is not told:
            await tell(ready)
            told = ready
        await asyncio.sleep(POLL)


async def check_ready(
    state: Callable[[], PolicyState],
    writers: Sequence[Writer],
    keys: Sequence[KeyHealth],
    metrics: Metrics,
) -> None:
    """Raise VaultError while no request could be answered.

    There is no edition to decide by while it can't be confirmed, or while it forbids what this
    process holds; nothing opens without keys; and where a trail can't be written, nothing is
    revealed.
    """
    for health in keys:
        health.check()  # before trails are tried, which need keys too
    for served in writers:
        if served.committer.failing:
            with suppress(VaultError):  # logged where it arose
                await served.committer.probe()
        metrics.writable(served.name, is_so=not served.committer.failing)
    state()
    if failing := [served.name for served in writers if served.committer.failing]:
        raise VaultError(
            Reason.AUDIT_UNAVAILABLE,
            f"The trail of {', '.join(failing)} can't be written: nothing is revealed there.",
        )


async def watch(watching: Watching, checkpoints: Covering) -> None:
    """Follow a trail, and raise alarms."""
    has_started = False
    while True:
        with _going_on("watching"):
            if not has_started:
                await watching.start()
                has_started = True
            await watching.look(checkpoints)
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
    with _going_on("metrics"):
        metrics.write(file)


async def follow_keys(served: ServedCompartment, interval: float) -> None:
    """Look at what the database says of the keys: the epoch, who is suspended, new versions."""
    while True:
        await asyncio.sleep(interval)
        with _going_on(f"the keys of {served.name}"):
            await served.look_at_keys()


async def look_at_key_health(health: KeyHealth, interval: float) -> None:
    """See whether keys can be used: one question to the key server a look, while it is away."""
    while True:
        with _going_on("looking at keys"):
            await health.look()
        await asyncio.sleep(interval * SystemRandom().uniform(0.8, 1.2))


async def rotate_often(
    served: ServedCompartment,
    state: Callable[[], PolicyState],
    interval: float,
    rows_per_second: float,
) -> None:
    """Carry out rotations that officers began, as soon as one begins or any was left."""
    while True:
        with suppress(TimeoutError):
            await asyncio.wait_for(served.rotation_wanted.wait(), interval)
        served.rotation_wanted.clear()
        with _going_on(f"rotations in {served.name}"):
            await run(served, state, rows_per_second)


async def sweep_often(
    served: ServedCompartment,
    state: Callable[[], PolicyState],
    interval: float,
    metrics: Metrics,
) -> None:
    """Erase what fell due, again and again, and count the requests that nobody finished."""
    while True:
        await asyncio.sleep(interval * SystemRandom().uniform(0.9, 1.1))
        with _going_on(f"sweeping {served.name}"):
            swept = await sweep(served, state)
            if swept.requests_overdue is not None:
                metrics.requests_overdue(served.name, swept.requests_overdue)


async def checkpoint_often(checkpoints: Checkpoints, interval: float) -> None:
    """Look at a trail again and again, and make a checkpoint when one is due."""
    while True:
        with _going_on(f"checkpoints of {checkpoints.name}"):
            await checkpoints.look()
        pause = min(TRAIL_POLL, interval)
        await asyncio.sleep(pause * SystemRandom().uniform(0.9, 1.1))


async def checkpoint_control(checkpoints: ControlCheckpoints, editions: Editions) -> None:
    """Ship how far the control chain went, whenever it went on."""
    while True:
        with _going_on("checkpoints of the control chain"):
            await checkpoints.look(editions.ledger.sequence, editions.ledger.head)
        await asyncio.sleep(TRAIL_POLL)


@contextmanager
def _going_on(what: str) -> Iterator[None]:
    """Log what goes wrong, and go on.

    Of an error that nobody foresaw, the class alone: its text may hold what was read.
    """
    try:
        yield
    except (VaultError, ControlChainError, OSError) as e:
        log.error("%s: %s", what, e)
    except Exception as e:
        log.error("%s: %s, which nobody foresaw; going on", what, type(e).__name__)
