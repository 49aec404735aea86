"""KeyService on the wire."""

import math
import re
from collections.abc import Mapping

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import key_service_pb2 as pb

from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState
from vault.names import to_base64url
from vault.policy import Compartment
from vault.rpc.rotations import level_in, rotation_out
from vault.service.call import Visit
from vault.service.compartment import ServedCompartment
from vault.service.destruction import destroy
from vault.service.epoch import Erasures, begin_closing, end_closing
from vault.service.house import House
from vault.service.key_status import KeyStatus, SigningStatus, TransitStatus, ring_status
from vault.service.keys import evict, resume, suspend
from vault.service.rotation import all_rotations, begin, rotation_of

_KINDS: Mapping[int, KeyKind] = {
    pb.KEY_KIND_KEK: KeyKind.KEK,
    pb.KEY_KIND_INDEX: KeyKind.INDEX,
    pb.KEY_KIND_AUDIT: KeyKind.AUDIT,
    pb.KEY_KIND_LOOKUP: KeyKind.LOOKUP,
}
_KIND_OUT = {kind: number for number, kind in _KINDS.items()}
_STATE_OUT: Mapping[str, int] = {
    KeyState.ACTIVE: pb.KEY_STATE_ACTIVE,
    KeyState.DECRYPT_ONLY: pb.KEY_STATE_DECRYPT_ONLY,
    KeyState.SUSPENDED: pb.KEY_STATE_SUSPENDED,
    KeyState.DESTROYED: pb.KEY_STATE_DESTROYED,
    KeyState.BUILDING: pb.KEY_STATE_BUILDING,
}
_UID = re.compile(r"[0-9]{1,9}")


class KeyServicer:
    """A compartment's keys, for officers."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def GetKeyStatus(
        self, visit: Visit, request: pb.GetKeyStatusRequest
    ) -> pb.GetKeyStatusResponse:
        """Return what is known of every version of every key."""
        served = self._house.served(visit, request.compartment)
        declared = visit.edition.compartments[served.name]
        found = await ring_status(served)
        return pb.GetKeyStatusResponse(
            state=(
                pb.COMPARTMENT_STATE_SUSPENDED if found.suspended else pb.COMPARTMENT_STATE_SERVING
            ),
            epoch=found.epoch,
            keys=[_status_out(key, declared) for key in found.keys],
            bound_seconds=_bound(served),
            transit=_transit_out(found.transit[0]),
            audit_transit=_transit_out(found.transit[1]),
            erasures=_erasures_out(found.erasures),
            superseded_data_keys=found.superseded_data_keys,
            signing=_signing_out(found.signing),
        )

    async def Suspend(self, visit: Visit, request: pb.SuspendRequest) -> pb.SuspendResponse:
        """Stop a compartment, or one version of a key."""
        served = self._house.served(visit, request.compartment)
        done = await suspend(served, visit, _key_in(request, visit, served))
        return pb.SuspendResponse(
            changed=done.changed, epoch=done.epoch, bound_seconds=_bound(served)
        )

    async def Resume(self, visit: Visit, request: pb.ResumeRequest) -> pb.ResumeResponse:
        """Let a compartment go on, or one version of a key."""
        served = self._house.served(visit, request.compartment)
        done = await resume(served, visit, _key_in(request, visit, served))
        return pb.ResumeResponse(
            changed=done.changed, epoch=done.epoch, bound_seconds=_bound(served)
        )

    async def Evict(self, visit: Visit, request: pb.EvictRequest) -> pb.EvictResponse:
        """Have keys in clear forgotten."""
        served = self._house.served(visit, request.compartment)
        done = await evict(served, visit)
        return pb.EvictResponse(epoch=done.epoch, bound_seconds=_bound(served))

    async def Rotate(self, visit: Visit, request: pb.RotateRequest) -> pb.RotateResponse:
        """Begin a rotation."""
        served = self._house.served(visit, request.compartment)
        declared = visit.edition.compartments[served.name]
        level, uid = level_in(request, declared)
        row = await begin(served, visit, level, uid)
        return pb.RotateResponse(rotation=rotation_out(row, served, declared))

    async def GetRotation(
        self, visit: Visit, request: pb.GetRotationRequest
    ) -> pb.GetRotationResponse:
        """Return how far a rotation is."""
        served = self._house.served(visit, request.compartment)
        row = await rotation_of(served, request.id)
        await served.look_at_keys()
        declared = visit.edition.compartments[served.name]
        return pb.GetRotationResponse(rotation=rotation_out(row, served, declared))

    async def ListRotations(
        self, visit: Visit, request: pb.ListRotationsRequest
    ) -> pb.ListRotationsResponse:
        """Return all rotations."""
        served = self._house.served(visit, request.compartment)
        declared = visit.edition.compartments[served.name]
        await served.look_at_keys()
        return pb.ListRotationsResponse(
            rotations=[rotation_out(row, served, declared) for row in await all_rotations(served)]
        )

    async def CloseEpoch(
        self, visit: Visit, request: pb.CloseEpochRequest
    ) -> pb.CloseEpochResponse:
        """Begin to close an epoch, look how far it is, or end it."""
        served = self._house.served(visit, request.compartment)
        if request.trimmed_below:
            closing = await end_closing(served, visit, request.trimmed_below)
        else:
            closing = await begin_closing(served, visit)
        declared = visit.edition.compartments[served.name]
        return pb.CloseEpochResponse(
            number=closing.number,
            rotation=rotation_out(closing.rotation, served, declared),
            transit_version=closing.transit_version,
        )

    async def Destroy(self, visit: Visit, request: pb.DestroyRequest) -> pb.DestroyResponse:
        """Say what is lost with a version of a key, or destroy it."""
        served = self._house.served(visit, request.compartment)
        name = key_name(request.key, visit.edition.compartments[served.name])
        await self._house.editions.refresh()  # two officers may have signed just now
        approved = self._house.editions.ledger.destructions
        found = await destroy(
            served, visit, name, request.digest if request.digest in approved else b""
        )
        return pb.DestroyResponse(
            destroyed=found.destroyed,
            digest=found.digest,
            records=found.records,
            data_keys=found.data_keys,
            consequence=found.consequence,
            bound_seconds=_bound(served),
        )


def _key_in(
    request: pb.SuspendRequest | pb.ResumeRequest, visit: Visit, served: ServedCompartment
) -> KeyName | None:
    """Read which version of a key is meant; None means the whole compartment."""
    if not request.HasField("key"):
        return None
    return key_name(request.key, visit.edition.compartments[served.name])


def key_name(key: pb.KeyVersion, declared: Compartment) -> KeyName:
    """Read a key version; an index key's field is named, or told by its uid.

    Raises VaultError(MALFORMED_REQUEST, UNKNOWN_FIELD).
    """
    kind = _KINDS.get(key.kind)
    if kind is None or not key.version or bool(key.field) != (kind is KeyKind.INDEX):
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "Name a kind of key and a version; for an index key its field too, and only there.",
            violations={"key": "names no version of a key"},
        )
    if not key.field:
        return KeyName(kind, key.version)
    uid = _UID.fullmatch(key.field)
    return KeyName(kind, key.version, int(uid[0]) if uid else declared.field(key.field).uid)


def _status_out(status: KeyStatus, declared: Compartment) -> pb.KeyStatus:
    name = status.name
    field = declared.by_uid.get(name.field)
    return pb.KeyStatus(
        key=pb.KeyVersion(
            kind=pb.KeyKind.ValueType(_KIND_OUT[name.kind]),
            field=field.name if field else "",
            version=name.version,
        ),
        field_uid=name.field,
        state=pb.KeyState.ValueType(_STATE_OUT.get(status.state, pb.KEY_STATE_SUSPENDED)),
        created_at=_moment(status.created),
        transit_version=status.transit_version,
        data_keys=status.data_keys,
        invocations=status.invocations,
        invocation_limit=status.most_invocations,
        last_used_at=_moment(status.last_used),
        safe_to_trim=not status.why_not,
        why_not=status.why_not,
    )


def _signing_out(signing: SigningStatus | None) -> pb.SigningKey | None:
    if signing is None:
        return None
    public_key = to_base64url(signing.public_key)
    return pb.SigningKey(name=signing.name, version=signing.version, public_key=public_key)


def _transit_out(status: TransitStatus) -> pb.TransitKey:
    return pb.TransitKey(name=status.name, oldest_needed=status.oldest_needed)


def _erasures_out(found: Erasures) -> pb.Erasures:
    return pb.Erasures(
        shredded=found.shredded,
        unrecoverable=found.unrecoverable,
        snapshot_retention_days=found.snapshot_retention_days,
        epochs_closed=found.epochs_closed,
        last_closed_at=_moment(found.last_closed_at),
    )


def _moment(seconds: int) -> Timestamp | None:
    return Timestamp(seconds=seconds) if seconds else None


def _bound(served: ServedCompartment) -> int:
    return math.ceil(served.key_stale_after)
