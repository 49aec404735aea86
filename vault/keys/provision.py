"""Set a key server up: Transit keys, one policy and one AppRole for each process.

    ids = provision(admin, ["accounts", "orders"])
    ids["piivault-worker-accounts"].role_id

Everything may be run again: what is there is checked, what is missing is made, nothing is
changed that others rely on. Processes may use keys (`update`), never make them (`create`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from vault.keys.errors import KeyNotFound, KeyServerError
from vault.keys.transit import Transit

PSEUDONYM_KEY = "piivault-pseudonym"
CAPABILITY_KEY = "piivault-capability"
AUDIT_KEY = "piivault-audit"
BROKERS_AUDIT_KEY = "piivault.broker"  # as no compartment's: theirs begin with piivault-
BROKER = "piivault-broker"
AUDITOR = "piivault-auditor"
OFFICER = "piivault-officer"  # a policy alone: officers log in as people do

_MINIMUM_VERSIONS = """\
path "{path}" {{
  capabilities = ["update"]
  allowed_parameters = {{
    "min_decryption_version" = []
    "min_encryption_version" = []
  }}
}}
"""

TOKEN_TTL = 3600  # seconds; renewed at two thirds
TOKEN_MAX_TTL = 24 * 3600  # seconds; then a new login

# Derived: the context of each call decides what it can open. HMAC and ed25519 keys can do nothing
# but what their names say.
_COMPARTMENT = {"type": "aes256-gcm96", "derived": True}
_SIGNING = {"type": "ed25519", "derived": False}
_OWN: Mapping[str, Mapping[str, Any]] = {
    PSEUDONYM_KEY: {"type": "hmac", "derived": False, "key_size": 32},
    CAPABILITY_KEY: _SIGNING,
    AUDIT_KEY: _SIGNING,
    BROKERS_AUDIT_KEY: _COMPARTMENT,
}
_NEVER_LEAVES = {"exportable": False, "allow_plaintext_backup": False}


@dataclass(frozen=True, slots=True)
class AppRoleIds:
    """What a process logs in with."""

    role_id: str
    secret_id: str = field(repr=False)


def transit_key(compartment: str) -> str:
    """Name the Transit key of a compartment."""
    return f"piivault-{compartment}"


def audit_transit_key(compartment: str) -> str:
    """Name the Transit key that wraps a compartment's audit-data keys, and nothing else.

    A key of its own, so that the auditor opens the trail and no data. No compartment's name has
    a dot in it, so no two of these names clash.
    """
    return f"piivault-{compartment}.audit"


def signing_transit_key(compartment: str) -> str:
    """Name the Transit key that signs what subjects of a compartment are handed."""
    return f"piivault-{compartment}.signing"


def worker(compartment: str) -> str:
    """Name the AppRole and the policy of the worker of a compartment."""
    return f"piivault-worker-{compartment}"


def policies(compartments: Iterable[str], mount: str = "transit") -> dict[str, str]:
    """Write the key-server policy (HCL) of every process, by its name. Pure."""
    compartments = tuple(compartments)
    written = {
        worker(c): worker_policy(_keys_of(c), mount, signing_transit_key(c)) for c in compartments
    }
    written[BROKER] = _policy(
        {
            f"{mount}/hmac/{PSEUDONYM_KEY}": "update",
            f"{mount}/sign/{CAPABILITY_KEY}": "update",
            f"{mount}/keys/{CAPABILITY_KEY}": "read",
            f"{mount}/datakey/wrapped/{BROKERS_AUDIT_KEY}": "update",
            f"{mount}/decrypt/{BROKERS_AUDIT_KEY}": "update",
        }
    )
    wrapping = (*map(audit_transit_key, compartments), BROKERS_AUDIT_KEY)
    written[AUDITOR] = _policy(
        {f"{mount}/decrypt/{key}": "update" for key in wrapping}
        | {f"{mount}/sign/{AUDIT_KEY}": "update", f"{mount}/keys/{AUDIT_KEY}": "read"}
    )
    return written


def worker_policy(keys: Iterable[str], mount: str = "transit", signing: str = "") -> str:
    """Let a worker draw, wrap and unwrap under its keys, and sign with one; nothing else."""
    uses = ("datakey/wrapped", "encrypt", "decrypt", "rewrap")
    rules = {f"{mount}/{use}/{key}": "update" for key in keys for use in uses}
    if signing:
        rules |= {f"{mount}/sign/{signing}": "update", f"{mount}/keys/{signing}": "read"}
    return _policy(rules)


def officer_policy(compartments: Iterable[str], mount: str = "transit") -> str:
    """Let an officer rotate keys and trim old versions away; use none. Pure.

    Each key by its name: the pseudonym key isn't among them, since it is never rotated. Of a key's
    configuration only the minimum versions: not that it may be exported, or deleted.
    """
    compartments = tuple(compartments)
    keys = [key for c in compartments for key in _keys_of(c)]
    rotated = (*keys, *map(signing_transit_key, compartments), CAPABILITY_KEY)
    rules = {f"{mount}/keys/{key}": "read" for key in rotated}
    rules |= {f"{mount}/keys/{key}/rotate": "update" for key in rotated}
    rules |= {f"{mount}/keys/{key}/trim": "update" for key in keys}
    configuring = (_MINIMUM_VERSIONS.format(path=f"{mount}/keys/{key}/config") for key in keys)
    return "\n".join((_policy(rules), *configuring))


def transit_keys(compartments: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the Transit keys that there must be, with what each is made with. Pure.

    Raises KeyServerError if a compartment's name clashes with a key of piivault's own.
    """
    compartments = tuple(compartments)
    wanted = {name: _COMPARTMENT for c in compartments for name in _keys_of(c)}
    wanted |= {signing_transit_key(c): _SIGNING for c in compartments}
    if taken := wanted.keys() & _OWN.keys():
        raise KeyServerError(
            f"a compartment's key would be called {min(taken)}, which is piivault's own."
            " Give the compartment another name."
        )
    return {name: {**fields, **_NEVER_LEAVES} for name, fields in {**wanted, **_OWN}.items()}


def app_role(name: str) -> dict[str, Any]:
    """Return what the AppRole of a process is made with. Pure."""
    return {
        "token_policies": [name],
        "token_no_default_policy": True,
        "token_ttl": TOKEN_TTL,
        "token_max_ttl": TOKEN_MAX_TTL,
        "token_type": "service",  # batch tokens can't be renewed
        "secret_id_num_uses": 0,
    }


def provision(
    admin: Transit,
    compartments: Iterable[str],
    known: Mapping[str, str] | None = None,
    told: Callable[[str], None] = lambda change: None,
) -> dict[str, AppRoleIds]:
    """Set up everything and return what each process logs in with, by AppRole.

    `known` maps an AppRole to a secret id that it has already: kept if it still holds. `told` hears
    of every change, in words. Raises KeyServerError where something is in the way; nothing is
    overwritten then.
    """
    compartments = tuple(compartments)
    keys = transit_keys(compartments)
    _mount(admin, told)
    for key, wanted in keys.items():
        _key(admin, key, wanted, told)
    officers = {"policy": officer_policy(compartments, admin.mount)}
    _ensure(admin, f"sys/policies/acl/{OFFICER}", officers, told)
    ids = {}
    for name, policy in policies(compartments, admin.mount).items():
        _ensure(admin, f"sys/policies/acl/{name}", {"policy": policy}, told)
        _ensure(admin, f"auth/approle/role/{name}", app_role(name), told)
        ids[name] = _app_role_ids(admin, name, (known or {}).get(name), told)
    return ids


def _policy(rules: Mapping[str, str]) -> str:
    """HCL, with the right to keep one's own token; the default policy is left out."""
    own = {
        "auth/token/lookup-self": "read",
        "auth/token/renew-self": "update",
        "auth/token/revoke-self": "update",
    }
    blocks = (f'path "{p}" {{\n  capabilities = ["{c}"]\n}}\n' for p, c in {**rules, **own}.items())
    return "\n".join(blocks)


def _keys_of(compartment: str) -> tuple[str, str]:
    return transit_key(compartment), audit_transit_key(compartment)


def _mount(admin: Transit, told: Callable[[str], None]) -> None:
    for kind, path, name in (("mounts", admin.mount, "transit"), ("auth", "approle", "approle")):
        if f"{path}/" not in admin.read(f"sys/{kind}")["data"]:
            admin.write(f"sys/{kind}/{path}", type=name)
            told(f"mounted {name} at {path}/")
    # A second lock on the door: even a login with `create` makes no key by encrypting.
    _ensure(admin, f"{admin.mount}/config/keys", {"disable_upsert": True}, told)


def _ensure(
    admin: Transit, path: str, wanted: Mapping[str, Any], told: Callable[[str], None]
) -> None:
    """Write a path unless it says so already."""
    try:
        found = admin.read(path)["data"]
    except KeyNotFound:
        found = {}
    if any(found.get(name) != value for name, value in wanted.items()):
        admin.write(path, **wanted)
        told(f"wrote {path}")


def _key(admin: Transit, key: str, wanted: Mapping[str, Any], told: Callable[[str], None]) -> None:
    path = f"{admin.mount}/keys/{key}"
    try:
        found = admin.read(path)["data"]
    except KeyNotFound:  # confirmed: only then is a key made
        admin.write(path, **wanted)
        told(f"made the key {key}")
        found = admin.read(path)["data"]
    expected = {name: value for name, value in wanted.items() if name != "key_size"}
    expected["deletion_allowed"] = False
    differing = [name for name, value in expected.items() if found.get(name) != value]
    if differing:
        raise KeyServerError(
            f"the key {key} is there, but not as it should be: {', '.join(differing)}."
            " Find out who made it; take another mount if it isn't piivault's."
        )


def _app_role_ids(
    admin: Transit, name: str, known: str | None, told: Callable[[str], None]
) -> AppRoleIds:
    path = f"auth/approle/role/{name}"
    role_id = admin.read(f"{path}/role-id")["data"]["role_id"]
    if known and admin.write(f"{path}/secret-id/lookup", secret_id=known).get("data"):
        return AppRoleIds(role_id, known)
    told(f"issued a secret id for {name}")
    return AppRoleIds(role_id, admin.write(f"{path}/secret-id")["data"]["secret_id"])
