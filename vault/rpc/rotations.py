"""Rotations on the wire."""

from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import key_service_pb2 as pb

from vault.errors import Reason, VaultError
from vault.policy import Compartment
from vault.service.compartment import ServedCompartment
from vault.service.epoch import awaits_officer
from vault.service.rotation import Level
from vault.store.rotations import DONE, FAILED, RUNNING, RotationRow

_LEVELS: Mapping[int, Level] = {
    pb.ROTATION_LEVEL_TRANSIT: Level.TRANSIT,
    pb.ROTATION_LEVEL_KEK: Level.KEK,
    pb.ROTATION_LEVEL_DATA_KEY: Level.DATA_KEY,
    pb.ROTATION_LEVEL_INDEX: Level.INDEX,
    pb.ROTATION_LEVEL_AUDIT: Level.AUDIT,
    pb.ROTATION_LEVEL_EPOCH: Level.EPOCH,
    pb.ROTATION_LEVEL_SUPERSEDED: Level.SUPERSEDED,
}
_LEVEL_OUT: Mapping[str, int] = {level: number for number, level in _LEVELS.items()}
_STATE_OUT: Mapping[str, int] = {
    RUNNING: pb.ROTATION_STATE_RUNNING,
    DONE: pb.ROTATION_STATE_DONE,
    FAILED: pb.ROTATION_STATE_FAILED,
}


def level_in(request: pb.RotateRequest, declared: Compartment) -> tuple[Level, int]:
    """Read what is to be rotated, and the uid of the field of an index.

    Raises VaultError(MALFORMED_REQUEST, UNKNOWN_FIELD).
    """
    level = _LEVELS.get(request.level)
    if level in (None, Level.EPOCH) or bool(request.field) != (level is Level.INDEX):
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "Name a level; for an index its field too, and only there. An epoch has CloseEpoch.",
            violations={"level": "can't be rotated so"},
        )
    assert level is not None  # noqa: S101 -- said above
    if level is not Level.INDEX:
        return level, 0
    field = declared.field(request.field)
    if field.index is None:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"The field {field.name} isn't indexed.",
            violations={"field": "isn't indexed"},
        )
    return level, field.uid


def rotation_out(row: RotationRow, served: ServedCompartment, declared: Compartment) -> pb.Rotation:
    """Write a rotation."""
    field = declared.by_uid.get(row.field)
    return pb.Rotation(
        id=row.id,
        level=pb.RotationLevel.ValueType(_LEVEL_OUT[row.level]),
        field=field.name if field else "",
        field_uid=row.field,
        state=pb.RotationState.ValueType(_STATE_OUT[row.state]),
        from_version=row.from_version,
        to_version=row.to_version,
        done=min(row.done, row.total),
        total=row.total,
        error=row.error,
        started_at=Timestamp(seconds=row.started),
        ended_at=Timestamp(seconds=row.ended) if row.ended else None,
        awaits_officer=awaits_officer(served, row),
    )
