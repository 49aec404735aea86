"""The configuration of a process: its own logins and databases, and no other's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vault.keys.provision import (
    BROKERS_AUDIT_KEY,
    audit_transit_key,
    signing_transit_key,
    transit_key,
)
from vault.names import BROKER
from vault.setup.processes import Process

Section = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """What a process finds where it runs, as `vault.config` reads it.

    `databases` has the section of each database role, `login` returns that of a login at the key
    server. Paths are relative to the folder of the file that this goes into.
    """

    server: Section  # address, certificate, private_key, client_ca
    key_server: Section  # address, ca
    databases: Callable[[str], Section]
    login: Callable[[str], Section]
    officers: Sequence[Section] = ()
    capability_keys: Sequence[str] = ()
    identity_providers: Sequence[Section] = ()
    checkpoint_keys: Sequence[str] = ()
    signing_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by compartment
    development: bool = False


def settings(played: Iterable[Process], place: Place) -> dict[str, Any]:
    """Build what `vault.config.Settings` reads, for one process; in development, for several."""
    played = tuple(played)
    server = {**place.server, "roles": list(dict.fromkeys(p.role for p in played))}
    tree: dict[str, Any] = {
        "capability_keys": list(place.capability_keys),
        "officers": [dict(officer) for officer in place.officers],
        "server": server | ({"development": True} if place.development else {}),
        "control": place.databases(played[0].control_role),
        "compartments": {},
    }
    for process in played:
        if process.login is None:
            continue
        login = place.login(process.login)
        tree["key_server"] = place.key_server
        if process.role == "worker":
            for name in process.compartments:
                tree["compartments"][name] = _compartment(process, name, login, place)
        elif process.role == "auditor":
            tree["auditor"] = _auditor(process, login, place)
        else:
            tree["broker"] = {"login": login, **_brokers_trail(process, place)}
            if place.identity_providers:
                tree["broker"]["identity_providers"] = list(place.identity_providers)
    return tree


def _compartment(process: Process, name: str, login: Section, place: Place) -> Section:
    return {
        "transit_key": transit_key(name),
        "audit_transit_key": audit_transit_key(name),
        "signing_transit_key": signing_transit_key(name),
        "signing_keys": list(place.signing_keys.get(name, ())),
        "database": place.databases(process.database_role(name)),
        "login": login,
    }


def _auditor(process: Process, login: Section, place: Place) -> Section:
    return {
        "checkpoint_keys": list(place.checkpoint_keys),
        "ship_stdout": not place.development,
        "login": login,
        "compartments": _audited(process, place),
        "broker": _brokers_trail(process, place),
    }


def _brokers_trail(process: Process, place: Place) -> Section:
    return {
        "audit_transit_key": BROKERS_AUDIT_KEY,
        "database": place.databases(process.database_role(BROKER)),
    }


def _audited(process: Process, place: Place) -> Section:
    return {
        name: {
            "audit_transit_key": audit_transit_key(name),
            "database": place.databases(process.database_role(name)),
        }
        for name in process.compartments
    }
