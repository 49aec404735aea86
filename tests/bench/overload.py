"""More callers than a worker can answer: whether it still works, and in time.

Ten times as many as it is at its peak with, and ten times as many as it has places. Each has a
deadline, and comes back as it is told to. They are in a process of their own, which shares the
cores with the server, and may be what gives out. So they call the bare echo, too, which answers
all of them at once: what is lost there isn't lost by the worker.
"""

import asyncio
import itertools
import multiprocessing
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import uvloop
from piivault import TLS, AsyncClient, errors
from piivault.v1 import record_service_pb2_grpc as pb_grpc

from tests.bench.clients import channel, requests, revealing, tls, written
from tests.bench.population import REVEALED, SMALL, reader, unissued
from tests.bench.processes import Process, answered, echo, log_size, processor_time
from tests.bench.reveal import PERSONS
from tests.bench.sample import Candidate, Progress
from vault.dev import Running
from vault.service.places import MOST_CALLS

AT_LEAST = 0.8  # of the peak
DEADLINE = 2.0  # seconds a call
_PEAK_IN_FLIGHT = 64
CALLERS = (10 * _PEAK_IN_FLIGHT, 10 * MOST_CALLS)


@dataclass(slots=True)
class Calls:
    """What became of calls. `late` is how many seconds after its deadline one ended, at worst."""

    answered: int = 0  # in the time of the measurement
    refused: int = 0
    expired: int = 0
    lost: int = 0  # their connection
    late: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """So many callers at once, and what was answered a second; `peak` is what is at 64 in flight.

    `served` is what the server itself says that it answered, a second, by reason; `cores` is how
    many of them it, the thread of its loop (the others are gRPC's) and the callers kept busy.
    """

    server: str
    callers: int
    peak: float
    goodput: float
    calls: Calls
    served: Mapping[str, float]
    cores: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Goodput, a share of the peak."""
        return self.goodput / self.peak


async def overload(
    running: Running, worker: Process, seconds: float, progress: Progress
) -> list[Load]:
    """Measure each server's peak, then the loads."""
    identity = tls(running, reader(SMALL))
    pseudonyms = [written(unissued(SMALL, number)) for number in range(PERSONS)]
    async with channel(worker.address, identity) as bare:
        stub = pb_grpc.RecordServiceStub(bare)
        answer = await stub.Reveal(next(requests(SMALL, pseudonyms)))
    found: list[Load] = []
    with echo(running, answer) as echoing:
        for name, server in (("worker", worker), ("echo", echoing)):
            progress(f"the peak of the {name}")
            async with channel(server.address, identity) as bare:
                call = revealing(bare, requests(SMALL, pseudonyms))
                candidate = Candidate("Reveal", call, _PEAK_IN_FLIGHT)
                await candidate.measure(1)
                peak = (await candidate.measure(seconds)).rate
            for callers in CALLERS:
                progress(f"{callers:,} callers of the {name}")
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    asked = (name, server, peak, identity, pseudonyms, callers, seconds)
                    loading = asyncio.get_running_loop().run_in_executor(pool, _load, *asked)
                    found.append(await loading)
    return found


@dataclass(frozen=True, slots=True)
class _Moment:
    """How far both are: bytes of the server's log, and seconds of processor time."""

    log: int
    server: float
    loop: float
    callers: float


def _now(server: Process) -> _Moment:
    used = processor_time(server.pid), processor_time(server.pid, first_thread=True)
    return _Moment(log_size(server), *used, time.process_time())


def _load(
    name: str,
    server: Process,
    peak: float,
    identity: TLS,
    pseudonyms: Sequence[str],
    callers: int,
    seconds: float,
) -> Load:
    """Call from this process."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        calling = _calling(server, identity, pseudonyms, callers, seconds)
        calls, began, ended = runner.run(calling)
    cores = {
        name: (ended.server - began.server) / seconds,
        "its loop": (ended.loop - began.loop) / seconds,
        "callers": (ended.callers - began.callers) / seconds,
    }
    counts = answered(server, began.log, ended.log)
    served = {reason: count / seconds for reason, count in counts.items()}
    return Load(name, callers, peak, calls.answered / seconds, calls, served, cores)


async def _calling(
    server: Process, identity: TLS, pseudonyms: Sequence[str], callers: int, seconds: float
) -> tuple[Calls, _Moment, _Moment]:
    calls, turn = Calls(), itertools.cycle(pseudonyms)
    async with AsyncClient(server.address, tls=identity, timeout=DEADLINE, connections=4) as client:
        accounts = client.compartment(SMALL, purpose="service")
        began, end = _now(server), time.perf_counter() + seconds

        async def one_after_another() -> None:
            while (started := time.perf_counter()) < end:
                wait = 0.0
                try:
                    await accounts.reveal(next(turn), REVEALED)
                    calls.answered += time.perf_counter() < end
                except errors.TooBusy as e:
                    calls.refused += 1
                    wait = e.retry_after or 0.0
                except errors.DeadlineExceeded:
                    calls.expired += 1
                except errors.ConnectionFailed:
                    calls.lost += 1
                calls.late = max(calls.late, time.perf_counter() - started - DEADLINE)
                await asyncio.sleep(wait)

        async def until_the_end() -> _Moment:
            await asyncio.sleep(end - time.perf_counter())
            return _now(server)

        async with asyncio.TaskGroup() as tasks:
            ending = tasks.create_task(until_the_end())
            for _ in range(callers):
                tasks.create_task(one_after_another())
    return calls, began, ending.result()
