"""The keys of one compartment, for the security team's tools.

    with OfficersClient.from_env() as officers:
        keys = officers.keys("accounts")
        for key in keys.status().keys:
            print(key.name, key.state, key.why_not)
        keys.suspend()                      # the emergency stop
        keys.resume(KeyVersion("kek", 2))   # one version

The compartment's worker is asked, so its address must be known: PIIVAULT_COMPARTMENT_…_ADDRESS.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from piivault.errors import InvalidRequest
from piivault.rotations import (
    Closing,
    Destruction,
    Level,
    Rotation,
    number_of,
    rotation_in,
)
from piivault.v1 import key_service_pb2 as pb

KeyKind = Literal["kek", "index", "audit", "lookup"]
KeyState = Literal["active", "decrypt-only", "suspended", "destroyed", "building"]

_KINDS: Mapping[KeyKind, pb.KeyKind.ValueType] = {
    "kek": pb.KEY_KIND_KEK,
    "index": pb.KEY_KIND_INDEX,
    "audit": pb.KEY_KIND_AUDIT,
    "lookup": pb.KEY_KIND_LOOKUP,
}
_WRITTEN = re.compile(r"(?P<kind>[a-z]+)(:(?P<field>[^:]+))?:(?P<version>[1-9][0-9]{0,8})")
_KIND_OF = {number: kind for kind, number in _KINDS.items()}
_STATES: Mapping[int, KeyState] = {
    pb.KEY_STATE_ACTIVE: "active",
    pb.KEY_STATE_DECRYPT_ONLY: "decrypt-only",
    pb.KEY_STATE_SUSPENDED: "suspended",
    pb.KEY_STATE_DESTROYED: "destroyed",
    pb.KEY_STATE_BUILDING: "building",
}

Response = TypeVar("Response", bound=Message)


class Send(Protocol):
    """Sends a request by a method's full name to a compartment's worker."""

    def __call__(
        self, method: str, compartment: str | None, request: Message, response: type[Response]
    ) -> Response:
        """Return the answer; raise PiivaultError."""


@dataclass(frozen=True, slots=True)
class KeyVersion:
    """One version of a key of a compartment; `field` is for index keys alone: a name, or a uid."""

    kind: KeyKind
    version: int
    field: str = ""

    @classmethod
    def parse(cls, text: str) -> "KeyVersion":
        """Read kek:2 or index:email:1; raise InvalidRequest if it is none."""
        found = _WRITTEN.fullmatch(text)
        kind = next((k for k in _KINDS if found and k == found["kind"]), None)
        if found is None or kind is None or bool(found["field"]) != (kind == "index"):
            raise InvalidRequest(
                "A version of a key is written KIND:VERSION, such as kek:2, or index:FIELD:VERSION."
            )
        return cls(kind, int(found["version"]), found["field"] or "")

    def __str__(self) -> str:
        return ":".join(filter(None, (self.kind, self.field, str(self.version))))


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """How one version of a key is; piivault.v1.KeyStatus says what each number means."""

    name: KeyVersion
    state: KeyState
    created_at: datetime | None
    transit_version: int
    data_keys: int
    invocations: int | None
    invocation_limit: int
    last_used_at: datetime | None
    safe_to_trim: bool
    why_not: str


@dataclass(frozen=True, slots=True)
class TransitKey:
    """A key of the key server, and the oldest version of it that is needed."""

    name: str
    oldest_needed: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """The key of the key server that signs what subjects are handed: the version that does."""

    name: str
    version: int
    public_key: str


@dataclass(frozen=True, slots=True)
class Erasures:
    """What became of erased records; piivault.v1.Erasures says what each number means."""

    shredded: int
    unrecoverable: int
    snapshot_retention_days: int | None
    epochs_closed: int
    last_closed_at: datetime | None


@dataclass(frozen=True, slots=True)
class RingStatus:
    """How a compartment's keys are; after `bound_seconds` no worker is behind this."""

    compartment: str
    suspended: bool
    epoch: int
    bound_seconds: int
    keys: tuple[KeyStatus, ...]
    transit: TransitKey
    audit_transit: TransitKey
    superseded_data_keys: int
    erasures: Erasures
    signing: SigningKey


@dataclass(frozen=True, slots=True)
class Acted:
    """What became of an act: False if it was so before. All workers follow in `bound_seconds`."""

    changed: bool
    epoch: int
    bound_seconds: int


class Keys:
    """What an officer may do to one compartment's keys. Each may be repeated."""

    def __init__(self, compartment: str, send: Send) -> None:
        self.compartment = compartment
        self._send = send

    def status(self) -> RingStatus:
        """Return what is known of every version of every key."""
        request = pb.GetKeyStatusRequest(compartment=self.compartment)
        said = self._ask("GetKeyStatus", request, pb.GetKeyStatusResponse)
        return RingStatus(
            compartment=self.compartment,
            suspended=said.state == pb.COMPARTMENT_STATE_SUSPENDED,
            epoch=said.epoch,
            bound_seconds=said.bound_seconds,
            keys=tuple(_status(key) for key in said.keys),
            transit=TransitKey(said.transit.name, said.transit.oldest_needed),
            audit_transit=TransitKey(said.audit_transit.name, said.audit_transit.oldest_needed),
            superseded_data_keys=said.superseded_data_keys,
            erasures=_erasures(said.erasures),
            signing=SigningKey(said.signing.name, said.signing.version, said.signing.public_key),
        )

    def suspend(self, key: KeyVersion | None = None) -> Acted:
        """Stop the compartment, or one version of a key, until it is resumed."""
        request = pb.SuspendRequest(compartment=self.compartment, key=_key(key))
        done = self._ask("Suspend", request, pb.SuspendResponse)
        return Acted(done.changed, done.epoch, done.bound_seconds)

    def resume(self, key: KeyVersion | None = None) -> Acted:
        """Let the compartment go on, or one version of a key."""
        request = pb.ResumeRequest(compartment=self.compartment, key=_key(key))
        done = self._ask("Resume", request, pb.ResumeResponse)
        return Acted(done.changed, done.epoch, done.bound_seconds)

    def evict(self) -> Acted:
        """Have every worker forget its keys in clear and ask the key server anew."""
        request = pb.EvictRequest(compartment=self.compartment)
        done = self._ask("Evict", request, pb.EvictResponse)
        return Acted(True, done.epoch, done.bound_seconds)

    def rotate(self, level: Level, field: str = "") -> Rotation:
        """Begin a rotation, or return the one that runs; `field` is for an index."""
        request = pb.RotateRequest(
            compartment=self.compartment, level=number_of(level), field=field
        )
        return rotation_in(self._ask("Rotate", request, pb.RotateResponse).rotation)

    def rotation(self, id_: bytes) -> Rotation:
        """Return how far a rotation is."""
        request = pb.GetRotationRequest(compartment=self.compartment, id=id_)
        return rotation_in(self._ask("GetRotation", request, pb.GetRotationResponse).rotation)

    def rotations(self) -> list[Rotation]:
        """Return all rotations, the newest first."""
        request = pb.ListRotationsRequest(compartment=self.compartment)
        said = self._ask("ListRotations", request, pb.ListRotationsResponse)
        return [rotation_in(each) for each in said.rotations]

    def close_epoch(self, trimmed_below: int = 0) -> Closing:
        """Begin to close the epoch, or look how far it is; end it once the key server trimmed."""
        request = pb.CloseEpochRequest(compartment=self.compartment, trimmed_below=trimmed_below)
        said = self._ask("CloseEpoch", request, pb.CloseEpochResponse)
        return Closing(said.number, rotation_in(said.rotation), said.transit_version)

    def destroy(self, key: KeyVersion, digest: bytes = b"") -> Destruction:
        """Say what is lost with a key version; destroy it if two officers signed the digest."""
        request = pb.DestroyRequest(compartment=self.compartment, key=_key(key), digest=digest)
        said = self._ask("Destroy", request, pb.DestroyResponse)
        return Destruction(
            said.destroyed,
            said.digest,
            said.records,
            said.data_keys,
            said.consequence,
            said.bound_seconds,
        )

    def _ask(self, method: str, request: Message, response: type[Response]) -> Response:
        return self._send(f"/piivault.v1.KeyService/{method}", self.compartment, request, response)


def _key(key: KeyVersion | None) -> pb.KeyVersion | None:
    if key is None:
        return None
    return pb.KeyVersion(kind=_KINDS[key.kind], field=key.field, version=key.version)


def _erasures(said: pb.Erasures) -> Erasures:
    days = said.snapshot_retention_days if said.HasField("snapshot_retention_days") else None
    last = _moment(said.last_closed_at) if said.HasField("last_closed_at") else None
    return Erasures(said.shredded, said.unrecoverable, days, said.epochs_closed, last)


def _status(key: pb.KeyStatus) -> KeyStatus:
    field = key.key.field or (str(key.field_uid) if key.field_uid else "")
    return KeyStatus(
        name=KeyVersion(_KIND_OF[key.key.kind], key.key.version, field),
        state=_STATES[key.state],
        created_at=_moment(key.created_at) if key.HasField("created_at") else None,
        transit_version=key.transit_version,
        data_keys=key.data_keys,
        invocations=key.invocations if key.HasField("invocations") else None,
        invocation_limit=key.invocation_limit,
        last_used_at=_moment(key.last_used_at) if key.HasField("last_used_at") else None,
        safe_to_trim=key.safe_to_trim,
        why_not=key.why_not,
    )


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(tzinfo=UTC)
