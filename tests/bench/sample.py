"""How a round is measured, and what is kept of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

Call = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: calls a second, and milliseconds that half and 99 % of the calls took at most."""

    rate: float
    p50: float
    p99: float


async def measure(call: Call, in_flight: int, seconds: float) -> Sample:
    """Keep `in_flight` calls under way for some seconds; whatever a call raises is raised."""
    took: list[float] = []
    begun = time.perf_counter()
    end = begun + seconds

    async def one_after_another() -> None:
        while (started := time.perf_counter()) < end:
            await call()
            took.append(time.perf_counter() - started)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(one_after_another())
    rate = len(took) / (time.perf_counter() - begun)
    took.sort()
    return Sample(rate, 1000 * percentile(took, 50), 1000 * percentile(took, 99))


def percentile(ordered: list[float], percent: int) -> float:
    """Return the value that `percent` of an ascending list don't exceed."""
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
