"""A subject's request, sealed: what was asked for, by which day, and what became of it. Not whose.

    id       16 bytes of HMAC over what makes a repetition the same request, or random
    sealed   an envelope of kind "request" under HKDF(audit-data key, "request"), of one length

Days, and no more exact time: who asks everywhere at once isn't told by four equal moments.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from enum import IntEnum
from typing import Self

from google.protobuf.message import DecodeError

from vault.crypto import padding
from vault.crypto.envelope import KEY_ID_BYTES, Kind, key_id, seal, unseal
from vault.crypto.primitives import DamagedError, derive, mac
from vault.sealed.v1 import sealed_pb2

ID_BYTES = 16
_SIZE = 64  # bytes, whatever is inside
_EPOCH = date(1970, 1, 1)


class RequestKind(IntEnum):
    """What is asked for; numbered as piivault.v1.RequestKind."""

    ERASURE = 1
    EXPORT = 2
    REPORT = 3
    RESTRICTION = 4


class RequestState(IntEnum):
    """What became of it; numbered as piivault.v1.RequestState."""

    OPEN = 1
    DONE = 2
    REFUSED = 3


@dataclass(frozen=True, slots=True)
class SubjectRequest:
    """A request; `reason` is the one that it was refused for."""

    id: bytes
    kind: RequestKind
    state: RequestState
    opened: date
    due: date
    closed: date | None = None
    reason: str = ""

    def ended(self, state: RequestState, on: date, reason: str = "") -> Self:
        """Return it as done or refused."""
        return replace(self, state=state, closed=on, reason=reason)

    def is_overdue(self, today: date) -> bool:
        """Tell whether it is open and its day has passed."""
        return self.state is RequestState.OPEN and self.due < today


def request_id(key: bytes, *parts: bytes) -> bytes:
    """Return the id of the request that these parts make, under an audit-data key."""
    return mac(derive(key, b"request-id"), *parts)[:ID_BYTES]


def key_version(sealed: bytes) -> int:
    """Return the version of the audit-data key that a request is sealed under."""
    return int.from_bytes(key_id(sealed), "big")


def seal_request(key: bytes, version: int, compartment: bytes, request: SubjectRequest) -> bytes:
    """Seal a request under an audit-data key of this version."""
    body = sealed_pb2.SubjectRequest(
        kind=request.kind,
        state=request.state,
        opened=_days(request.opened),
        due=_days(request.due),
        closed=_days(request.closed) if request.closed else 0,
        reason=request.reason,
    ).SerializeToString()
    place = (compartment, request.id)
    name = version.to_bytes(KEY_ID_BYTES, "big")
    return seal(_under(key), Kind.REQUEST, name, place, padding.pad(body, _SIZE))


def open_request(key: bytes, compartment: bytes, id_: bytes, sealed: bytes) -> SubjectRequest:
    """Open a request; raise DamagedError if it isn't the one written under this id."""
    padded = unseal(_under(key), Kind.REQUEST, (compartment, id_), sealed)
    try:
        said = sealed_pb2.SubjectRequest.FromString(padding.unpad(padded))
        return SubjectRequest(
            id_,
            RequestKind(said.kind),
            RequestState(said.state),
            _date(said.opened),
            _date(said.due),
            _date(said.closed) if said.closed else None,
            said.reason,
        )
    except (ValueError, DecodeError):
        raise DamagedError("authentic, but no request: written by a newer release?") from None


def _under(key: bytes) -> bytes:
    return derive(key, b"request")


def _days(day: date) -> int:
    return (day - _EPOCH).days


def _date(days: int) -> date:
    return _EPOCH + timedelta(days=days)
