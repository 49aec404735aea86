"""The whole house: the server, OpenBao and a database, one of each kind for the session.

A test that takes `house` runs on SQLite and on PostgreSQL:

    person = house.register("accounts")
    house.client("orders").compartment("accounts", purpose="services").reveal(…)
    refusal = house.refused("orders", RevealRequest(…))
"""

import asyncio
import atexit
import shlex
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import grpc
import piivault
import pytest
from google.protobuf.message import Message
from piivault import errors
from piivault.v1 import pseudonym_service_pb2, types_pb2
from piivault.v1 import subject_service_pb2 as subjects
from sqlalchemy import text

from tests import wire
from tests.people import KINDS, Registered, new_values
from tests.wire import PATIENCE, Refusal
from vault import config
from vault.dev import Running
from vault.dev.local import local, prepared, serving
from vault.keys.key import KeyKind, KeyName, WrappedKey
from vault.keys.keyring import Keyring
from vault.keys.provision import AUDITOR, BROKERS_AUDIT_KEY
from vault.keys.transit import Transit
from vault.names import BROKER, BROKER_TRAIL, Pseudonym
from vault.policy import compile_edition
from vault.sealed.v1 import sealed_pb2
from vault.service.trail import Trail, read_trail
from vault.store.engine import connect
from vault.store.lookups import Lookups

__all__ = ["house", "postgres_house", "sqlite_house"]

POLICY = Path(__file__).parents[1] / "examples/osh/policy.yaml"


class House:
    """A running house, and the ways to it."""

    def __init__(self, running: Running, *, postgres: bool, policy: Path = POLICY) -> None:
        self.running = running
        self.postgres = postgres
        self.settings = config.load(running.config, {})
        self.edition = compile_edition(policy.read_text(encoding="utf-8"))
        self._auditor = Transit(
            running.key_server, running.key_server_ca, running.app_roles[AUDITOR], timeout=PATIENCE
        )
        self._clients: dict[str, piivault.Client] = {}
        self._channels: dict[str, grpc.Channel] = {}

    @property
    def state(self) -> Path:
        """The folder that everything lies in."""
        return self.running.config.parent

    def environment(self, identity: str) -> dict[str, str]:
        """Read the env file of a service or an officer, as a shell would."""
        lines = self.running.environments[identity].read_text(encoding="utf-8").splitlines()
        exports = (shlex.split(line)[1] for line in lines if line.startswith("export "))
        return dict(export.split("=", 1) for export in exports)

    def tls(self, identity: str) -> piivault.TLS:
        """Return an identity's certificate."""
        return self._tls(self.environment(identity))

    def client(self, service: str) -> piivault.Client:
        """Return the SDK's client for a service, opened once."""
        if service not in self._clients:
            environment = {**self.environment(service), "PIIVAULT_TIMEOUT": str(PATIENCE)}
            self._clients[service] = piivault.Client.from_env(environment)
        return self._clients[service]

    def channel(self, identity: str) -> grpc.Channel:
        """Return a bare channel for a service or an officer, opened once."""
        if identity not in self._channels:
            tls = self.tls(identity)
            self._channels[identity] = wire.open_channel(self.running.grpc_address, tls)
        return self._channels[identity]

    def channel_for(self, identity: str, request: Message) -> grpc.Channel:
        """Return a bare channel to the process that serves a request."""
        return self.channel(identity)

    def ask(self, identity: str, request: Message, request_id: str = "") -> Any:
        """Send a request without the SDK and return the answer."""
        return wire.send(self.channel_for(identity, request), request, request_id)

    def refused(self, identity: str, request: Message, request_id: str = "") -> Refusal:
        """Send a request that must be refused, and return what the caller was told."""
        return wire.refused(self.channel_for(identity, request), request, request_id)

    def told(self, identity: str, request: Message, request_id: str = "") -> str:
        """Send a request; return the reason of the refusal, or "" if it was answered."""
        return wire.reason_of(self.channel_for(identity, request), request, request_id)

    def register(
        self,
        compartment: str = "accounts",
        *,
        root: piivault.RootId | None = None,
        consents: Collection[str] | None = None,
        **values: str,
    ) -> Registered:
        """Register somebody new, or `root`; they consent to everything unless told otherwise."""
        root = root or piivault.new_root()
        subject = self.client("portal").subject(root)
        given = {**new_values(compartment), **values}
        kind = KINDS.get(compartment, "person")

        def register() -> str:
            agreed = self.consents(compartment, consents)
            return subject.register(compartment, given, agreed, kind=kind)

        try:
            etag = register()
        except errors.NoticeMismatch:  # another edition came in force after these were shown
            etag = register()
        issued = self.issue(root, compartment)
        return Registered(
            subject, root, compartment, issued.pseudonym, issued.capability, given, etag
        )

    def registration(self, *, root: piivault.RootId | None = None) -> subjects.RegisterRequest:
        """Write a good request to register in accounts, without consents, not yet sent."""
        issued = self.issue(root or piivault.new_root(), "accounts")
        fields = new_values("accounts").items()
        return subjects.RegisterRequest(
            compartment="accounts",
            capability=issued.capability,
            kind=types_pb2.SUBJECT_KIND_PERSON,
            fields=[types_pb2.FieldValue(name=name, value=value) for name, value in fields],
        )

    def phone_of(self, person: Registered) -> str:
        """Reveal a person's phone to the orders service, for the purpose `services`."""
        accounts = self.client("orders").compartment("accounts", purpose="services")
        return accounts.reveal(person.pseudonym, ["phone"])["phone"].expose()

    def note_of(self, person: Registered) -> str:
        """Reveal the note of a person's order to the orders service, for the purpose `services`."""
        orders = self.client("orders").compartment("orders", purpose="services")
        return orders.reveal(person.pseudonym, ["item_note"])["item_note"].expose()

    def consents(
        self, compartment: str, purposes: Collection[str] | None = None
    ) -> list[piivault.Consent]:
        """Accept the notices of some purposes, of all that ask for consent by default."""
        notices = self.client("portal").notices(compartment, "ky")
        asking = [n for n in notices if n.consent_needed]
        return [n.accept() for n in asking if purposes is None or n.purpose in purposes]

    def issue(self, root: piivault.RootId, compartment: str) -> pseudonym_service_pb2.IssueResponse:
        """Return what the broker issues to the portal."""
        request = pseudonym_service_pb2.IssueRequest(compartment=compartment, root_id=bytes(root))
        answer: pseudonym_service_pb2.IssueResponse = self.ask("portal", request)
        return answer

    @contextmanager
    def another_server(self, **overrides: str) -> Iterator[str]:
        """Run one more server on the same keys and databases, with variables of its own."""
        with serving(self.configured(**overrides)) as port:
            yield f"127.0.0.1:{port}"

    def configured(self, **overrides: str) -> config.Settings:
        """Read the configuration as the environment overrides it: SERVER__ADDRESS="…"."""
        changed = {"SERVER__ADDRESS": "127.0.0.1:0", **overrides}
        environment = {f"{config.ENVIRONMENT_PREFIX}{key}": v for key, v in changed.items()}
        return config.load(self.running.config, environment)

    def trail(self, compartment: str) -> Trail:
        """Read a whole trail, "broker" too, with the auditor's keys and the owner's rows."""
        return asyncio.run(self._trail(compartment))

    def events(self, compartment: str, request_id: str) -> list[sealed_pb2.AuditEvent]:
        """Return the events that a request left in a compartment."""
        return [e for e in self.trail(compartment).events if e.request_id == request_id]

    def sql(self, database: str, *statements: str) -> list[Sequence[Any]]:
        """Run statements as the owner of a compartment's database; return the last one's rows."""
        return asyncio.run(self._sql(database, statements))

    def close(self) -> None:
        """Close every way to it."""
        self._auditor.close()
        for client in self._clients.values():
            client.close()
        for channel in self._channels.values():
            channel.close()

    @contextmanager
    def unwritable_trail(self, of: str = "accounts") -> Iterator[None]:
        """Take the right to write events in a database from the server, and give it back."""
        if self.postgres:
            take = f"REVOKE INSERT ON audit FROM piivault_{of}"
            give = f"GRANT INSERT ON audit TO piivault_{of}"
        else:
            fail = "SELECT RAISE(FAIL, 'unwritable')"
            take = f"CREATE TRIGGER unwritable BEFORE INSERT ON audit BEGIN {fail}; END"
            give = "DROP TRIGGER unwritable"
        self.sql(of, take)
        try:
            yield
        finally:
            self.sql(of, give)

    def rows_of(self, compartment: str, table: str, pseudonym: str) -> list[Sequence[Any]]:
        """Return the rows of a table that stand under a pseudonym."""
        raw = Pseudonym.parse(pseudonym).raw.hex()
        column = "encode(pseudonym, 'hex')" if self.postgres else "lower(hex(pseudonym))"
        return self.sql(compartment, f"SELECT * FROM {table} WHERE {column} = '{raw}'")

    async def _trail(self, compartment: str) -> Trail:
        database = connect(self.running.owner_urls[compartment])
        if compartment == BROKER:
            uuid, key = BROKER_TRAIL, BROKERS_AUDIT_KEY
        else:
            uuid = self.edition.compartment(compartment).uuid
            key = self.settings.compartments[compartment].audit_transit_key
        keyring = Keyring(self._auditor, "", key, uuid)
        try:
            rows = await Lookups(database).keyring()
            names = [KeyName(KeyKind(row.kind), row.version, row.field) for row in rows]
            pairs = zip(names, rows, strict=True)
            keyring.hold([WrappedKey(name, row.state, row.wrapped) for name, row in pairs])
            return await read_trail(uuid, database, keyring)
        finally:
            await database.close()

    async def _sql(self, name: str, statements: Sequence[str]) -> list[Sequence[Any]]:
        database = connect(self.running.owner_urls[name])
        rows: list[Sequence[Any]] = []
        try:
            async with database.writes.begin() as connection:
                for statement in statements:
                    result = await connection.execute(text(statement))
                    rows = [tuple(row) for row in result.all()] if result.returns_rows else []
        finally:
            await database.close()
        return rows

    @staticmethod
    def _tls(environment: Mapping[str, str]) -> piivault.TLS:
        parts = ("PIIVAULT_CA", "PIIVAULT_CERTIFICATE", "PIIVAULT_PRIVATE_KEY")
        return piivault.TLS(*(environment[part] for part in parts))


@cache
def _template(postgres: bool) -> Path:
    """Prepare a house once, and stop it: its copies start in a quarter of the time."""
    folder = Path(mkdtemp(prefix="piivault-template-"))
    atexit.register(shutil.rmtree, folder)
    with prepared(folder / "state", POLICY, postgres=postgres):
        pass
    return folder / "state"


@contextmanager
def run_house(
    state: Path,
    *,
    postgres: bool,
    policy: Path = POLICY,
    identity_providers: Sequence[Mapping[str, Any]] = (),
) -> Iterator[House]:
    """Run a house in a new state folder, with identity providers that its broker pins."""
    if policy == POLICY:
        subprocess.run(["cp", "-pR", _template(postgres), state], check=True)  # and whose it is
        (state / "ports.json").unlink()
    with local(state, policy, postgres=postgres, identity_providers=identity_providers) as running:
        started = House(running, postgres=postgres, policy=policy)
        yield started
        started.close()


@pytest.fixture(scope="session")
def sqlite_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The house on SQLite: for what doesn't depend on the kind of storage."""
    with run_house(tmp_path_factory.mktemp("sqlite") / "state", postgres=False) as started:
        yield started


@pytest.fixture(scope="session")
def postgres_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The house on PostgreSQL."""
    with run_house(tmp_path_factory.mktemp("postgres") / "state", postgres=True) as started:
        yield started


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def house(request: pytest.FixtureRequest) -> House:
    """The house on each kind of storage."""
    started: House = request.getfixturevalue(f"{request.param}_house")
    return started
