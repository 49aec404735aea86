"""What a process does besides answering: each keeps on until it is cancelled."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Sequence

from vault.errors import VaultError
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.ledger import ControlChainError
from vault.service.rotation_run import run
from vault.service.sweep import sweep

log = logging.getLogger("piivault.app")

POLL = 1.0  # seconds between looks at the control chain


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


async def follow_keys(served: ServedCompartment, interval: float) -> None:
    """Look at what the database says of the keys: the epoch, who is suspended, new versions."""
    while True:
        await asyncio.sleep(interval)
        try:
            await served.look_at_keys()
        except VaultError as e:
            log.error("the keys of %s: %s", served.name, e)


async def rotate_often(
    served: ServedCompartment, editions: Editions, interval: float, rows_per_second: float
) -> None:
    """Carry out rotations that officers began, as soon as one begins or any was left."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(served.rotation_wanted.wait(), interval)
        served.rotation_wanted.clear()
        try:
            await run(served, editions.state, rows_per_second)
        except VaultError as e:
            log.error("rotations in %s: %s", served.name, e)


async def sweep_often(served: ServedCompartment, editions: Editions, interval: float) -> None:
    """Erase what fell due, again and again."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 -- spreads load
        try:
            await sweep(served, editions.state)
        except VaultError as e:
            log.error("sweeping %s: %s", served.name, e)
