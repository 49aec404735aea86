"""The house split: each process of a deployment as one of its own, as outside development.

    split_house.client("orders")                     # the SDK, as the env file opens it
    split_house.settings_of("worker-accounts")       # what a process is configured with
    split_house.login("broker")                      # the key server under a process's login
    split_house.urls["piivault_accounts_auditor"]    # a database under a role, password and all
    split_house.sql_as("piivault_accounts", "SELECT 1")

In a conftest.py:  `from tests.split import split_house`
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import pseudonym_service_pb2

from tests import wire
from tests.house import POLICY, House
from tests.wire import PATIENCE
from vault import config
from vault.dev import Running
from vault.dev.local import split
from vault.dev.served import Served
from vault.keys.login import AppRole
from vault.keys.transit import Transit
from vault.store.engine import connect, entrance
from vault.store.rights import Role, roles

__all__ = ["split_house"]


class SplitHouse(House):
    """The running processes, and every login of each."""

    def __init__(self, running: Running, served: Mapping[str, Served]) -> None:
        super().__init__(running, postgres=True)
        self.served = served
        self.roles: Mapping[str, Role] = {r.name: r for r in roles(self.edition.compartments)}
        self._opened: dict[tuple[str, str], grpc.Channel] = {}
        self._logins: dict[str, Transit] = {}
        workers = (self.settings_of(f"worker-{name}") for name in self.edition.compartments)
        together = {name: s for w in workers for name, s in w.compartments.items()}
        # What the tests of a house look up; no process of it has all of this.
        self.settings = self.settings.model_copy(update={"compartments": together})

    def settings_of(self, process: str, **overrides: str) -> config.Settings:
        """Read a process's configuration as the environment overrides it: SERVER__ADDRESS="…"."""
        environment = {f"{config.ENVIRONMENT_PREFIX}{key}": v for key, v in overrides.items()}
        return config.load(self.running.servers[process].config, environment)

    @property
    def urls(self) -> dict[str, str]:
        """Each database role's URL, with its password."""
        return {name: self.url(name, role.database) for name, role in self.roles.items()}

    def url(self, role: str, database: str) -> str:
        """Return the URL of any database for any role, OWNER included."""
        password = (self.state / "passwords" / role).read_text(encoding="ascii").strip()
        return self.entrance(role, database).replace("@", f":{password}@", 1)

    def entrance(self, role: str, database: str) -> str:
        """Return the URL without its password, as a configuration has it."""
        return entrance(self.running.owner_urls["control"], role, database)

    def sql_as(self, role: str, *statements: str, database: str = "") -> list[Sequence[Any]]:
        """Run statements in one transaction under a role; return the last one's rows.

        Raises sqlalchemy.exc.DBAPIError.
        """
        url = self.url(role, database or self.roles[role].database)
        return asyncio.run(_run(url, statements))

    def login(self, process: str) -> Transit:
        """Return the key server under a process's login, opened once; control has none."""
        if process not in self._logins:
            login: AppRole = self.running.app_roles[f"piivault-{process}"]
            server, ca = self.running.key_server, self.running.key_server_ca
            self._logins[process] = Transit(server, ca, login, timeout=PATIENCE)
        return self._logins[process]

    def channel_to(self, process: str, identity: str) -> grpc.Channel:
        """Return a bare channel to a process for a service or an officer, opened once."""
        if (process, identity) not in self._opened:
            address = self.running.servers[process].address
            self._opened[process, identity] = wire.open_channel(address, self.tls(identity))
        return self._opened[process, identity]

    def channel_for(self, identity: str, request: Message) -> grpc.Channel:
        """Return a bare channel to the process that serves a request."""
        return self.channel_to(_server_of(request), identity)

    def close(self) -> None:
        """Close every way to it."""
        super().close()
        for channel in self._opened.values():
            channel.close()
        for login in self._logins.values():
            login.close()


async def _run(url: str, statements: Sequence[str]) -> list[Sequence[Any]]:
    database = connect(url)
    rows: list[Sequence[Any]] = []
    try:
        async with database.writes.begin() as connection:
            for statement in statements:
                result = await connection.exec_driver_sql(statement)
                rows = [tuple(row) for row in result.all()] if result.returns_rows else []
    finally:
        await database.close()
    return rows


def _server_of(request: Any) -> str:
    if isinstance(request, pseudonym_service_pb2.IssueRequest):
        return "broker"
    if "compartment" in request.DESCRIPTOR.fields_by_name:
        return f"worker-{request.compartment}"
    return "control"


@pytest.fixture(scope="session")
def split_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitHouse]:
    """Every process of the example, on OpenBao with Shamir's seal and on PostgreSQL."""
    state = tmp_path_factory.mktemp("split") / "state"
    with split(state, POLICY) as (running, served):
        started = SplitHouse(running, served)
        yield started
        started.close()
