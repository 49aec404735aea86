"""Carrying rotations out: step by step, each durable, so that a process may end between any two.

A step is done again without harm, by another worker at the same time too: how far a rotation is
follows from the rows themselves, and its cursor only saves looking at them again.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping

from vault.errors import VaultError
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.rotation import Level
from vault.service.rotation_index import index
from vault.service.rotation_keys import epoch, kek, transit
from vault.service.rotation_records import data_keys, superseded
from vault.service.rotation_steps import Step, Steps, Work
from vault.store import rotations
from vault.store.jobs import KeysChangedError
from vault.store.rotations import RUNNING, RotationRow

log = logging.getLogger("piivault.keys")

_STEPS: Mapping[str, Steps] = {
    Level.TRANSIT: transit,
    Level.KEK: kek,
    Level.DATA_KEY: data_keys,
    Level.INDEX: index,
    Level.EPOCH: epoch,
    Level.SUPERSEDED: superseded,
}


async def carry_out(
    served: ServedCompartment, row: RotationRow, policy: Callable[[], PolicyState]
) -> AsyncIterator[Step]:
    """Carry a rotation out from where it stands; yield each step once it is durable.

    Raises VaultError where something has to be waited for.
    """
    left: RotationRow | None = row
    while left is not None and left.state == RUNNING:
        await served.look_at_keys()
        try:
            async for step in _STEPS[row.level](Work(served, policy, left)):
                yield step
            return
        except KeysChangedError:  # another rotation began or ended in between
            left = await rotations.rotation(served.database, row.id)


async def run(
    served: ServedCompartment, policy: Callable[[], PolicyState], rows_per_second: float
) -> None:
    """Carry out all rotations that run in a compartment, no faster than told.

    What one waits for is noted with it, and it goes on at the next call. Raises VaultError where
    not even that can be noted.
    """
    for row in await rotations.rotations(served.database):
        if row.state != RUNNING:
            continue
        if row.level not in _STEPS:
            log.error("%s: this release can't carry a rotation out: %r", served.name, row.level)
            continue
        began = time.monotonic()
        try:
            async for step in carry_out(served, row, policy):
                await asyncio.sleep(max(began + step.rows / rows_per_second - time.monotonic(), 0))
                began = time.monotonic()
        except VaultError as e:
            log.error("%s: rotating %s waits: %s", served.name, row.level, e)
            await rotations.note(served.database, row.id, e.message)
