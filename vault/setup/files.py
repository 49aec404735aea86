"""All that `piivault setup` writes, from an edition's compartments. Pure, and always the same.

README.md                     who runs what, in which order
key-server/                   policies and a script, for the security team
postgresql/                   SQL, for the database administrator
piivault-PROCESS.toml         a configuration a process, to be filled in
secrets/                      what `--apply` was given: see `setup.apply`
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vault.setup.configuration import Place, Section, settings
from vault.setup.key_server import key_server_files
from vault.setup.postgresql import postgresql_files
from vault.setup.processes import Process, processes
from vault.setup.readme import readme
from vault.setup.toml import toml
from vault.store.engine import entrance
from vault.store.rights import roles

SECRETS = "secrets"

_HEAD = """\
# {title}. Written by `piivault setup`: copy it to where the process runs and fill in
# the address, and the officers with the public keys that sign editions. Files are looked for beside
# this one. `piivault config check` says what is wrong with it; README.md where files come from.
#
# officers = [{{ name = "…", public_key = "…", spiffe = "spiffe://{trust_domain}/officer/…" }}, …]
"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the files are written for. `postgres` is a URL whose login and database don't count."""

    trust_domain: str
    compartments: tuple[str, ...]
    key_server: str
    mount: str
    postgres: str
    capability_keys: Sequence[str] = ()
    checkpoint_keys: Sequence[str] = ()
    signing_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by compartment


def files(deployment: Deployment) -> dict[str, str]:
    """Write the files, by their paths. Raises KeyServerError or RoleError for names that clash."""
    compartments = deployment.compartments
    parts = processes(compartments)
    written = {"README.md": readme(parts)}
    for name, content in key_server_files(compartments, deployment.mount).items():
        written[f"key-server/{name}"] = content
    for name, content in postgresql_files(compartments).items():
        written[f"postgresql/{name}"] = content
    for process in parts:
        tree = settings([process], _place(deployment))
        head = _HEAD.format(title=_title(process), trust_domain=deployment.trust_domain)
        written[f"piivault-{process.name}.toml"] = toml(tree, head)
    return written


def _title(process: Process) -> str:
    if process.role == "worker":
        return f"The worker of {', '.join(process.compartments)}"
    return f"The process {process.name}"


def _place(deployment: Deployment) -> Place:
    database_of = {role.name: role.database for role in roles(deployment.compartments)}

    def database(role: str) -> Section:
        url = entrance(deployment.postgres, role, database_of[role])
        return {"url": url, "password_file": f"{SECRETS}/{role}.password"}

    def login(name: str) -> Section:
        return {
            "method": "approle",
            "role_id_file": f"{SECRETS}/{name}.role-id",
            "secret_id_file": f"{SECRETS}/{name}.secret-id",
        }

    return Place(
        server={
            "address": "0.0.0.0:8443",
            "certificate": "server.pem",
            "private_key": "server.key",
            "client_ca": "clients-ca.pem",
        },
        key_server={
            "address": deployment.key_server,
            "ca": "key-server-ca.pem",
            "mount": deployment.mount,
        },
        databases=database,
        login=login,
        capability_keys=deployment.capability_keys,
        checkpoint_keys=deployment.checkpoint_keys,
        signing_keys=deployment.signing_keys,
    )
