"""Start and stop everything in one state folder, in order.

    with Stack(Path(".piivault"), plan, postgres=True) as running:
        print(running.config, running.grpc_address)

The gRPC server isn't part of it: `dev.local` adds that.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from vault.dev import certificates, configuration, environments
from vault.dev.child import refuse_leftovers
from vault.dev.errors import DevError
from vault.dev.layout import Layout
from vault.dev.openbao import OpenBao
from vault.dev.plan import Plan, Server
from vault.dev.postgres import Postgres
from vault.keys.errors import KeyServerError
from vault.keys.login import AppRole
from vault.keys.provision import (
    AUDIT_KEY,
    CAPABILITY_KEY,
    OFFICER,
    provision,
    signing_transit_key,
)
from vault.keys.transit import Transit
from vault.names import BROKER, to_base64url
from vault.setup.configuration import Section
from vault.setup.processes import processes
from vault.store.rights import CONTROL, OWNER, database_of, roles


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the table of what runs where; no process id for what is a file."""

    name: str
    where: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A started stack; `environments` maps services and `officer-NAME` to env files.

    `config` and `grpc_address` are the one server's; where they are split, control's.
    """

    config: Path
    grpc_address: str
    servers: Mapping[str, Server]
    ca: Path
    key_server: str
    key_server_ca: Path
    environments: Mapping[str, Path]
    app_roles: Mapping[str, AppRole]  # by the names in vault.keys.provision
    parts: tuple[Part, ...]
    owner_urls: Mapping[str, str] = field(repr=False)  # by compartment, "control", "broker"
    admin: Transit = field(repr=False)  # under the root token


class Stack:
    """OpenBao, storage, identities and configuration in a state folder.

    `split` plans a server for each process instead of one that plays all parts, and makes it as
    outside development: a key server that doesn't unseal itself, and no reflection. `progress` is
    told each step, in words. `start` raises DevError or KeyServerError, and leaves nothing running
    then.
    """

    def __init__(
        self,
        state: Path,
        plan: Plan,
        *,
        postgres: bool = False,
        split: bool = False,
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        if split and not postgres:
            raise DevError(
                "Processes of their own need PostgreSQL (`--postgres`): a SQLite file is one "
                "process's, and the control database is everybody's."
            )
        self._layout = Layout(state)
        self._plan = plan
        self._postgres = postgres
        self._split = split
        self._progress = progress
        self._to_undo = ExitStack()

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> Running:
        """Start everything; what an earlier run left in the state folder is found again."""
        try:
            return self._start()
        except BaseException:  # Ctrl-C too
            self.stop()
            raise

    def stop(self) -> None:
        """Stop everything, last started first. May be called again."""
        self._to_undo.close()

    def _start(self) -> Running:
        layout = self._layout
        layout.open()
        self._to_undo.callback(layout.close)
        refuse_leftovers(layout)

        self._progress("starting OpenBao")
        bao = OpenBao(layout, shamir=self._split)
        self._to_undo.callback(bao.stop)
        admin = bao.start()
        self._to_undo.callback(admin.close)

        self._progress("setting up keys, policies and logins")
        app_roles = self._provision(admin)

        self._progress("issuing certificates")
        self._identities(admin)

        database, sections, owner_urls = self._storage()
        signing_keys = self._signing_keys(admin)
        servers = self._configure(admin, bao, sections, signing_keys)
        first = next(iter(servers.values()))
        return Running(
            config=first.config,
            grpc_address=first.address,
            servers=servers,
            ca=layout.path("ca.pem"),
            key_server=bao.address,
            key_server_ca=bao.ca,
            environments=environments.write(
                layout,
                self._plan,
                servers,
                signing_keys,
                {"PIIVAULT_KEY_SERVER": bao.address, "PIIVAULT_KEY_SERVER_CA": bao.ca},
                {name: self._officer_token(admin, name) for name in self._plan.officers},
            ),
            app_roles=app_roles,
            parts=(Part("OpenBao", bao.address, bao.pid), database),
            owner_urls=owner_urls,
            admin=admin,
        )

    def _provision(self, admin: Transit) -> dict[str, AppRole]:
        files = {p.name: p for p in self._layout.path("approles").glob("*.secret-id")}
        known = {name.removesuffix(".secret-id"): p.read_text() for name, p in files.items()}
        app_roles = {}
        for name, ids in provision(admin, self._plan.compartments, known).items():
            role = self._layout.path("approles", f"{name}.role-id")
            secret = self._layout.path("approles", f"{name}.secret-id")
            self._layout.write(role, ids.role_id)
            self._layout.write(secret, ids.secret_id)
            app_roles[name] = AppRole(role, secret)
        return app_roles

    def _identities(self, admin: Transit) -> None:
        layout, plan = self._layout, self._plan
        ca = certificates.ensure_authority(admin, plan.trust_domain)
        layout.write(layout.path("ca.pem"), ca + "\n")
        for name, spiffe in plan.services.items():
            certificates.issue_client(layout, admin, f"service-{name}", spiffe)
        for name in plan.officers:
            certificates.issue_client(layout, admin, f"officer-{name}", plan.officer_id(name))

    def _storage(self) -> tuple[Part, dict[str, Section], dict[str, str]]:
        """Return what runs, how each role opens its database, and the owner's URLs."""
        names = (*self._plan.compartments, CONTROL, BROKER)
        if not self._postgres:
            folder = self._layout.path("data")
            files = {n: f"sqlite+aiosqlite:///{folder / n}.db" for n in names}
            of = {database_of(n): {"url": url} for n, url in files.items()}
            wanted = roles(self._plan.compartments)
            sections: dict[str, Section] = {r.name: of[r.database] for r in wanted}
            return Part("SQLite", str(folder)), sections, files
        self._progress("starting PostgreSQL")
        server = Postgres(self._layout)
        self._to_undo.callback(server.stop)
        server.start()
        urls = server.ensure_databases(self._plan.compartments)
        sections = {r: {"url": url, "password_file": f"passwords/{r}"} for r, url in urls.items()}
        owners = {n: server.url(OWNER, database_of(n), with_password=True) for n in names}
        return Part("PostgreSQL", str(server.socket_folder), server.pid), sections, owners

    def _configure(
        self,
        admin: Transit,
        bao: OpenBao,
        databases: Mapping[str, Section],
        signing_keys: Mapping[str, Sequence[str]],
    ) -> dict[str, Server]:
        """Plan the servers: a port, a certificate and a configuration for each."""
        layout, plan = self._layout, self._plan
        parts = processes(plan.compartments)
        planned = {p.name: (p,) for p in parts} if self._split else {"server": parts}
        officers = {
            name: (certificates.officer_public_key(layout, name), plan.officer_id(name))
            for name in plan.officers
        }
        capability_keys = admin.public_keys(CAPABILITY_KEY)
        checkpoint_keys = admin.public_keys(AUDIT_KEY)
        servers = {}
        for name, played in planned.items():
            certificates.issue_server(layout, admin, name)
            address = f"127.0.0.1:{layout.port(name if self._split else 'grpc')}"
            place = configuration.place(
                address=address,
                key_server=bao.address,
                databases=databases,
                officers=officers,
                capability_keys=capability_keys,
                identity_providers=plan.identity_providers,
                checkpoint_keys=checkpoint_keys,
                signing_keys=signing_keys,
                certificate=name,
                development=not self._split,
            )
            file = f"piivault-{name}" if self._split else "piivault"
            config = configuration.write(layout, file, played, place)
            servers[name] = Server(name, played, config, address)
        return servers

    def _signing_keys(self, admin: Transit) -> dict[str, list[str]]:
        return {
            name: [to_base64url(k) for k in admin.public_keys(signing_transit_key(name)).values()]
            for name in self._plan.compartments
        }

    def _officer_token(self, admin: Transit, officer: str) -> Path:
        """Issue what an officer rotates Transit keys with; one that still holds is kept."""
        file = self._layout.path("officers", f"{officer}.token")
        if file.exists():
            with suppress(KeyServerError):
                admin.write("auth/token/lookup", token=file.read_text(encoding="ascii"))
                return file
        fields = {"policies": [OFFICER], "no_default_policy": True, "display_name": officer}
        token: str = admin.write("auth/token/create", **fields)["auth"]["client_token"]
        return self._layout.write(file, token)
