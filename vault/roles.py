"""What each role may hold: a process that has more of it doesn't start.

Everything here is refused outside development alone, where one process may play all roles.
`apart` and `while_joinable` take editions; the rest is plain from the configuration.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from urllib.parse import urlsplit

from vault.config import Compartment, Role, Settings
from vault.errors import Reason, VaultError
from vault.names import BROKER
from vault.policy import Edition
from vault.service.call import PolicyState
from vault.store.rights import Rights

log = logging.getLogger("piivault.app")

# Why a role is played alone.
_ALONE: Mapping[Role, str] = {
    "auditor": "An auditor opens trails and signs checkpoints, and never holds data keys",
    "broker": "A broker meets root ids",
    "control": "Control publishes editions, and holds no keys and no data of a compartment",
}

# What else in the configuration belongs to a role: others have no use for it but a breach.
_SECTIONS: Sequence[tuple[str, frozenset[Role], Callable[[Settings], object]]] = (
    ("compartments", frozenset({"worker"}), lambda s: s.compartments),
    ("broker", frozenset({"broker"}), lambda s: s.broker),
    ("auditor", frozenset({"auditor"}), lambda s: s.auditor),
    ("key_server", frozenset({"worker", "broker", "auditor"}), lambda s: s.key_server),
)

# What two compartments never share, even in one process: each is a wall.
_OWN: Sequence[tuple[str, Callable[[Compartment], object]]] = (
    ("login", lambda c: c.login),
    ("transit_key", lambda c: c.transit_key),
    ("audit_transit_key", lambda c: c.audit_transit_key),
    ("signing_transit_key", lambda c: c.signing_transit_key),
    ("database", lambda c: c.database.url),
    ("database role", lambda c: urlsplit(c.database.url).username),
)

_STATIC_SEAL = (
    "The key server has a static seal: whoever has its disk has its keys. Let it be unsealed by "
    "shares of a key, by a hardware module or by a cloud's key service."
)


def faults(settings: Settings) -> list[str]:
    """Return all that forbids a process with these settings to start."""
    missing = list(_missing(settings))
    return missing if settings.server.development else [*missing, *_too_much(settings)]


def held(settings: Settings, edition: Edition) -> Mapping[str, bytes]:
    """Return the uuids of a process's compartments by the names that it has for them.

    None in development. One that nobody knows yet has no uuid, and is joinable with nothing.
    """
    if settings.server.development:
        return {}
    own = {name: c.uuid.bytes if c.uuid else b"" for name, c in settings.compartments.items()}
    known = {name: edition.compartments[name].uuid for name in own if name in edition.compartments}
    return {**own, **known}


def apart(uuids: Mapping[str, bytes], edition: Edition) -> list[str]:
    """Return what forbids one process to hold these compartments together."""
    names = {uuid: compartment.name for uuid, compartment in edition.by_uuid.items()}
    pairs = [
        f"{a} and {b}"
        for a, b in combinations(sorted(uuids), 2)
        if frozenset((names.get(uuids[a]), names.get(uuids[b]))) not in edition.joinable
    ]
    if not pairs:
        return []
    found = f"This process would hold compartments that aren't joinable: {', '.join(pairs)}."
    return [f"{found} Serve them from processes of their own."]


def while_joinable(
    state: Callable[[], PolicyState], uuids: Mapping[str, bytes]
) -> Callable[[], PolicyState]:
    """Return `state` that refuses once the edition in force keeps a process's compartments apart.

    Each edition is judged when it comes in force, and once. What the process holds in memory it
    could still put together, so it serves none of them until it is started anew without, or an
    edition declares the pair again. Raises VaultError(POLICY_UNAVAILABLE).
    """
    judged: Edition | None = None
    found: list[str] = []

    def checked() -> PolicyState:
        nonlocal judged, found
        policy = state()
        if policy.current is not judged:
            judged, found = policy.current, apart(uuids, policy.current)
            for fault in found:
                log.error(
                    "edition %d is in force, and nothing is served here any more: %s",
                    judged.number,
                    fault,
                )
        if found:
            raise VaultError(
                Reason.POLICY_UNAVAILABLE,
                f"Edition {policy.current.number} keeps compartments apart that this process "
                "serves together, so it serves none. Tell its operators to start one for each.",
            )
        return policy

    return checked


def seal_faults(seal_type: str, settings: Settings) -> list[str]:
    """Return what is wrong with a key server that is sealed in this way."""
    if settings.server.development or seal_type != "static":
        return []
    return [_STATIC_SEAL]


def control_rights(roles: frozenset[Role]) -> Rights:
    """Return what a process with these roles may do in the control database."""
    if "control" in roles:
        return Rights.CONTROL
    return Rights.HISTORY if "worker" in roles else Rights.READER


def _missing(settings: Settings) -> Iterator[str]:
    audited = settings.auditor.compartments if settings.auditor else {}
    if BROKER in settings.compartments or BROKER in audited:
        yield (
            f"No compartment can be called {BROKER}: that is the name of the broker's own trail, "
            "which has sections of its own, [broker] and [auditor.broker]. Rename the compartment."
        )
    for role in sorted(settings.server.roles):
        for name, users, section in _SECTIONS:
            if role in users and not section(settings):
                yield f"The role {role} needs a section [{name}] in the configuration."


def _too_much(settings: Settings) -> Iterator[str]:
    roles = settings.server.roles
    for role, why in _ALONE.items():
        if role in roles and len(roles) > 1:
            yield (
                f"{why}: it plays no other role outside development. "
                "Run it as a process of its own."
            )
    for name, users, section in _SECTIONS:
        if section(settings) and not roles & users:
            yield (
                f"The configuration has a section [{name}], which is no business of the role "
                f"{' and '.join(sorted(roles))}. Take it out."
            )
    for what, own in _OWN:
        yield from _shared(what, {name: own(c) for name, c in settings.compartments.items()})


def _shared(what: str, found: Mapping[str, object]) -> Iterator[str]:
    by_value: dict[object, list[str]] = {}
    for name, value in found.items():
        if value is not None:
            by_value.setdefault(value, []).append(name)
    for names in by_value.values():
        if len(names) > 1:
            yield f"{' and '.join(names)} have the same {what}. Give each its own."
