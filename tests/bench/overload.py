"""Ten times as many callers as a worker is at its peak with: whether it still works, and in time.

More than a worker has places for, so that some are refused. A client on the same two cores can't
offer ten times the calls a second: it would be the client that is measured.
"""

import asyncio
import itertools
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from piivault import AsyncClient, errors

from tests.bench.clients import channel, requests, revealing, tls, written
from tests.bench.population import REVEALED, SMALL, reader, unissued
from tests.bench.reveal import PERSONS
from tests.bench.sample import Candidate, Progress
from vault.dev import Running

AT_LEAST = 0.8  # of the peak
DEADLINE = 2.0  # seconds a call
_PEAK_IN_FLIGHT = 64
CALLERS = 10 * _PEAK_IN_FLIGHT


@dataclass(slots=True)
class Overload:
    """Answers a second at the peak and under the load; what else became of calls there.

    `late` is how many seconds after its deadline a call ended, at worst.
    """

    peak: float
    goodput: float = 0.0
    refused: int = 0
    expired: int = 0
    lost: int = 0  # their connection
    late: float = 0.0

    @property
    def ratio(self) -> float:
        """Goodput, a share of the peak."""
        return self.goodput / self.peak


async def overload(running: Running, worker: str, seconds: float, progress: Progress) -> Overload:
    """Measure the peak, then the load: callers come back as the SDK does, each with a deadline."""
    identity = tls(running, reader(SMALL))
    pseudonyms = [written(unissued(SMALL, number)) for number in range(PERSONS)]
    async with AsyncExitStack() as stack:
        progress("the peak")
        bare = await stack.enter_async_context(channel(worker, identity))
        call = revealing(bare, requests(SMALL, pseudonyms))
        candidate = Candidate("Reveal", call, _PEAK_IN_FLIGHT)
        await candidate.measure(1)
        found = Overload((await candidate.measure(seconds)).rate)
        progress(f"{CALLERS:,} callers")
        client = AsyncClient(worker, tls=identity, timeout=DEADLINE, connections=4)
        accounts = (await stack.enter_async_context(client)).compartment(SMALL, purpose="service")
        turn, answered = itertools.cycle(pseudonyms), 0
        began = time.perf_counter()

        async def one_after_another() -> None:
            nonlocal answered
            while (started := time.perf_counter()) < began + seconds:
                try:
                    await accounts.reveal(next(turn), REVEALED)
                    answered += time.perf_counter() < began + seconds
                except errors.TooBusy:
                    found.refused += 1
                except errors.DeadlineExceeded:
                    found.expired += 1
                except errors.ConnectionFailed:
                    found.lost += 1
                found.late = max(found.late, time.perf_counter() - started - DEADLINE)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLERS):
                tasks.create_task(one_after_another())
        found.goodput = answered / seconds
        return found
