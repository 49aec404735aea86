"""The processes that are measured: each server apart from the client, so that none share a GIL."""

import base64
import json
import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from piivault.v1 import record_service_pb2 as pb

from tests.bench.population import write_policy
from tests.command import COMMAND
from vault.config import ENVIRONMENT_PREFIX, Role
from vault.dev import Running, Stack
from vault.dev.local import local, plan_of
from vault.policy import compile_edition

_START_SECONDS = 30
_MOST_BUFFERS = 4 << 30  # bytes
_CONTAINER_MEMORY = (  # where a container is told its bytes: by version 2 of cgroups, and by 1
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


@contextmanager
def stack(state: Path) -> Iterator[Running]:
    """Run OpenBao and PostgreSQL with the benchmark's edition; no server yet."""
    policy = write_policy(state.parent / "policy.yaml")
    with local(state, policy, postgres=True):
        pass  # it made keys, databases and the edition; a server of our own comes next
    _give_memory(state)
    plan = plan_of(compile_edition(policy.read_text(encoding="utf-8")))
    with Stack(state, plan, postgres=True) as running:
        yield running


def _give_memory(state: Path) -> None:
    """Let PostgreSQL have a quarter of the memory for its buffers, as its documentation advises.

    Its default of 128 MB is for machines that have nothing.
    """
    of_machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    given = [path.read_text().strip() for path in _CONTAINER_MEMORY if path.exists()]
    memory = min([of_machine, *(int(its) for its in given if its.isdecimal())])
    buffers = min(memory // 4, _MOST_BUFFERS)
    with (state / "postgres" / "data" / "postgresql.conf").open("a", encoding="ascii") as file:
        file.write(f"shared_buffers = {buffers >> 20}MB\n")


@dataclass(frozen=True, slots=True)
class Process:
    """A server as it runs. `log` is None where it keeps none."""

    address: str
    pid: int
    log: Path | None = None


@contextmanager
def serving(running: Running, *roles: Role) -> Iterator[Process]:
    """Run `piivault serve` on the stack: as a worker, unless other roles are given.

    As in a deployment: whoever else shares the process would have a share of its time.
    """
    roles = roles or ("worker",)
    log = running.config.parent / "log" / f"{'-'.join(roles)}.log"
    # A put of a unique field counts as a find: BulkPut would measure the limit.
    given = {"ROLES": ",".join(roles), "ADDRESS": "127.0.0.1:0", "FIND_PER_SECOND": "1e9"}
    environment = {f"{ENVIRONMENT_PREFIX}SERVER__{key}": value for key, value in given.items()}
    with log.open("wb") as file:
        argv: list[str | Path] = [COMMAND, "serve", "--config", running.config]
        server = subprocess.Popen(argv, stdout=file, stderr=file, env={**os.environ, **environment})
        try:
            yield Process(f"127.0.0.1:{_wait_for(server, log)}", server.pid, log)
        finally:
            server.terminate()
            server.wait()


@contextmanager
def echo(running: Running, answer: pb.RevealResponse) -> Iterator[Process]:
    """Run the bare echo."""
    encoded = base64.b64encode(answer.SerializeToString()).decode()
    with _saying_its_port("tests.bench.echo", running.config, encoded) as server:
        yield server


@contextmanager
def naive(running: Running, url: str, token: str, key: str) -> Iterator[str]:
    """Run what a team would write itself; yields its address."""
    told = {
        "database": url,
        "key_server": running.key_server,
        "key_server_ca": str(running.key_server_ca),
        "token": token,
        "key": key,
    }
    with _saying_its_port("tests.bench.naive", running.config, json.dumps(told)) as server:
        yield server.address


def memory_of(pid: int) -> int:
    """Return the bytes of memory that a process occupies now (Linux)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


def processor_time(pid: int, *, first_thread: bool = False) -> float:
    """Return the seconds of processor time that a process used so far, or its first thread."""
    stat = Path(f"/proc/{pid}/task/{pid}/stat" if first_thread else f"/proc/{pid}/stat")  # Linux
    after_name = stat.read_text(encoding="ascii").rpartition(")")[2].split()
    user, system = after_name[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def log_size(server: Process) -> int:
    """Return how long a server's log is, in bytes."""
    return server.log.stat().st_size if server.log else 0


def answered(server: Process, begin: int, end: int) -> Counter[str]:
    """Return how many calls a server answered, by reason: what its log says between two places."""
    if server.log is None:
        return Counter()
    with server.log.open("rb") as file:
        file.seek(begin)
        said = file.read(end - begin).decode(errors="replace")
    return Counter(re.findall(r" caller=\S+ reason=(\S+)", said))


@contextmanager
def _saying_its_port(module: str, configuration: Path, told: str) -> Iterator[Process]:
    argv: list[str | Path] = [sys.executable, "-m", module, configuration, told]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield Process(f"127.0.0.1:{int(server.stdout.readline())}", server.pid)
        finally:
            server.terminate()


def _wait_for(server: "subprocess.Popen[bytes]", log: Path) -> int:
    """Return its port, once it serves."""
    deadline = time.monotonic() + _START_SECONDS
    while (found := re.search(r"serving .* on port (\d+)", said := log.read_text())) is None:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the server didn't start:\n{said}")
        time.sleep(0.05)
    return int(found[1])
