"""How a round is measured, what is kept of it, and how one thing is held against another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from statistics import median

Call = Callable[[], Awaitable[object]]
Progress = Callable[[str], None]

ROUNDS = 5
_WARM_UP = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Sample:
    """One round: units a second, and milliseconds that half and 99 % of the calls took at most."""

    rate: float
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is measured: so many calls under way; `units` is what one of them counts for."""

    name: str
    call: Call
    in_flight: int
    units: int = 1

    async def measure(self, seconds: float) -> Sample:
        """Keep calls under way for some seconds; whatever a call raises is raised."""
        took: list[float] = []
        begun = time.perf_counter()
        end = begun + seconds

        async def one_after_another() -> None:
            while (started := time.perf_counter()) < end:
                await self.call()
                took.append(time.perf_counter() - started)

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.in_flight):
                tasks.create_task(one_after_another())
        rate = self.units * len(took) / (time.perf_counter() - begun)
        took.sort()
        return Sample(rate, 1000 * percentile(took, 50), 1000 * percentile(took, 99))


@dataclass(slots=True)
class Line:
    """A candidate against another, a sample of each a round, in turn.

    `at_least` is what their throughput's ratio should be, `p99_at_most` that of their p99.
    """

    own: Candidate
    base: Candidate
    at_least: float | None = None
    p99_at_most: float | None = None
    rounds: list[tuple[Sample, Sample]] = field(default_factory=list)  # own, base

    async def round(self, seconds: float) -> None:
        """Measure both once, for so many seconds together; the base goes first, as last time."""
        base = await self.base.measure(seconds / 2)
        self.rounds.append((await self.own.measure(seconds / 2), base))

    def ratio(self, of: str = "rate") -> float:
        """Return the median of the rounds' own ratios of `rate`, `p50` or `p99`."""
        pairs = ((_figure(own, of), _figure(base, of)) for own, base in self.rounds)
        return median(own / base for own, base in pairs)

    def median(self, of: str, *, base: bool = False) -> float:
        """Return the median over the rounds of `rate`, `p50` or `p99`."""
        return median(_figure(pair[base], of) for pair in self.rounds)


async def measure(lines: Iterable[Line], seconds: float, progress: Progress) -> None:
    """Measure all lines for so many seconds together, round by round."""
    lines = list(lines)
    for candidate in {c.name: c for line in lines for c in (line.base, line.own)}.values():
        await candidate.measure(_WARM_UP)
    for turn in range(1, ROUNDS + 1):
        for line in lines:
            progress(f"round {turn} of {ROUNDS}: {line.own.name} against {line.base.name}")
            await line.round(seconds / ROUNDS / len(lines))


def _figure(sample: Sample, of: str) -> float:
    return {"rate": sample.rate, "p50": sample.p50, "p99": sample.p99}[of]


def percentile(ordered: list[float], percent: int) -> float:
    """Return the value that `percent` of an ascending list don't exceed."""
    return ordered[min(len(ordered) * percent // 100, len(ordered) - 1)]
