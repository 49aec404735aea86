"""A house whose key server breaks, and heals: OpenBao with Shamir's seal.

    broken.admin.write("sys/seal")
    assert broken.told() == Reason.KEYS_UNAVAILABLE
    broken.unseal()

In a conftest.py:  `from tests.outages import broken`
"""

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from piivault.keys import RingStatus
from piivault.officers import OfficersClient

from tests.house import POLICY
from tests.officers import OFFICER, reveal
from tests.people import Registered
from tests.split import SplitHouse
from tests.wire import is_ready, wait_for
from vault.cli import cli
from vault.dev import openbao
from vault.dev.layout import Layout
from vault.dev.local import prepared, serving
from vault.keys.errors import KeyServerError
from vault.keys.transit import Transit

__all__ = ["broken"]

WORKER, BROKER, AUDITOR = "worker-accounts", "broker", "auditor"
KEY = "transit/keys/piivault-accounts"
LOGIN = "piivault-worker-accounts"
SEEN = 0.3  # seconds until an outage is noticed by who isn't asked


class Broken:
    """The house, somebody in it, and the hands of whoever runs its key server."""

    def __init__(self, house: SplitHouse, state: Path) -> None:
        self.house = house
        self._state = state
        self.admin: Transit = house.running.admin
        self.person: Registered = house.register()
        self._restarted: openbao.OpenBao | None = None

    def told(self) -> str:
        """Reveal a phone; return the reason of the refusal, or ""."""
        return self.house.told("orders", reveal(self.person, "phone"))

    def is_ready(self, process: str = WORKER) -> bool:
        return is_ready(self.house.channel_to(process, "orders"))

    def forget(self) -> None:
        """Have every key forgotten, as an officer does; the worker's event needs no key server."""
        with OfficersClient.from_env(self.house.environment(OFFICER)) as officers:
            officers.keys("accounts").evict()

    def status(self) -> RingStatus:
        with OfficersClient.from_env(self.house.environment(OFFICER)) as officers:
            return officers.keys("accounts").status()

    def metric(self, name: str, process: str = WORKER) -> float:
        """Return what a process counts of its own login."""
        wanted = f'{name}{{login="{process}"}} '
        lines = self.metrics_file(process).read_text().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if wanted in line), -1.0)

    def metrics_file(self, process: str) -> Path:
        return self._state / f"{process}.prom"

    def rotate_transit(self) -> None:
        """Rotate the Transit keys, as an officer does."""
        argv = ["keys", "rotate", "accounts", "transit", "--yes"]
        done = CliRunner().invoke(cli, argv, env=self.house.environment(OFFICER))
        assert done.exit_code == 0, done.output

    # The key server's own.

    @property
    def pid(self) -> int:
        """The process that it runs in."""
        found = self._restarted.pid if self._restarted else self.house.running.parts[0].pid
        assert found is not None
        return found

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        """As a machine does that loses its power."""
        pid = self.pid
        os.kill(pid, signal.SIGKILL)
        if self._restarted:
            self._restarted.stop()
        else:
            os.waitpid(pid, 0)

    def start(self) -> None:
        """Start it anew, at the same address, with what it has stored."""
        self._restarted = openbao.OpenBao(Layout(self._state), shamir=True)
        self._restarted.start().close()

    def unseal(self) -> None:
        self.admin.write("sys/unseal", key=(self._state / "openbao/unseal.share").read_text())
        wait_for(self._is_active)

    def snapshot(self, name: str) -> None:
        """Keep all that it has stored."""
        self.kill()
        shutil.copytree(self._storage, self._state / name, dirs_exist_ok=True)
        self.start()

    def restore(self, name: str) -> None:
        """Have it go back to what it had stored, tokens and all."""
        self.kill()
        shutil.rmtree(self._storage)
        shutil.copytree(self._state / name, self._storage)
        self.start()

    @property
    def _storage(self) -> Path:
        return self._state / "openbao/raft"

    def _is_active(self) -> bool:
        try:
            return bool(self.admin.read(KEY))
        except KeyServerError:
            return False

    def close(self) -> None:
        if self._restarted:
            self._restarted.stop()


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broken]:
    """Worker, broker and auditor of a split deployment, each under its own login, in one process.

    They notice soon what ails the key server, and don't wait for it long.
    """
    state = tmp_path_factory.mktemp("outages") / "state"
    with prepared(state, POLICY, postgres=True, split=True) as running, ExitStack() as stack:
        house = SplitHouse(running, {})
        stack.callback(house.close)
        for process in (BROKER, WORKER, AUDITOR):
            own = {"AUDITOR__KEY_STALE_AFTER": str(SEEN)} if process == AUDITOR else {}
            settings = house.settings_of(
                process,
                **own,
                KEY_SERVER__TIMEOUT="0.5",
                KEY_SERVER__ASK_INTERVAL=str(SEEN),
                METRICS__FILE=str(state / f"{process}.prom"),
                METRICS__INTERVAL="0.2",
            )
            stack.enter_context(serving(settings))
        made = Broken(house, state)
        stack.callback(made.close)
        yield made
