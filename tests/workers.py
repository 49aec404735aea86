"""Workers of accounts as processes of their own, beside those of a house.

    with worker_process(house) as worker:
        worker.phone_of(person)

All follow what one is told within BOUND.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import piivault
from piivault.keys import Keys
from piivault.officers import OfficersClient

from tests.command import COMMAND
from tests.house import House
from tests.people import Registered
from tests.wire import PATIENCE
from vault.config import ENVIRONMENT_PREFIX

BOUND = 1.0  # seconds until every worker follows


class Worker:
    """A worker of accounts as a process of its own."""

    def __init__(self, house: House, address: str, process: "subprocess.Popen[bytes]") -> None:
        self._house, self._address, self._process = house, address, process

    def signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def client(self, service: str, timeout: float = PATIENCE) -> piivault.Client:
        changed = {
            "PIIVAULT_ADDRESS": self._address,
            "PIIVAULT_BROKER_ADDRESS": self._house.running.grpc_address,
            "PIIVAULT_TIMEOUT": str(timeout),
        }
        return piivault.Client.from_env({**self._house.environment(service), **changed})

    @contextmanager
    def keys(self) -> Iterator[Keys]:
        changed = {**self._house.environment("officer-aida"), "PIIVAULT_ADDRESS": self._address}
        with OfficersClient.from_env(changed) as officers:
            yield officers.keys("accounts")

    def phone_of(self, person: Registered) -> str:
        with self.client("orders") as client:
            accounts = client.compartment("accounts", purpose="services")
            return accounts.reveal(person.pseudonym, ["phone"])["phone"].expose()


@contextmanager
def worker_process(house: House, **overrides: str) -> Iterator[Worker]:
    """Run one more worker of accounts; variables override its configuration."""
    section = "COMPARTMENTS__ACCOUNTS__KEY_"
    variables = {
        "SERVER__ADDRESS": "127.0.0.1:0",
        "SERVER__ROLES": "worker",
        f"{section}POLL": str(BOUND / 5),
        f"{section}STALE_AFTER": str(BOUND),
        **overrides,
    }
    environment = {f"{ENVIRONMENT_PREFIX}{k}": v for k, v in variables.items()}
    argv: list[str | Path] = [COMMAND, "serve", "--config", house.running.config]
    log = house.state / "log" / f"worker-{os.urandom(4).hex()}.log"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            argv, env={**os.environ, **environment}, stdout=out, stderr=out
        ) as process,
    ):
        try:
            yield Worker(house, f"127.0.0.1:{_port(log, process)}", process)
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()


def _port(log: Path, process: "subprocess.Popen[bytes]") -> str:
    """Wait until it serves; return where."""
    ends = time.monotonic() + PATIENCE
    while not (said := re.search(r"serving worker on port (\d+)", log.read_text())):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < ends
        time.sleep(0.05)
    return said[1]
