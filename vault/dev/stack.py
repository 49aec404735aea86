"""Start and stop everything in one state folder, in order.

    with Stack(Path(".piivault"), plan, postgres=True) as running:
        print(running.config, running.grpc_address)

The gRPC server isn't part of it: `dev.local` adds that.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from vault.dev import certificates, configuration
from vault.dev.child import refuse_leftovers
from vault.dev.layout import Layout
from vault.dev.openbao import OpenBao
from vault.dev.postgres import OWNER, Postgres
from vault.keys.login import AppRole
from vault.keys.provision import CAPABILITY_KEY, provision
from vault.keys.transit import Transit

CONTROL = "control"


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stack has to know of an edition; `services` maps names to SPIFFE ids."""

    trust_domain: str
    compartments: tuple[str, ...]
    services: Mapping[str, str]
    officers: tuple[str, ...] = ("aida", "bakyt")

    def officer_id(self, name: str) -> str:
        """Return an officer's SPIFFE id."""
        return f"spiffe://{self.trust_domain}/officer/{name}"


@dataclass(frozen=True, slots=True)
class Part:
    """A line of the table of what runs where; no process id for what is a file."""

    name: str
    where: str
    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Running:
    """A started stack; `environments` maps services and `officer-NAME` to env files."""

    config: Path
    grpc_address: str
    ca: Path
    key_server: str
    key_server_ca: Path
    environments: Mapping[str, Path]
    app_roles: Mapping[str, AppRole]  # by the names in vault.keys.provision
    parts: tuple[Part, ...]
    owner_urls: Mapping[str, str] = field(repr=False)  # by compartment, and "control"
    admin: Transit = field(repr=False)  # under the root token


class Stack:
    """OpenBao, storage, identities and configuration in a state folder.

    `progress` is told each step, in words. `start` raises DevError or KeyServerError, and leaves
    nothing running then.
    """

    def __init__(
        self,
        state: Path,
        plan: Plan,
        *,
        postgres: bool = False,
        progress: Callable[[str], None] = lambda step: None,
    ) -> None:
        self._layout = Layout(state)
        self._plan = plan
        self._postgres = postgres
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
        bao = OpenBao(layout)
        self._to_undo.callback(bao.stop)
        admin = bao.start()
        self._to_undo.callback(admin.close)

        self._progress("setting up keys, policies and logins")
        app_roles = self._provision(admin)

        self._progress("issuing certificates")
        self._identities(admin)

        database, urls, owner_urls = self._storage()
        address = f"127.0.0.1:{layout.port('grpc')}"
        return Running(
            config=self._configure(admin, bao, address, urls),
            grpc_address=address,
            ca=layout.path("ca.pem"),
            key_server=bao.address,
            key_server_ca=bao.ca,
            environments=self._environments(address),
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
        certificates.issue_server(layout, admin, "server")
        for name, spiffe in plan.services.items():
            certificates.issue_client(layout, admin, f"service-{name}", spiffe)
        for name in plan.officers:
            certificates.issue_client(layout, admin, f"officer-{name}", plan.officer_id(name))

    def _storage(self) -> tuple[Part, dict[str, dict[str, str]], dict[str, str]]:
        """Return what runs, each database as the configuration names it, and the owner's URLs."""
        names = (*self._plan.compartments, CONTROL)
        if not self._postgres:
            folder = self._layout.path("data")
            files = {name: f"sqlite+aiosqlite:///{folder / name}.db" for name in names}
            databases = {name: {"url": url} for name, url in files.items()}
            return Part("SQLite", str(folder)), databases, files
        self._progress("starting PostgreSQL")
        server = Postgres(self._layout)
        self._to_undo.callback(server.stop)
        server.start()
        databases = {
            name: {"url": url, "password_file": f"passwords/piivault_{name}"}
            for name, url in server.ensure_databases(names).items()
        }
        owners = {n: server.url(OWNER, f"piivault_{n}", with_password=True) for n in names}
        return Part("PostgreSQL", str(server.socket_folder), server.pid), databases, owners

    def _configure(
        self, admin: Transit, bao: OpenBao, address: str, databases: dict[str, dict[str, str]]
    ) -> Path:
        layout, plan = self._layout, self._plan
        tree = configuration.settings(
            address=address,
            key_server=bao.address,
            databases=databases,
            officers={
                name: (certificates.officer_public_key(layout, name), plan.officer_id(name))
                for name in plan.officers
            },
            capability_keys=admin.public_keys(CAPABILITY_KEY),
        )
        return layout.write(layout.path("piivault.toml"), configuration.toml(tree))

    def _environments(self, address: str) -> dict[str, Path]:
        names = {name: f"service-{name}" for name in self._plan.services}
        names |= {f"officer-{name}": f"officer-{name}" for name in self._plan.officers}
        path = self._layout.path
        environments = {}
        for name, certificate in names.items():
            variables: dict[str, str | Path] = {
                "PIIVAULT_ADDRESS": address,
                "PIIVAULT_CA": path("ca.pem"),
                "PIIVAULT_CERTIFICATE": path("certificates", f"{certificate}.pem"),
                "PIIVAULT_PRIVATE_KEY": path("certificates", f"{certificate}.key"),
            }
            if name not in self._plan.services:
                officer = name.removeprefix("officer-")
                variables["PIIVAULT_OFFICER"] = officer
                variables["PIIVAULT_SIGNING_KEY"] = path("officers", f"{officer}.pem")
            environments[name] = configuration.write_env(self._layout, name, variables)
        return environments
