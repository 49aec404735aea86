"""Admission: who calls, and what the log and the trail may know of the call."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from vault.audit import event as audit
from vault.errors import Reason, VaultError
from vault.names import is_request_id
from vault.policy import Service
from vault.rpc import status
from vault.rpc.authorization import may_call
from vault.rpc.identity import Caller, identify, spiffe_id
from vault.rpc.streams import Context, Request, parse
from vault.service.call import Call, PolicyState, Visit
from vault.service.refusals import Asked


@dataclass(slots=True)
class Peer:
    """What is known of one call, for the log: never a value, a key or a pseudonym."""

    asked: Asked  # for the trail
    repeatable: bool  # whether the request id is the caller's own
    caller: str = "-"
    reason: str = "OK"

    @property
    def method(self) -> str:
        """The full name of what is called."""
        return self.asked.method

    @property
    def request_id(self) -> str:
        """The caller's, or drawn."""
        return self.asked.request_id


def peer_of(method: str, context: Context) -> Peer:
    """Take the caller's request id; one that is no UUID is replaced: nothing rides along in it."""
    for key, value in context.invocation_metadata() or ():
        if key == status.REQUEST_ID and isinstance(value, str) and is_request_id(value):
            return Peer(Asked(method, value), repeatable=True)
    return Peer(Asked(method, str(uuid.uuid4())), repeatable=False)


def read_from(
    peer: Peer, caller: Call | Visit, request_type: type[Request], body: bytes
) -> Request:
    """Parse what an admitted caller sent, and note what of it the trail may hold: known words."""
    request, edition = parse(request_type, body), caller.edition
    said = getattr(request, "start", request)  # of a stream its start alone says where and why
    compartment, purpose = (getattr(said, part, "") for part in ("compartment", "purpose"))
    if compartment in edition.compartments:
        peer.asked.compartment = compartment
    if purpose in edition.purposes:
        peer.asked.purpose = purpose
    return request


def admit_caller(
    policy: PolicyState, officers: Mapping[str, str], peer: Peer, context: Context
) -> Service | None:
    """Return the service that calls, None for an officer, if its method's row has the like.

    `officers` are names by SPIFFE id. Raises VaultError(IDENTITY_UNKNOWN, SERVICE_BLOCKED,
    METHOD_NOT_ALLOWED).
    """
    asked = peer.asked
    asked.edition = policy.current.number
    spiffe = spiffe_id(context.auth_context())
    kind, service = identify(policy.current, officers, spiffe)
    if service is not None:
        asked.service, asked.owner = service.name, service.owner
    else:
        asked.service = audit.caller_of(spiffe)
    peer.caller = service.name if service else kind.name.lower()
    if kind is Caller.OFFICER:
        peer.caller = spiffe  # which one: looks at the trail are looked at, too
        asked.service = audit.officer(officers[spiffe])
    if kind is Caller.STRANGER:
        raise VaultError(
            Reason.IDENTITY_UNKNOWN,
            f"Your certificate's SPIFFE id is nobody's in edition {policy.current.number}.",
        )
    if service is not None and policy.ledger.is_blocked(service):
        raise VaultError(
            Reason.SERVICE_BLOCKED,
            "An officer blocked this service. Talk to the security team.",
        )
    if not may_call(peer.method, kind):
        raise not_for(kind)
    return service


def not_for(kind: Caller) -> VaultError:
    """Return the error for a caller of a kind that the method isn't for."""
    called = kind.name.lower().replace("_", "-")
    return VaultError(
        Reason.METHOD_NOT_ALLOWED, f"This method isn't for callers of your kind ({called})."
    )
