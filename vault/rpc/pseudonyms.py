"""PseudonymService on the wire. The only servicer that meets a root id."""

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import pseudonym_service_pb2 as pb

from vault.service.call import Call
from vault.service.issuing import Issuing


class PseudonymServicer:
    """The broker's one method."""

    def __init__(self, broker: Issuing) -> None:
        self._broker = broker

    async def Issue(self, call: Call, request: pb.IssueRequest) -> pb.IssueResponse:
        """Return a subject's pseudonym in one compartment, and a capability."""
        issued = await self._broker.issue(
            call,
            request.compartment,
            request.root_id,
            request.subject_assertion,
            request.export_key,
        )
        return pb.IssueResponse(
            pseudonym=str(issued.pseudonym),
            capability=issued.capability,
            expires_at=Timestamp(seconds=issued.expires),
        )
