"""What officers have running: rotations of keys, epochs that are being closed, keys destroyed.

rotation = keys.rotate("kek")
while rotation.state == "running":
    rotation = keys.rotation(rotation.id)   # done of total; error says what it waits for
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from piivault.v1 import key_service_pb2 as pb

Level = Literal["transit", "kek", "data-key", "index", "audit", "epoch", "superseded"]
RotationState = Literal["running", "done", "failed"]

_LEVELS: Mapping[Level, pb.RotationLevel.ValueType] = {
    "transit": pb.ROTATION_LEVEL_TRANSIT,
    "kek": pb.ROTATION_LEVEL_KEK,
    "data-key": pb.ROTATION_LEVEL_DATA_KEY,
    "index": pb.ROTATION_LEVEL_INDEX,
    "audit": pb.ROTATION_LEVEL_AUDIT,
    "epoch": pb.ROTATION_LEVEL_EPOCH,
    "superseded": pb.ROTATION_LEVEL_SUPERSEDED,
}
_LEVEL_OF: Mapping[int, Level] = {number: level for level, number in _LEVELS.items()}
_STATES: Mapping[int, RotationState] = {
    pb.ROTATION_STATE_RUNNING: "running",
    pb.ROTATION_STATE_DONE: "done",
    pb.ROTATION_STATE_FAILED: "failed",
}


@dataclass(frozen=True, slots=True)
class Rotation:
    """A rotation of keys; piivault.v1.Rotation says what each part means."""

    id: bytes
    level: Level
    field: str
    state: RotationState
    from_version: int
    to_version: int
    done: int
    total: int
    error: str
    started_at: datetime
    ended_at: datetime | None
    awaits_officer: bool


@dataclass(frozen=True, slots=True)
class Closing:
    """An epoch being closed: `transit_version` of the Transit key must go, and all before it."""

    number: int
    rotation: Rotation
    transit_version: int


@dataclass(frozen=True, slots=True)
class Destruction:
    """What is lost with a version of a key, and the digest of it that two officers sign."""

    destroyed: bool
    digest: bytes = field(repr=False)
    records: int
    data_keys: int
    consequence: str
    bound_seconds: int


def number_of(level: Level) -> pb.RotationLevel.ValueType:
    """Return a level as it is sent."""
    return _LEVELS[level]


def rotation_in(said: pb.Rotation) -> Rotation:
    """Read a rotation."""
    return Rotation(
        id=said.id,
        level=_LEVEL_OF[said.level],
        field=said.field or (str(said.field_uid) if said.field_uid else ""),
        state=_STATES[said.state],
        from_version=said.from_version,
        to_version=said.to_version,
        done=said.done,
        total=said.total,
        error=said.error,
        started_at=said.started_at.ToDatetime(tzinfo=UTC),
        ended_at=said.ended_at.ToDatetime(tzinfo=UTC) if said.HasField("ended_at") else None,
        awaits_officer=said.awaits_officer,
    )
