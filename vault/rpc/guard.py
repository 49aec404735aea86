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
from vault.rpc import status
from vault.rpc.authorization import may_call
from vault.rpc.identity import Caller, identify, spiffe_id
from vault.service.call import Call, PolicyState

log = logging.getLogger("piivault.rpc")

LONGEST_DEADLINE = 60.0  # seconds, whatever the caller asks for

Request = TypeVar("Request", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"
Handler = Callable[[Call, Any], Awaitable[Message]]


@dataclass(slots=True)
class _Line:
    """What the log says of one call: never a value, a key or a pseudonym."""

    method: str
    request_id: str
    caller: str = "-"
    reason: str = "OK"


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
        self, method: str, request_type: type[Request], handler: Handler
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Wrap a handler of one request and one answer; `method` is its full name."""

        async def serve(body: bytes, context: Context) -> bytes:
            line, repeatable = _line(method, context)
            error: VaultError
            try:
                with _measured(line):
                    async with asyncio.timeout(self._deadline(context)):
                        call = self._admit(line, context, repeatable)
                        answer = await handler(call, _parse(request_type, body))
                        await context.send_initial_metadata(((status.REQUEST_ID, line.request_id),))
                        return answer.SerializeToString()
            except VaultError as e:
                error = e
            await _abort(context, error, line.request_id)
            raise AssertionError("abort raises")

        return grpc.unary_unary_rpc_method_handler(serve)

    def _admit(self, line: _Line, context: Context, repeatable: bool) -> Call:
        """Identify the caller and look up the method's authorization row."""
        policy = self._policy()
        peer = spiffe_id(context.auth_context())
        kind, service = identify(policy.current, self._officers, peer)
        line.caller = service.name if service else kind.name.lower()
        if kind is Caller.STRANGER:
            raise VaultError(
                Reason.IDENTITY_UNKNOWN,
                f"Your certificate's SPIFFE id is nobody's in edition {policy.current.number}.",
            )
        if service is None or not may_call(line.method, kind):
            raise VaultError(
                Reason.METHOD_NOT_ALLOWED,
                f"This method isn't for callers of your kind ({kind.name.lower()}).",
            )
        return Call(policy, service, line.request_id, repeatable)

    def _deadline(self, context: Context) -> float:
        remaining = context.time_remaining()
        return min(remaining if remaining is not None else self._default_deadline, LONGEST_DEADLINE)


@contextmanager
def _measured(line: _Line) -> Iterator[None]:
    """Log one line a call, and let nothing but VaultError out."""
    started = time.perf_counter()
    try:
        yield
    except VaultError as e:
        line.reason = e.reason
        raise
    except asyncio.CancelledError:
        line.reason = "CANCELLED"  # the caller left
        raise
    except TimeoutError:
        line.reason = Reason.DEADLINE_EXCEEDED
        raise VaultError(
            Reason.DEADLINE_EXCEEDED, "The deadline passed before there was an answer."
        ) from None
    except Exception as e:
        line.reason = Reason.INTERNAL
        frames = "".join(traceback.format_tb(e.__traceback__))
        log.error("unforeseen %s, request %s\n%s", type(e).__name__, line.request_id, frames)
        raise VaultError(
            Reason.INTERNAL, "A fault of the server's. Its operators find it by the request id."
        ) from None
    finally:
        took = (time.perf_counter() - started) * 1000
        log.info(
            "%s caller=%s reason=%s request=%s ms=%.1f",
            line.method,
            line.caller,
            line.reason,
            line.request_id,
            took,
        )


def _line(method: str, context: Context) -> tuple[_Line, bool]:
    """Begin a log line; tell whether the request id is the caller's own.

    An id that is no UUID is replaced: nothing personal can ride along in it.
    """
    for key, value in context.invocation_metadata() or ():
        if key == status.REQUEST_ID and isinstance(value, str) and is_request_id(value):
            return _Line(method, value), True
    return _Line(method, str(uuid.uuid4())), False


def _parse(request_type: type[Request], body: bytes) -> Request:
    try:
        return request_type.FromString(body)
    except DecodeError:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"The bytes are no {request_type.DESCRIPTOR.full_name}; its strings must be UTF-8.",
        ) from None


async def _abort(context: Context, error: VaultError, request_id: str) -> None:
    metadata = (
        (status.DETAILS, status.details(error, request_id)),
        (status.REQUEST_ID, request_id),
    )
    await context.abort(status.CODE_OF[error.reason], error.message, metadata)
