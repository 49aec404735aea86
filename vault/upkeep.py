"""What a process does besides answering: each keeps on until it is cancelled."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence

from vault.errors import VaultError
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.ledger import ControlChainError
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


async def tell_health(
    state: Callable[[], PolicyState], tell: Callable[[bool], Awaitable[None]]
) -> None:
    """Have the health service say that we serve while there is an edition to decide by.

    There is none while it can't be confirmed, or while it forbids what this process holds.
    """
    told = None
    while True:
        try:
            state()
            ready = True
        except VaultError as e:
            ready = False
            if told is not False:
                log.error("not ready: %s", e.message)
        if ready is not told:
            await tell(ready)
            told = ready
        await asyncio.sleep(POLL)


async def sweep_often(
    served: ServedCompartment, state: Callable[[], PolicyState], interval: float
) -> None:
    """Erase what fell due, again and again."""
    while True:
        await asyncio.sleep(interval * random.uniform(0.9, 1.1))  # noqa: S311 -- spreads load
        try:
            await sweep(served, state)
        except VaultError as e:
            log.error("sweeping %s: %s", served.name, e)
