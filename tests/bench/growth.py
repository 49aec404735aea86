"""Ten thousand records against a million: throughput, the worker's memory, storage a record."""

import random
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tests.bench import plain
from tests.bench.clients import channel, requests, revealing, tls, written
from tests.bench.load import fill
from tests.bench.population import LARGE, SMALL, reader, unissued
from tests.bench.processes import Process, memory_of
from tests.bench.reveal import PERSONS
from tests.bench.sample import Candidate, Line, Progress, measure
from vault.dev import Running
from vault.store.engine import connect

MILLION = 1_000_000
_ASKED = 200_000  # different ones of the million
_IN_FLIGHT = 64
_OURS = ("records", "data_keys", "blind_index")


@dataclass(frozen=True, slots=True)
class Growth:
    """What a million records cost; bytes, and records a second when they were loaded."""

    line: Line
    memory: int
    stored: float
    plain: float
    loaded: float


def load(running: Running, progress: Progress) -> float:
    """Fill the large compartment; return records a second."""
    began = time.perf_counter()
    fill(running, LARGE, MILLION, lambda span: [unissued(LARGE, n) for n in span], progress)
    return MILLION / (time.perf_counter() - began)


async def grow(
    running: Running, worker: Process, loaded: float, seconds: float, progress: Progress
) -> Growth:
    """Measure both compartments of one worker in turn, and weigh what is stored."""
    progress("copying a million plaintext rows")
    database = connect(running.owner_urls[LARGE])
    await plain.fill(database, (unissued(LARGE, number) for number in range(MILLION)))
    stored, clear = await plain.bytes_of(database, *_OURS), await plain.size(database)
    await database.close()
    async with AsyncExitStack() as stack:

        async def revealed(compartment: str, name: str, numbers: Sequence[int]) -> Candidate:
            identity = tls(running, reader(compartment))
            connection = await stack.enter_async_context(channel(worker.address, identity))
            pseudonyms = [written(unissued(compartment, number)) for number in numbers]
            asked = requests(compartment, pseudonyms)
            return Candidate(name, revealing(connection, asked), _IN_FLIGHT)

        few = random.sample(range(PERSONS), PERSONS)
        many = random.sample(range(MILLION), _ASKED)
        small = await revealed(SMALL, f"Reveal, {PERSONS:,} records", few)
        large = await revealed(LARGE, f"Reveal, {MILLION:,} records", many)
        line = Line(large, small, at_least=0.9)
        await measure([line], seconds, progress)
    each = 1 / MILLION
    return Growth(line, memory_of(worker.pid), stored * each, clear * each, loaded)
