"""Env files, to be sourced by a shell: how a service or an officer asks the stack's servers.

Services ask workers and the broker. Officers ask control, the auditor, and workers about their
keys.
"""

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from vault.dev.configuration import HEAD
from vault.dev.layout import Layout
from vault.dev.plan import Plan, Server

Variables = Mapping[str, str | Path]

_BROKER, _AUDITOR = "PIIVAULT_BROKER_ADDRESS", "PIIVAULT_AUDITOR_ADDRESS"


def write(
    layout: Layout,
    plan: Plan,
    servers: Mapping[str, Server],
    signing_keys: Mapping[str, Sequence[str]],
    key_server: Variables,
    tokens: Mapping[str, Path],
) -> dict[str, Path]:
    """Write `env/NAME.env` for each service and `officer-NAME`; return the files by these names.

    `signing_keys` are compartments'; `tokens` are what officers show to the key server, by name.
    """
    addresses = _addresses(servers)
    found = {
        name: _write(
            layout,
            name,
            {
                **{k: v for k, v in addresses.items() if k != _AUDITOR},
                **{_of(c, "SIGNING_KEYS"): ",".join(keys) for c, keys in signing_keys.items()},
                **_certified(layout, f"service-{name}"),
            },
        )
        for name in plan.services
    }
    for name in plan.officers:
        officer = f"officer-{name}"
        variables = {
            **{k: v for k, v in addresses.items() if k != _BROKER},
            **_certified(layout, officer),
            "PIIVAULT_OFFICER": name,
            "PIIVAULT_SIGNING_KEY": layout.path("officers", f"{name}.pem"),
            **key_server,
            "PIIVAULT_TOKEN_FILE": tokens[name],
        }
        found[officer] = _write(layout, officer, variables)
    return found


def _addresses(servers: Mapping[str, Server]) -> dict[str, str]:
    """Say where the SDK finds what: at one address, or each process at its own."""
    first, *others = servers.values()
    found = {"PIIVAULT_ADDRESS": first.address}
    for server in others:
        for compartment in server.compartments:
            found[_of(compartment, "ADDRESS")] = server.address
        if any(process.role == "broker" for process in server.played):
            found[_BROKER] = server.address
        if any(process.role == "auditor" for process in server.played):
            found[_AUDITOR] = server.address
    return found


def _of(compartment: str, what: str) -> str:
    """Name a variable of a compartment."""
    return f"PIIVAULT_COMPARTMENT_{compartment.upper().replace('-', '_')}_{what}"


def _certified(layout: Layout, name: str) -> Variables:
    return {
        "PIIVAULT_CA": layout.path("ca.pem"),
        "PIIVAULT_CERTIFICATE": layout.path("certificates", f"{name}.pem"),
        "PIIVAULT_PRIVATE_KEY": layout.path("certificates", f"{name}.key"),
    }


def _write(layout: Layout, name: str, variables: Variables) -> Path:
    lines = [f"export {key}={shlex.quote(str(value))}" for key, value in variables.items()]
    file = layout.path("env", f"{name}.env")
    return layout.write(file, HEAD + f"# Use it:  . {file}\n" + "\n".join(lines) + "\n")
