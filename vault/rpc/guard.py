"""The guard: every call passes here, from its bytes to its bytes.

Parsing and serialising happen inside: gRPC would show an exception in its own (de)serialisers
to the client word for word. Whatever a handler raises that isn't a VaultError becomes INTERNAL;
its text goes nowhere, since it may hold a value, and the log names its class and where it arose.
"""

import asyncio
import logging
import time
import traceback
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from vault.errors import Reason, VaultError
from vault.names import is_request_id
from vault.policy import Service
from vault.rpc import status
from vault.rpc.authorization import may_call
from vault.rpc.identity import Caller, identify, spiffe_id
from vault.service.call import Call, PolicyState, Visit

log = logging.getLogger("piivault.rpc")

LONGEST_DEADLINE = 60.0  # seconds, whatever the caller asks for

Admitted = TypeVar("Admitted", Call, Visit)
Request = TypeVar("Request", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler = Callable[[Any, Any], Awaitable[Message]]


@dataclass(slots=True)
class Peer:
    """What is known of one call, for the log: never a value, a key or a pseudonym."""

    method: str
    request_id: str
    repeatable: bool  # whether the request id is the caller's own
    caller: str = "-"
    reason: str = "OK"


Admit = Callable[[Peer, Context], Admitted]


class Guard:
    """Stands between gRPC and the servicers of one process."""

    def __init__(
        self,
        policy: Callable[[], PolicyState],
        officers: frozenset[str],
        default_deadline: float,
    ) -> None:
        self._policy = policy
        self._officers = officers
        self._default_deadline = default_deadline

    def unary(
        self, method: str, request_type: type[Request], handler: Handler, admit: "Admit[Any]"
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Wrap a handler of one request and one answer; `method` is its full name.

        `admit` is `call` for what services do with data, `visit` for what concerns the policy.
        """

        async def serve(body: bytes, context: Context) -> bytes:
            peer = _peer(method, context)
            error: VaultError
            try:
                with _measured(peer):
                    async with asyncio.timeout(self._deadline(context)):
                        caller = admit(peer, context)
                        answer = await handler(caller, _parse(request_type, body))
                        # Trailing, as with a refusal: sent ahead, it would take a turn of its own.
                        context.set_trailing_metadata(((status.REQUEST_ID, peer.request_id),))
                        return answer.SerializeToString()
            except VaultError as e:
                error = e
            if not context.cancelled():  # else nobody is there to hear it
                await _abort(context, error, peer.request_id)
            return b""

        return grpc.unary_unary_rpc_method_handler(serve)

    def call(self, peer: "Peer", context: Context) -> Call:
        """Admit a service."""
        policy, service = self._identify(peer, context)
        if service is None:
            raise _not_for(Caller.OFFICER)
        return Call(policy, service, peer.request_id, peer.repeatable)

    def visit(self, peer: "Peer", context: Context) -> Visit:
        """Admit an officer or a service."""
        return Visit(*self._identify(peer, context))

    def _identify(self, peer: "Peer", context: Context) -> tuple[PolicyState, Service | None]:
        """Find out who calls, and look up the method's authorization row."""
        policy = self._policy()
        spiffe = spiffe_id(context.auth_context())
        kind, service = identify(policy.current, self._officers, spiffe)
        peer.caller = service.name if service else kind.name.lower()
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
            raise _not_for(kind)
        return policy, service

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        return min(remaining if remaining is not None else self._default_deadline, LONGEST_DEADLINE)


@contextmanager
def _measured(peer: Peer) -> Iterator[None]:
    """Log one line a call, and let nothing but VaultError out."""
    started = time.perf_counter()
    try:
        yield
    except VaultError as e:
        peer.reason = e.reason
        raise
    except asyncio.CancelledError:
        peer.reason = "CANCELLED"  # the caller left
        raise
    except TimeoutError:
        peer.reason = Reason.DEADLINE_EXCEEDED
        raise VaultError(
            Reason.DEADLINE_EXCEEDED, "The deadline passed before there was an answer."
        ) from None
    except Exception as e:
        peer.reason = Reason.INTERNAL
        frames = "".join(traceback.format_tb(e.__traceback__))
        log.error("unforeseen %s, request %s\n%s", type(e).__name__, peer.request_id, frames)
        raise VaultError(
            Reason.INTERNAL, "A fault of the server's. Its operators find it by the request id."
        ) from None
    finally:
        took = (time.perf_counter() - started) * 1000
        log.info(
            "%s caller=%s reason=%s request=%s ms=%.1f",
            peer.method,
            peer.caller,
            peer.reason,
            peer.request_id,
            took,
        )


def _peer(method: str, context: Context) -> Peer:
    """Take the caller's request id; one that is no UUID is replaced: nothing rides along in it."""
    for key, value in context.invocation_metadata() or ():
        if key == status.REQUEST_ID and isinstance(value, str) and is_request_id(value):
            return Peer(method, value, repeatable=True)
    return Peer(method, str(uuid.uuid4()), repeatable=False)


def _parse(request_type: type[Request], body: bytes) -> Request:
    try:
        return request_type.FromString(body)
    except DecodeError:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"The bytes are no {request_type.DESCRIPTOR.full_name}; its strings must be UTF-8.",
        ) from None


def _not_for(kind: Caller) -> VaultError:
    called = kind.name.lower().replace("_", "-")
    return VaultError(
        Reason.METHOD_NOT_ALLOWED, f"This method isn't for callers of your kind ({called})."
    )


async def _abort(context: Context, error: VaultError, request_id: str) -> None:
    metadata = (
        (status.DETAILS, status.details(error, request_id)),
        (status.REQUEST_ID, request_id),
    )
    await context.abort(status.CODE_OF[error.reason], error.message, metadata)
