"""The configuration of the stack's servers: `piivault*.toml`."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from vault.dev.layout import Layout
from vault.names import to_base64url
from vault.setup.configuration import Place, Section, settings
from vault.setup.processes import Process
from vault.setup.toml import toml

HEAD = "# Written by `piivault dev` at each start: what you change here is lost.\n"


def login(name: str) -> dict[str, str]:
    """Name the AppRole's two files as `piivault.toml` does."""
    return {
        "method": "approle",
        "role_id_file": f"approles/{name}.role-id",
        "secret_id_file": f"approles/{name}.secret-id",
    }


def place(
    *,
    address: str,
    key_server: str,
    databases: Mapping[str, Section],
    officers: Mapping[str, tuple[bytes, str]],
    capability_keys: Mapping[int, bytes],
    checkpoint_keys: Mapping[int, bytes],
    signing_keys: Mapping[str, Sequence[str]],
    identity_providers: Sequence[Section] = (),
    certificate: str = "server",
    development: bool = True,
) -> Place:
    """Say what a process finds in the state folder; paths are relative to it.

    `databases` has a section for each database role; `officers` maps a name to a public key and a
    SPIFFE id.
    """
    return Place(
        server={
            "address": address,
            "certificate": f"certificates/{certificate}.pem",
            "private_key": f"certificates/{certificate}.key",
            "client_ca": "ca.pem",
        },
        key_server={"address": key_server, "ca": "openbao/listener.pem"},
        databases=databases.__getitem__,
        login=login,
        officers=[
            {"name": name, "public_key": to_base64url(key), "spiffe": spiffe}
            for name, (key, spiffe) in officers.items()
        ],
        capability_keys=[to_base64url(key) for key in capability_keys.values()],
        identity_providers=identity_providers,
        checkpoint_keys=[to_base64url(key) for key in checkpoint_keys.values()],
        signing_keys=signing_keys,
        development=development,
    )


def write(layout: Layout, name: str, played: Iterable[Process], found: Place) -> Path:
    """Write `NAME.toml`, by which a process plays these parts."""
    return layout.write(layout.path(f"{name}.toml"), toml(settings(played, found), HEAD))
