"""The processes that are measured: each server apart from the client, so that none share a GIL."""

import base64
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from piivault.v1 import record_service_pb2 as pb

from vault.dev import Running, Stack
from vault.dev.local import local, plan_of
from vault.policy import compile_edition

POLICY = Path(__file__).parents[2] / "examples/osh/policy.yaml"
_START_SECONDS = 30


@contextmanager
def stack(state: Path) -> Iterator[Running]:
    """Run OpenBao and PostgreSQL with the example's edition, and `piivault serve` on them."""
    with local(state, POLICY, postgres=True):
        pass  # it made keys, databases and the edition; a server of our own comes next
    plan = plan_of(compile_edition(POLICY.read_text(encoding="utf-8")))
    with Stack(state, plan, postgres=True) as running, _serving(running):
        yield running


@contextmanager
def _serving(running: Running) -> Iterator[None]:
    log = running.config.parent / "log" / "server.log"
    piivault = Path(sysconfig.get_path("scripts"), "piivault")
    with log.open("wb") as file:
        argv: list[str | Path] = [piivault, "serve", "--config", running.config]
        server = subprocess.Popen(argv, stdout=file, stderr=file)
        try:
            _wait_for(server, running.grpc_address, log)
            yield
        finally:
            server.terminate()
            server.wait()


@contextmanager
def echo(running: Running, answer: pb.RevealResponse) -> Iterator[str]:
    """Run the bare echo; yields its address."""
    encoded = base64.b64encode(answer.SerializeToString()).decode()
    argv: list[str | Path] = [sys.executable, "-m", "tests.bench.echo", running.config, encoded]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield f"127.0.0.1:{int(server.stdout.readline())}"
        finally:
            server.terminate()


def _wait_for(server: "subprocess.Popen[bytes]", address: str, log: Path) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
            return
        except OSError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server didn't start:\n{log.read_text()}") from None
        time.sleep(0.05)
