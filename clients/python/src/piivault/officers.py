"""What officers' tools are built on: the policy, approvals, why something is allowed, and keys.

    with OfficersClient.from_env() as control:
        print(control.edition().document)

Officers sign with a key of their own; a signature is handed in, never a key.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from piivault._call import text
from piivault._officer_connection import OfficerConnection
from piivault._requests import SubjectRequest, request_in
from piivault.keys import Keys
from piivault.v1 import policy_service_pb2 as pb
from piivault.v1 import request_service_pb2 as requests_pb

_POLICY = "/piivault.v1.PolicyService/"


@dataclass(frozen=True, slots=True)
class PublishedEdition:
    """An edition as it was published; `newest` is the number of the last one."""

    number: int
    document: str
    digest: bytes
    newest: int
    blocked: tuple["BlockedService", ...]


@dataclass(frozen=True, slots=True)
class BlockedService:
    """A service that officers blocked; `statement` names the block."""

    service: str
    reason: str
    statement: bytes


@dataclass(frozen=True, slots=True)
class Approval:
    """An entry of the control chain, who approved it so far, and how many officers it needs."""

    kind: str
    body: bytes
    effective: bool
    approved_by: tuple[str, ...]
    needed: int


@dataclass(frozen=True, slots=True)
class Touch:
    """What an owner's services touched: ids, and the last names ("" if no edition has one)."""

    owner_id: str
    owner: str
    compartment_uuid: bytes
    compartment: str


@dataclass(frozen=True, slots=True)
class ResetTouch:
    """A touch that two officers took back, and why."""

    touch: Touch
    reason: str


@dataclass(frozen=True, slots=True)
class Touches:
    """What counts of all that owners touched, and what was taken back."""

    counting: tuple[Touch, ...]
    resets: tuple[ResetTouch, ...]


@dataclass(frozen=True, slots=True)
class ExplainedRule:
    """One rule, and whether it lets the request pass."""

    rule: str
    holds: bool
    sentence: str


class OfficersClient(OfficerConnection):
    """Talks to control, and to workers about their keys, as an officer."""

    def edition(self, number: int = 0) -> PublishedEdition:
        """Return an edition; the one in force if no number is given."""
        found = self._send(
            _POLICY + "GetEdition", None, pb.GetEditionRequest(number=number), pb.GetEditionResponse
        )
        blocked = tuple(BlockedService(b.service, b.reason, b.statement) for b in found.blocked)
        return PublishedEdition(found.number, found.document, found.digest, found.newest, blocked)

    def approve(self, kind: str, body: bytes, officer: str, signature: bytes) -> Approval:
        """Hand in an officer's signature (ed25519, 64 bytes) over an entry's statement."""
        request = pb.ApproveRequest(kind=kind, body=body, officer=officer, signature=signature)
        done = self._send(_POLICY + "Approve", None, request, pb.ApproveResponse)
        return Approval(kind, body, done.effective, tuple(done.approved_by), done.needed)

    def pending(self) -> list[Approval]:
        """Return what waits for more officers."""
        listed = self._send(
            _POLICY + "ListPending", None, pb.ListPendingRequest(), pb.ListPendingResponse
        )
        return [
            Approval(e.kind, e.body, False, tuple(e.approved_by), e.needed) for e in listed.entries
        ]

    def touches(self) -> Touches:
        """Return which compartments owners touched, and what officers reset of it."""
        listed = self._send(
            _POLICY + "ListTouches", None, pb.ListTouchesRequest(), pb.ListTouchesResponse
        )
        resets = (ResetTouch(_touch(reset.touch), reset.reason) for reset in listed.resets)
        return Touches(tuple(map(_touch, listed.touches)), tuple(resets))

    def explain(
        self,
        service: str,
        purpose: str,
        compartment: str,
        operation: str,
        fields: Sequence[str],
        edition: int = 0,
    ) -> list[ExplainedRule]:
        """Return rule by rule why a service may or may not do something."""
        request = pb.ExplainRequest(
            service=service,
            purpose=purpose,
            compartment=compartment,
            operation=operation,
            fields=fields,
            edition=edition,
        )
        said = self._send(_POLICY + "Explain", None, request, pb.ExplainResponse)
        return [ExplainedRule(r.rule, r.holds, r.sentence) for r in said.rules]

    def keys(self, compartment: str) -> Keys:
        """Return the keys of one compartment, as its workers have them."""
        return Keys(text(compartment, "A compartment"), self._send)

    def requests(self, compartment: str, *, closed: bool = False) -> list[SubjectRequest]:
        """Return what subjects of one compartment asked for, the first due in front; not whose."""
        request = requests_pb.ListRequestsRequest(
            compartment=text(compartment, "A compartment"), closed=closed
        )
        method, response = "ListRequests", requests_pb.ListRequestsResponse
        said = self._send(f"/piivault.v1.RequestService/{method}", compartment, request, response)
        return [request_in(its) for its in said.requests]


def _touch(touch: pb.Touch) -> Touch:
    return Touch(touch.owner_id, touch.owner, touch.compartment_uuid, touch.compartment)
