"""What subjects ask for under the law, and what they get; read from what the server says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from piivault.v1 import subject_service_pb2 as pb
from piivault.v1 import types_pb2

RequestKind = Literal["erasure", "export", "report", "restriction"]
RequestState = Literal["open", "done", "refused"]

_KINDS: Mapping[int, RequestKind] = {
    types_pb2.REQUEST_KIND_ERASURE: "erasure",
    types_pb2.REQUEST_KIND_EXPORT: "export",
    types_pb2.REQUEST_KIND_REPORT: "report",
    types_pb2.REQUEST_KIND_RESTRICTION: "restriction",
}
_STATES: Mapping[int, RequestState] = {
    types_pb2.REQUEST_STATE_OPEN: "open",
    types_pb2.REQUEST_STATE_DONE: "done",
    types_pb2.REQUEST_STATE_REFUSED: "refused",
}


@dataclass(frozen=True, slots=True)
class SubjectRequest:
    """What a subject asked for under the law. Days are by UTC.

    `reason` says why it was refused, as `PiivaultError.reason` does. An open one stays open until
    it is done, and what it was to deliver came.
    """

    id: bytes
    kind: RequestKind
    state: RequestState
    opened: date
    due: date
    closed: date | None
    reason: str
    overdue: bool


@dataclass(frozen=True, slots=True)
class SealedExport:
    """A package for the subject, which they alone can open, and the request that it answers."""

    package: bytes = field(repr=False)
    request: SubjectRequest


@dataclass(frozen=True, slots=True)
class KeptByLaw:
    """Fields of an erased record that the law has kept, for one purpose, until a day."""

    purpose: str
    basis: str
    fields: tuple[str, ...]
    until: date


@dataclass(frozen=True, slots=True)
class Erasure:
    """What a subject has in hand after an erasure.

    `receipt` is signed for the compartment: keep it (`piivault.receipt`). `verified` tells whether
    its signature was checked here, by keys that are known.
    """

    receipt: bytes
    request: SubjectRequest
    kept: tuple[KeptByLaw, ...]
    verified: bool = False


def request_in(said: types_pb2.SubjectRequest) -> SubjectRequest:
    """Read a request."""
    return SubjectRequest(
        id=said.id,
        kind=_KINDS[said.kind],
        state=_STATES[said.state],
        opened=date.fromisoformat(said.opened),
        due=date.fromisoformat(said.due),
        closed=date.fromisoformat(said.closed) if said.closed else None,
        reason=said.reason,
        overdue=said.overdue,
    )


def kept_in(said: Iterable[pb.KeptByLaw]) -> tuple[KeptByLaw, ...]:
    """Read what the law has kept."""
    return tuple(
        KeptByLaw(its.purpose, its.basis, tuple(its.fields), date.fromisoformat(its.until))
        for its in said
    )
