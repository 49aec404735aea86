"""RequestService on the wire, and how a subject's request is written."""

from piivault.v1 import request_service_pb2 as pb
from piivault.v1 import types_pb2

from vault.crypto.request import SubjectRequest
from vault.service.call import Visit
from vault.service.house import House
from vault.service.keys import officer_event
from vault.service.requests import all_requests, today


class RequestServicer:
    """What subjects asked for, for officers: not whose."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def ListRequests(
        self, visit: Visit, request: pb.ListRequestsRequest
    ) -> pb.ListRequestsResponse:
        """Return a compartment's requests."""
        served = self._house.served(visit, request.compartment)
        found = await all_requests(served, closed=request.closed)
        await served.committer.record(officer_event(visit, "requests.list"))
        return pb.ListRequestsResponse(requests=[request_out(its) for its in found])


def request_out(request: SubjectRequest) -> types_pb2.SubjectRequest:
    """Write a request."""
    return types_pb2.SubjectRequest(
        id=request.id,
        kind=types_pb2.RequestKind.ValueType(request.kind),
        state=types_pb2.RequestState.ValueType(request.state),
        opened=request.opened.isoformat(),
        due=request.due.isoformat(),
        closed=request.closed.isoformat() if request.closed else "",
        reason=request.reason,
        overdue=request.is_overdue(today()),
    )
