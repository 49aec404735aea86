"""PolicyService on the wire."""

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import policy_service_pb2 as pb

from vault.errors import Reason, VaultError
from vault.policy import Edition, Operation, explain
from vault.service.approve import Approvals
from vault.service.call import Visit
from vault.service.history import Touch, resets, touches


class PolicyServicer:
    """The policy, and what officers decide beside it."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    async def GetEdition(
        self, visit: Visit, request: pb.GetEditionRequest
    ) -> pb.GetEditionResponse:
        """Return an edition as it was published."""
        edition, ledger = _edition(visit, request.number), visit.policy.ledger
        in_force = Timestamp()
        in_force.FromDatetime(edition.in_force)
        return pb.GetEditionResponse(
            document=ledger.documents[edition.number],
            digest=edition.digest,
            number=edition.number,
            newest=max(ledger.editions),
            in_force=in_force,
            blocked=[
                pb.BlockedService(service=b.service, reason=b.reason, statement=signed)
                for signed, b in ledger.blocks.items()
            ],
        )

    async def Approve(self, visit: Visit, request: pb.ApproveRequest) -> pb.ApproveResponse:
        """Add an officer's approval."""
        done = await self._approvals.approve(
            request.kind, request.body, request.officer, request.signature
        )
        return pb.ApproveResponse(
            effective=done.effective, approved_by=done.approved_by, needed=done.needed
        )

    async def ListPending(
        self, visit: Visit, request: pb.ListPendingRequest
    ) -> pb.ListPendingResponse:
        """Return what waits for more officers."""
        return pb.ListPendingResponse(
            entries=[
                pb.PendingEntry(
                    kind=p.kind, body=p.body, approved_by=p.approved_by, needed=p.needed
                )
                for p in await self._approvals.pending()
            ]
        )

    async def ListTouches(
        self, visit: Visit, request: pb.ListTouchesRequest
    ) -> pb.ListTouchesResponse:
        """Return what owners touched, and what was reset of it."""
        ledger = await self._approvals.refreshed()
        return pb.ListTouchesResponse(
            touches=map(_touch, touches(ledger)),
            resets=[pb.ResetTouch(touch=_touch(t), reason=reason) for t, reason in resets(ledger)],
        )

    async def Explain(self, visit: Visit, request: pb.ExplainRequest) -> pb.ExplainResponse:
        """Say rule by rule why."""
        if visit.service is not None and visit.service.name != request.service:
            raise VaultError(
                Reason.METHOD_NOT_ALLOWED, "A service may ask about itself; officers about all."
            )
        edition = _edition(visit, request.edition)
        service = edition.services.get(request.service)
        if service is None or request.operation not in set(Operation):
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                f"Name a service of edition {edition.number} ({', '.join(edition.services)}), and "
                f"one of the operations {', '.join(Operation)}.",
            )
        steps = explain(
            edition,
            service,
            request.purpose,
            request.compartment,
            Operation(request.operation),
            list(request.fields),
        )
        return pb.ExplainResponse(
            allowed=all(step.holds for step in steps),
            rules=[
                pb.ExplainedRule(rule=s.rule, holds=s.holds, sentence=s.sentence) for s in steps
            ],
        )


def _touch(touch: Touch) -> pb.Touch:
    return pb.Touch(
        owner_id=touch.owner_id,
        owner=touch.owner,
        compartment_uuid=touch.compartment_uuid,
        compartment=touch.compartment,
    )


def _edition(visit: Visit, number: int) -> Edition:
    if not number:
        return visit.policy.current
    found = visit.policy.editions.get(number)
    if found is None:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"There is no edition {number}: the newest is {max(visit.policy.editions)}.",
            violations={"edition": "is unknown"},
        )
    return found
