"""A process that is stopped in the midst of a write, with the lock that rotations wait for."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack

import pytest

from tests import rotating
from tests.database import rows
from tests.rotating import EVENT, check, person, register
from tests.served import serving_process
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service.rotation import Level
from vault.store import tables as t
from vault.store.jobs import KeysChangedError, Transaction

PEOPLE = [person(n) for n in range(1, 4)]


async def _hold(transaction: Transaction) -> None:
    await transaction.execute(t.records.select())


@pytest.mark.parametrize("rotated", [False, True], ids=["nothing happened", "keys were rotated"])
async def test_what_a_stopped_process_was_writing_is_written_anew_and_stops_nobody(
    postgres_url: str, login_as: Callable[[str], Transit], *, rotated: bool
) -> None:
    """Under keys that are still the right ones; else whoever planned it plans it anew."""
    async with AsyncExitStack() as stack:
        transit = login_as(worker("accounts"))
        one, stopped = [
            await stack.enter_async_context(serving_process(postgres_url, transit, 3600.0, 0.2))
            for _ in range(2)
        ]
        for served in (one, stopped):
            await served.establish()
        for who in PEOPLE:
            await register(one, who)
        holding, tries = asyncio.Event(), 0

        async def change(transaction: Transaction) -> None:
            nonlocal tries
            tries += 1
            await _hold(transaction)
            holding.set()
            if tries == 1:
                await asyncio.sleep(0.5)
            await _hold(transaction)

        write = asyncio.create_task(stopped.committer.change(change, lambda _: EVENT))
        await holding.wait()
        if rotated:
            await rotating.start(one, Level.KEK)  # waits for the lock, and gets it
            with pytest.raises(KeysChangedError):
                await write
            assert tries == 1
        else:
            await write
            assert tries == 2
        await rotating.finish(one)
        await check(stopped, PEOPLE)
        written = await rows(one.database, t.audit)
        assert len({(row.writer, row.sequence) for row in written}) == len(written)
