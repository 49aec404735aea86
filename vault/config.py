"""Configuration: one TOML file, overridden by the environment, frozen once read.

    settings = load(Path("piivault.toml"), os.environ)

A variable PIIVAULT__SERVER__ADDRESS overrides `address` in `[server]`; two underscores
lead and separate. Keys that nobody knows are refused. Paths are relative to the file's folder.
Secrets stand in files of their own and are named here, never written here.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

from vault.crypto.assertion import Algorithm, read_public_key
from vault.names import BROKER, NAME
from vault.service.places import MOST_CALLS, MOST_RECORDS

ENVIRONMENT_PREFIX = "PIIVAULT__"
_SQLITE = "sqlite+aiosqlite:///"

Role = Literal["worker", "broker", "control", "auditor"]


class ConfigError(Exception):
    """The configuration can't be used; the message says where and why, all faults at once."""


def _resolve(value: Any, info: ValidationInfo) -> Any:
    base = (info.context or {}).get("base")
    return base / value if base and isinstance(value, str) else value


def _resolve_url(value: Any, info: ValidationInfo) -> Any:
    base = (info.context or {}).get("base")
    if base and isinstance(value, str) and value.startswith(_SQLITE):
        return _SQLITE + str(base / value.removeprefix(_SQLITE))
    return value


File = Annotated[Path, BeforeValidator(_resolve)]
Url = Annotated[str, BeforeValidator(_resolve_url)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class AppRoleLogin(_Section):
    """A login at the key server by AppRole; files are read anew at each login."""

    method: Literal["approle"]
    role_id_file: File
    secret_id_file: File
    mount: str = "approle"


class JwtLogin(_Section):
    """A login by a JWT of an identity provider, which keeps the file fresh."""

    method: Literal["jwt"]
    role: str
    jwt_file: File
    mount: str = "jwt"


class KubernetesLogin(_Section):
    """A login by the token of the pod's service account."""

    method: Literal["kubernetes"]
    role: str
    jwt_file: File = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
    mount: str = "kubernetes"


class TokenLogin(_Section):
    """A token of the key server that somebody else keeps fresh, such as its agent."""

    method: Literal["token"]
    token_file: File


Login = Annotated[
    AppRoleLogin | JwtLogin | KubernetesLogin | TokenLogin, Field(discriminator="method")
]
_METHODS = ("approle", "jwt", "kubernetes", "token")


class Server(_Section):
    """The process: what it serves, where, and as whom."""

    address: str = "127.0.0.1:8443"
    roles: Annotated[frozenset[Role], Field(min_length=1)]
    development: bool = False
    certificate: File
    private_key: File
    client_ca: File
    default_deadline: Annotated[float, Field(gt=0, le=60)] = 5.0  # seconds, if the caller set none
    edition_stale_after: Annotated[float, Field(ge=5)] = 30.0  # seconds without a confirmation
    find_per_second: Annotated[float, Field(gt=0)] = 10.0  # for each service and compartment
    pages_per_second: Annotated[float, Field(gt=0)] = 1.0  # of lists, likewise
    # What is denied more often is counted in the trail, not stored one by one; likewise for each.
    denials_per_second: Annotated[float, Field(ge=1)] = 50.0
    # Beyond these, OVERLOADED, before any work: calls of services at once, and in each compartment
    # records at once, those of batches and streams too; one service has three quarters of each.
    most_calls: Annotated[int, Field(ge=1)] = MOST_CALLS
    most_records: Annotated[int, Field(ge=1)] = MOST_RECORDS


class KeyServer(_Section):
    """HashiCorp Vault or OpenBao."""

    address: Annotated[str, Field(pattern=r"^https://")]  # a plaintext port is refused
    ca: File
    mount: str = "transit"
    timeout: Annotated[float, Field(gt=0)] = 2.0  # seconds, a call
    ask_interval: Annotated[float, Field(gt=0)] = 10.0  # seconds between looks whether it answers
    snapshot_retention_days: Annotated[int, Field(ge=0)] | None = None  # how long any is kept


class Database(_Section):
    """Where rows are kept: `postgresql+asyncpg://…` or `sqlite+aiosqlite:///FILE`."""

    url: Url
    password_file: File | None = None


class Officer(_Section):
    """A person of the security or privacy team, by the key that signs editions."""

    name: Annotated[str, Field(pattern=f"^{NAME.pattern}$")]
    public_key: str  # ed25519, 32 bytes in base64url
    spiffe: Annotated[str, Field(pattern=r"^spiffe://")] | None = None


class IdentityKey(_Section):
    """A public key of an identity provider; nothing that signs is taken from anywhere else."""

    id: Annotated[str, Field(min_length=1)]  # `kid` in what it signs
    algorithm: Algorithm
    public_key: str  # PEM

    @model_validator(mode="after")
    def _check(self) -> Self:
        try:
            read_public_key(self.algorithm, self.public_key)
        except ValueError as e:
            fault = {"fault": str(e)}
            raise PydanticCustomError("public_key", "public_key {fault}", fault) from None
        return self


class IdentityProvider(_Section):
    """Who may say that a subject is there, where the edition asks for that."""

    issuer: Annotated[str, Field(min_length=1)]  # `iss`, letter by letter
    audience: Annotated[str, Field(min_length=1)] = "piivault"
    keys: tuple[IdentityKey, ...]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.keys:
            raise PydanticCustomError("keys", "keys has none: pin those that it signs with")
        if len({key.id for key in self.keys}) < len(self.keys):
            raise PydanticCustomError("keys", "two keys have the same id: give each its own")
        if self.audience.startswith("spiffe://"):
            raise PydanticCustomError("audience", "audience is piivault's name, and no service's")
        return self


def _distinct(providers: tuple[IdentityProvider, ...]) -> tuple[IdentityProvider, ...]:
    if len({provider.issuer for provider in providers}) < len(providers):
        raise PydanticCustomError("issuers", "two have the same issuer: make them one")
    return providers


class Broker(_Section):
    """The broker's own keys and trail; never on a worker outside development."""

    login: Login
    database: Database  # of its own trail, and of nothing else
    audit_transit_key: str = "piivault.broker"
    pseudonym_key: str = "piivault-pseudonym"
    capability_key: str = "piivault-capability"
    capability_ttl: Annotated[int, Field(gt=0, le=24 * 3600)] = 900  # seconds
    identity_providers: Annotated[tuple[IdentityProvider, ...], AfterValidator(_distinct)] = ()


class Compartment(_Section):
    """One compartment as this process serves it.

    `uuid` is for one that no edition has yet: it is provisioned first, then published.
    """

    uuid: UUID | None = None
    database: Database
    login: Login
    transit_key: str
    audit_transit_key: str
    signing_transit_key: str  # signs what subjects are handed
    signing_keys: tuple[str, ...] = ()  # its public halves, 32 bytes each in base64url
    sweep_interval: Annotated[float, Field(gt=0)] = 600.0  # seconds between looks at retention
    key_soft_ttl: Annotated[float, Field(gt=0)] = 300.0  # seconds
    key_hard_ttl: Annotated[float, Field(gt=0)] = 3600.0  # seconds
    key_poll: Annotated[float, Field(gt=0)] = 2.0  # seconds between looks at the keys' states
    key_stale_after: Annotated[float, Field(gt=0)] = 10.0  # seconds; then keys serve no more
    rotation_rows_per_second: Annotated[float, Field(gt=0)] = 1000.0  # at most, beside the traffic


class AuditedCompartment(_Section):
    """One compartment as the auditor reads it."""

    database: Database
    audit_transit_key: str


class Thresholds(_Section):
    """What one service may do in one compartment within `window` seconds before it is an alarm."""

    subjects: Annotated[int, Field(gt=0)] = 300  # whose data it saw
    reveals: Annotated[int, Field(gt=0)] = 3000
    denials: Annotated[int, Field(gt=0)] = 100


class Watched(Thresholds):
    """When the auditor raises an alarm; times in seconds."""

    window: Annotated[float, Field(gt=0, le=3600)] = 60.0
    services: Mapping[str, Thresholds] = {}  # those that have thresholds of their own
    checkpoint_overdue: Annotated[float, Field(gt=0)] = 300.0  # while events wait for one
    old_edition: Annotated[float, Field(ge=5)] = 60.0  # since a newer one is in force
    again: Annotated[float, Field(gt=0)] = 600.0  # until what lasts is an alarm once more


class Metrics(_Section):
    """Counts for Prometheus, as a file for the node exporter's textfile collector."""

    file: File
    interval: Annotated[float, Field(ge=0.1)] = 10.0  # seconds between writings


class Auditor(_Section):
    """The auditor: every trail, by a login that opens nothing else."""

    login: Login
    compartments: Annotated[Mapping[str, AuditedCompartment], Field(min_length=1)]
    broker: AuditedCompartment | None = None  # the broker's own trail
    key_stale_after: Annotated[float, Field(gt=0)] = 10.0  # seconds; then it looks at states anew
    signing_key: str = "piivault-audit"  # of Transit; signs checkpoints
    checkpoint_keys: tuple[str, ...] = ()  # its public halves, 32 bytes each in base64url
    checkpoint_events: Annotated[int, Field(gt=0)] = 10_000  # a checkpoint after so many events,
    checkpoint_interval: Annotated[float, Field(gt=0)] = 60.0  # or, if there are any, seconds
    ship_file: File | None = None  # checkpoints are appended here, besides their databases
    ship_stdout: bool = False  # and written to standard output, a JSON object a line
    keep_days: Annotated[int, Field(gt=0)] | None = None  # older events may be cut off
    alarm_file: File | None = None  # alarms are appended here; on standard output as checkpoints
    thresholds: Watched = Watched()

    @property
    def trails(self) -> Mapping[str, AuditedCompartment]:
        """Every trail by its name: the compartments', and the broker's if it is audited."""
        return {**self.compartments, **({BROKER: self.broker} if self.broker else {})}


class Settings(_Section):
    """All of it. Which sections a process may have depends on its roles: see `vault.roles`."""

    server: Server
    key_server: KeyServer | None = None  # control needs none
    control: Database
    officers: tuple[Officer, ...]
    capability_keys: tuple[str, ...] = ()  # ed25519 public keys, 32 bytes each in base64url
    broker: Broker | None = None
    auditor: Auditor | None = None
    metrics: Metrics | None = None
    compartments: Mapping[str, Compartment] = {}


def load(file: Path, environment: Mapping[str, str]) -> Settings:
    """Read, override and check; raise ConfigError with every fault in it."""
    try:
        tree = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as e:
        raise ConfigError(
            f"{file}: {e.strerror}. Name the configuration with --config or PIIVAULT_CONFIG; "
            "`piivault dev` writes .piivault/piivault.toml, and `piivault setup` one a process."
        ) from None
    except ValueError as e:
        raise ConfigError(f"{file}: {e}") from None
    for name, value in environment.items():
        if name.startswith(ENVIRONMENT_PREFIX):
            _override(tree, name, value)
    try:
        return Settings.model_validate(tree, context={"base": file.resolve().parent})
    except ValidationError as e:
        faults = (_fault(f["type"], f["loc"], f["msg"]) for f in e.errors(include_input=False))
        raise ConfigError("\n".join([f"{file} can't be used:", *faults])) from None


def _fault(kind: str, loc: Sequence[int | str], message: str) -> str:
    """Say what is wrong where, as the file has it: pydantic puts a login's method in the way."""
    steps = zip((None, *loc), loc, strict=False)
    place = [str(step) for before, step in steps if before != "login" or step not in _METHODS]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        message = f"method must be one of {', '.join(_METHODS)}"
    return f"  {'.'.join(place)}: {message}"


def _override(tree: dict[str, Any], name: str, value: str) -> None:
    path = name.removeprefix(ENVIRONMENT_PREFIX).lower().split("__")
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{name}: {key} isn't a section, so nothing stands below it.")
    old = tree.get(path[-1])
    tree[path[-1]] = value.split(",") if isinstance(old, list) else value
