"""What the stack writes for others to read: `piivault.toml` and the env files."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vault.dev.layout import Layout
from vault.keys.provision import BROKER, audit_transit_key, transit_key, worker
from vault.names import to_base64url

HEAD = "# Written by `piivault dev` at each start: what you change here is lost.\n"


def login(name: str) -> dict[str, str]:
    """Name the AppRole's two files as `piivault.toml` does."""
    return {
        "role_id_file": f"approles/{name}.role-id",
        "secret_id_file": f"approles/{name}.secret-id",
    }


def settings(
    *,
    address: str,
    key_server: str,
    databases: Mapping[str, Mapping[str, str]],
    officers: Mapping[str, tuple[bytes, str]],
    capability_keys: Mapping[int, bytes],
) -> dict[str, Any]:
    """Build what `vault.config.Settings` reads: one process with every role.

    `databases` has one entry a compartment and one for "control"; `officers` maps a name to a
    public key and a SPIFFE id. Paths are relative to the state folder.
    """
    compartments = {
        name: {
            "transit_key": transit_key(name),
            "audit_transit_key": audit_transit_key(name),
            "database": database,
            "login": login(worker(name)),
        }
        for name, database in databases.items()
        if name != "control"
    }
    return {
        "capability_keys": [to_base64url(key) for key in capability_keys.values()],
        "server": {
            "address": address,
            "roles": ["worker", "broker", "control", "auditor"],
            "development": True,
            "certificate": "certificates/server.pem",
            "private_key": "certificates/server.key",
            "client_ca": "ca.pem",
        },
        "key_server": {"address": key_server, "ca": "openbao/listener.pem"},
        "control": databases["control"],
        "broker": {"login": login(BROKER)},
        "officers": [
            {"name": name, "public_key": to_base64url(key), "spiffe": spiffe}
            for name, (key, spiffe) in officers.items()
        ],
        "compartments": compartments,
    }


def toml(tree: Mapping[str, Any]) -> str:
    """Write tables of strings, numbers, booleans, lists and tables as TOML."""
    return HEAD + "\n".join(_table(tree, ())) + "\n"


def _table(tree: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    inner = {key: value for key, value in tree.items() if isinstance(value, Mapping)}
    own = [f"{key} = {_value(value)}" for key, value in tree.items() if key not in inner]
    # Keys need no quotes: names in an edition have letters, digits, - and _ alone.
    lines = [f"\n[{'.'.join(path)}]", *own] if path and own else own
    for key, value in inner.items():
        lines += _table(value, (*path, key))
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{k} = {_value(v)}' for k, v in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)  # TOML writes these three as JSON does


def write_env(layout: Layout, name: str, variables: Mapping[str, str | Path]) -> Path:
    """Write `env/NAME.env`, to be sourced by a shell."""
    lines = [f"export {key}={shlex.quote(str(value))}" for key, value in variables.items()]
    file = layout.path("env", f"{name}.env")
    return layout.write(file, HEAD + f"# Use it:  . {file}\n" + "\n".join(lines) + "\n")
