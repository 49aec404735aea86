"""Several workers on one port: the port is nobody else's, and the supervisor keeps them alive.

The programs here are tiny ones that speak a worker's part; `test_workers_restart.py` has real ones.
"""

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.house import House
from vault import workers
from vault.cli import cli
from vault.opening import StartError
from vault.port import reserve
from vault.workers import Supervisor

SERVES = "import os, sys, time; os.write(int(sys.argv[1]), b's'); "
LASTS = f"{SERVES} time.sleep(600)"


# The port.


@contextmanager
def _listener(address: tuple[str, int], *options: int) -> Iterator[socket.socket]:
    with socket.socket() as listener:
        for option in options:
            listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(address)
        listener.listen()
        yield listener


def test_a_reserved_port_is_shared_with_those_who_share_it_alone() -> None:
    port = reserve("127.0.0.1:0")
    place = ("127.0.0.1", port.port)
    with _listener(place, socket.SO_REUSEPORT), _listener(place, socket.SO_REUSEPORT):
        with pytest.raises(OSError, match="in use"), _listener(place):
            pass
        with pytest.raises(OSError, match="in use"), _listener(place, socket.SO_REUSEADDR):
            pass
    with pytest.raises(OSError, match="in use"), _listener(place):  # while all workers are gone
        pass
    port.close()
    with _listener(place):
        pass


@pytest.mark.parametrize("options", [(), (socket.SO_REUSEADDR,), (socket.SO_REUSEPORT,)])
def test_a_port_that_somebody_listens_on_is_not_to_be_had(options: tuple[int, ...]) -> None:
    with _listener(("127.0.0.1", 0), *options) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(OSError, match=f"can't have {address} for ourselves"):
            reserve(address)


def test_two_supervisors_never_have_one_port() -> None:
    """Not even while no worker of the first listens yet."""
    port = reserve("127.0.0.1:0")
    with pytest.raises(OSError, match="for ourselves"):
        reserve(f"127.0.0.1:{port.port}")
    port.close()


def test_connections_of_an_earlier_server_that_linger_are_no_obstacle() -> None:
    with _listener(("127.0.0.1", 0), socket.SO_REUSEADDR) as listener:  # as gRPC has it
        place = listener.getsockname()
        with socket.create_connection(place) as client:
            listener.accept()[0].close()  # the server's side closes first, and so lingers
            client.recv(1)
    reserve(f"127.0.0.1:{place[1]}").close()


def test_each_address_of_a_name_is_reserved() -> None:
    port = reserve("localhost:0")
    for _, _, _, _, place in socket.getaddrinfo("localhost", port.port, type=socket.SOCK_STREAM):
        with pytest.raises(OSError, match="in use"), _listener((str(place[0]), port.port)):
            pass
    port.close()


@pytest.mark.parametrize("address", ["unix:/tmp/piivault", "8443", "192.0.2.1:8443"])
def test_an_address_that_cannot_be_shared_is_refused(address: str) -> None:
    with pytest.raises(OSError, match=address):
        reserve(address)


# The supervisor.


def _supervisor(
    program: str, count: int = 2, gone: list[int] | None = None
) -> tuple[Supervisor, list[int]]:
    """Return it, and the numbers of those that it started."""
    started: list[int] = []

    def command(number: int, descriptor: int) -> list[str]:
        started.append(number)
        return [sys.executable, "-c", program, str(descriptor), str(number), str(len(started))]

    return Supervisor(count, command, (gone if gone is not None else []).append), started


async def test_what_one_cannot_start_with_none_is_started_with() -> None:
    supervisor, started = _supervisor("import sys; sys.exit('no such database')")
    with pytest.raises(StartError, match="No worker could start"):
        await supervisor.run(asyncio.Event(), asyncio.Event())
    assert started == [1]


async def test_workers_that_die_again_and_again_end_the_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The others, which are well, are ended in order."""
    monkeypatch.setattr(workers, "_PAUSE", 0.001)
    monkeypatch.setattr(workers, "_MOST_DEATHS", 3)
    gone: list[int] = []
    supervisor, started = _supervisor(
        f"{SERVES} time.sleep(600 if sys.argv[2] == '1' else 0); sys.exit(3)", gone=gone
    )
    with pytest.raises(
        StartError, match=r"ended 3 times in a row, the last one ended with stat.*3"
    ):
        await supervisor.run(asyncio.Event(), asyncio.Event())
    assert started == [1, 2, 2, 2]
    assert sorted(gone) == [1, 2, 2, 2]


async def test_one_that_served_for_long_is_replaced_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "_PAUSE", 0.001)
    monkeypatch.setattr(workers, "_MOST_DEATHS", 2)
    monkeypatch.setattr(workers, "_LASTED", 0.0)
    stop = asyncio.Event()
    supervisor, started = _supervisor(f"{SERVES} time.sleep(0.01)", count=1)
    running = asyncio.create_task(supervisor.run(stop, asyncio.Event()))
    await _until(lambda: len(started) >= 5)
    stop.set()
    await running


async def test_a_worker_that_does_not_end_is_killed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    monkeypatch.setattr(workers, "_STOP_SECONDS", 0.05)
    gone: list[int] = []
    deaf = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {LASTS}"
    supervisor, _ = _supervisor(deaf, count=1, gone=gone)
    stop = asyncio.Event()
    running = asyncio.create_task(supervisor.run(stop, asyncio.Event()))
    await _until(lambda: "1 workers" in caplog.messages)
    stop.set()
    await asyncio.wait_for(running, 30)
    assert gone == [1]


async def test_a_restart_that_cannot_start_leaves_the_old_ones(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What came after the first two doesn't start: a configuration that was broken meanwhile."""
    caplog.set_level("INFO")
    stop, restart = asyncio.Event(), asyncio.Event()
    supervisor, started = _supervisor(f"import sys; int(sys.argv[3]) > 2 and sys.exit(1); {LASTS}")
    running = asyncio.create_task(supervisor.run(stop, restart))
    await _until(lambda: "2 workers" in caplog.messages)
    restart.set()
    await _until(lambda: any("the old ones stay" in said for said in caplog.messages))
    assert started == [1, 2, 3]
    stop.set()
    await running


async def _until(found: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not found():  # noqa: ASYNC110 -- no event: it is another process that acts
            await asyncio.sleep(0.01)


# What is refused.


def test_what_only_one_process_may_serve_is_refused(house: House, tmp_path: Path) -> None:
    """SQLite; and an auditor, which the house for development has."""
    result = CliRunner().invoke(
        cli, ["serve", "--config", str(house.running.config), "--workers", "2"]
    )
    assert isinstance(result.exception, StartError)
    expected = "An auditor is one process" if house.postgres else "SQLite is one process's"
    assert expected in str(result.exception)
