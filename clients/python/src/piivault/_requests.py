"""How a subject's request is read from what the server says."""

from collections.abc import Mapping
from datetime import date

from piivault._types import RequestKind, RequestState, SubjectRequest
from piivault.v1 import types_pb2

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
