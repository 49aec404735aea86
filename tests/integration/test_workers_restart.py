"""Real workers under the SDK's load: restarted in turn, killed, left behind by their supervisor."""

import asyncio
import os
import re
import signal
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import piivault
import pytest

from tests.command import COMMAND
from tests.people import Registered
from tests.split import SplitHouse
from tests.wire import wait_for
from vault.dev.child import Child
from vault.dev.layout import Layout

WORKERS = 2
CONNECTIONS = "4"
CALLERS = 4  # of each kind: reveals and puts, by Client and by AsyncClient


class Workers:
    """`piivault serve --workers` for accounts, beside the house's own worker."""

    def __init__(self, house: SplitHouse, name: str) -> None:
        self.house = house
        self.name = name
        layout, template = Layout(house.state), house.running.servers["worker-accounts"]
        self.address = f"127.0.0.1:{layout.port(name)}"
        self.metrics = layout.path("data", f"{name}.prom")
        text = template.config.read_text(encoding="utf-8").replace(template.address, self.address)
        self.config = layout.path(f"{name}.toml")
        measured = f'[metrics]\nfile = "{self.metrics}"\ninterval = 0.1\n'
        self.config.write_text(f"{text}\n{measured}", encoding="utf-8")
        self._child = Child(layout, name, [signal.SIGTERM])

    def start(self) -> None:
        self._child.start(self.command(WORKERS))
        self._child.wait_until(lambda: self.log.count(": serving worker") == WORKERS)

    def command(self, workers: int) -> list[str | Path]:
        several = ["--workers", str(workers)] if workers else []
        return [COMMAND, "serve", "--config", self.config, *several]

    def stop(self) -> None:
        self._child.stop()

    @property
    def log(self) -> str:
        return self._child.log.read_text(encoding="utf-8")

    @property
    def pids(self) -> list[int]:
        """Those of the workers that live, in the order in which they were started."""
        started = re.findall(r"worker \d+ is process (\d+)", self.log)
        return [int(pid) for pid in started if _lives(int(pid))]

    def signal(self, number: signal.Signals) -> None:
        assert self._child.pid is not None
        os.kill(self._child.pid, number)

    def environment(self, service: str) -> dict[str, str]:
        """Return how a service finds these workers, and the house's broker."""
        here = {"PIIVAULT_ADDRESS": self.address, "PIIVAULT_CONNECTIONS": CONNECTIONS}
        accounts = {"PIIVAULT_COMPARTMENT_ACCOUNTS_ADDRESS": self.address}
        return {**self.house.environment(service), **here, **accounts}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def workers(split_house: SplitHouse) -> Iterator[Workers]:
    several = Workers(split_house, "workers")
    try:
        several.start()
        yield several
    finally:
        several.stop()


@dataclass(slots=True)
class Load:
    """What became of the calls."""

    answered: int = 0
    failures: list[str] = field(default_factory=list)

    def failed(self, error: Exception) -> None:
        self.failures.append(f"{type(error).__name__}: {error}")


@contextmanager
def _loaded(workers: Workers) -> Iterator[Load]:
    """Keep calls under way from both clients; all have been answered when the context ends."""
    load, stop = Load(), threading.Event()
    person, *writers = (workers.house.register() for _ in range(1 + 2 * CALLERS))
    tasks = _by_tasks(workers, person, writers[CALLERS:], load, stop)
    threads = [threading.Thread(target=asyncio.run, args=(tasks,))]
    with (
        piivault.Client.from_env(workers.environment("orders")) as orders,
        piivault.Client.from_env(workers.environment("portal")) as portal,
    ):
        accounts = orders.compartment("accounts", purpose="services")
        for writer in writers[:CALLERS]:
            subject = portal.subject(writer.root)
            calls = (
                partial(accounts.reveal, person.pseudonym, ["phone"]),
                partial(subject.put, "accounts", {"city": "Ош"}),
            )
            threads += [threading.Thread(target=_again, args=(c, load, stop)) for c in calls]
        for thread in threads:
            thread.start()
        try:
            wait_for(lambda: load.answered > 100)
            yield load
            enough = load.answered + 100
            wait_for(lambda: load.answered > enough)
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _again(call: Callable[[], object], load: Load, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            call()
            load.answered += 1
        except Exception as e:
            load.failed(e)


async def _by_tasks(
    workers: Workers,
    person: Registered,
    writers: Sequence[Registered],
    load: Load,
    stop: threading.Event,
) -> None:
    async with (
        piivault.AsyncClient.from_env(workers.environment("orders")) as orders,
        piivault.AsyncClient.from_env(workers.environment("portal")) as portal,
    ):
        accounts = orders.compartment("accounts", purpose="services")

        async def again(call: Callable[[], Awaitable[object]]) -> None:
            while not stop.is_set():
                try:
                    await call()
                    load.answered += 1
                except Exception as e:
                    load.failed(e)

        async with asyncio.TaskGroup() as tasks:
            for writer in writers:
                subject = portal.subject(writer.root)
                tasks.create_task(again(partial(accounts.reveal, person.pseudonym, ["phone"])))
                tasks.create_task(again(partial(subject.put, "accounts", {"city": "Ош"})))


def test_a_rolling_restart_under_load_fails_no_call(workers: Workers) -> None:
    """Every worker is another process afterwards; there were never fewer than before."""
    before = workers.pids
    with _loaded(workers) as load:
        for turn in (1, 2):
            workers.signal(signal.SIGHUP)
            _until(workers, "all workers are new", turn)
    assert load.failures == []
    assert len(workers.pids) == WORKERS
    assert not set(before) & set(workers.pids)


def _until(workers: Workers, said: str, times: int) -> None:
    wait_for(lambda: workers.log.count(said) == times)


def test_a_killed_worker_is_replaced_and_its_calls_are_tried_again(workers: Workers) -> None:
    """What was under way on it is sent once more, to another: writes too, by their request ids."""
    with _loaded(workers) as load:
        for _ in range(3):
            killed, serving = workers.pids[0], workers.log.count(": serving worker")
            os.kill(killed, signal.SIGKILL)
            _until(workers, f"({killed}) was killed by SIGKILL: another follows", 1)
            _until(workers, ": serving worker", serving + 1)
    assert load.failures == []
    assert len(workers.pids) == WORKERS
    assert workers.house.trail("accounts").breaks == ()


@pytest.mark.parametrize(("others", "said"), [(0, "can't listen on"), (1, "can't have")])
def test_no_other_server_gets_a_share_of_the_port(workers: Workers, others: int, said: str) -> None:
    """Neither one that serves alone, nor another with workers."""
    ended = subprocess.run(workers.command(others), capture_output=True, text=True, timeout=30)
    assert ended.returncode == 1
    assert f"piivault: server: {said} {workers.address}" in ended.stderr


def test_each_worker_counts_for_itself(workers: Workers) -> None:
    """In a file of its own and with a label, its memory too; who is gone leaves none."""
    with _loaded(workers):
        pass
    files = sorted(workers.metrics.parent.glob("workers.*.prom"))
    assert len(files) == WORKERS
    for file in files:
        number, text = file.name.split(".")[1], file.read_text(encoding="utf-8")
        samples = [line for line in text.splitlines() if not line.startswith("#")]
        assert all(f'worker="{number}"' in line for line in samples)
        assert any(line.startswith("piivault_process_resident_memory_bytes") for line in samples)


def test_who_loses_their_supervisor_leaves(split_house: SplitHouse) -> None:
    """It was killed: nobody would replace them, or keep the port from others."""
    several = Workers(split_house, "orphans")
    several.start()
    pids = several.pids
    several.signal(signal.SIGKILL)
    wait_for(lambda: not any(_lives(pid) for pid in pids))
    several.stop()


def test_all_of_them_end_in_order(split_house: SplitHouse) -> None:
    several = Workers(split_house, "ending")
    several.start()
    pids = several.pids
    several.stop()
    assert not any(_lives(pid) for pid in pids)
    assert several.log.count("draining") == WORKERS + 1
    assert list(several.metrics.parent.glob("ending.*")) == []
