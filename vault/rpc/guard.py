"""The guard: every call passes here, from its bytes to its bytes.

Parsing and serialising happen inside: gRPC would show an exception in its own (de)serialisers
to the client word for word. Whatever a handler raises that isn't a VaultError becomes INTERNAL;
its text goes nowhere, since it may hold a value, and the log names its class and where it arose.

Where more is asked than can be done, it is refused here, before it is parsed: what waits is
bounded. A call whose deadline passed while it waited is begun no more.

A stream outlives what was true when it began: its caller is admitted again and again while it
lasts, and it ends as a call would that is refused.
"""

import asyncio
import logging
import math
import time
import traceback
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager, nullcontext
from functools import partial
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message

from vault.errors import Reason, VaultError
from vault.rpc import status
from vault.rpc.admission import Peer, admit_caller, not_for, peer_of, read_from
from vault.rpc.identity import Caller, spiffe_id
from vault.rpc.streams import Context, Request, between, requests, write
from vault.service.call import Call, PolicyState, Visit
from vault.service.places import MOST_CALLS, Places
from vault.service.refusals import Asked

log = logging.getLogger("piivault.rpc")

LONGEST_DEADLINE = 60.0  # seconds, whatever the caller asks for
LONGEST_STREAM = 24 * 3600.0  # seconds, likewise; a stream without a deadline lasts as long

_GRPC_CANCELS = nullcontext()

Admitted = TypeVar("Admitted", Call, Visit)
Handler = Callable[[Any, Any], Awaitable[Message]]
StreamHandler = Callable[[Any, Any], AsyncGenerator[Message, None]]
Again = Callable[[], Any]
Read = Callable[[type[Any], bytes], Any]
DuplexHandler = Callable[
    [Again, AsyncGenerator[Any, None]], Awaitable[AsyncGenerator[Message, None]]
]
Admit = Callable[[Peer, Context], Admitted]
Answered = Callable[[str, str, float | None], None]
Refused = Callable[[Asked, VaultError], Awaitable[None]]


def _nobody(method: str, reason: str, seconds: float | None) -> None:
    """Tell nobody."""


async def _no_trail(asked: Asked, error: VaultError) -> None:
    """Leave no event: for tests that serve without a trail."""


class Guard:
    """Stands between gRPC and the servicers of one process.

    `officers` are names by SPIFFE id. `answered` is told of each call's method, reason, and
    seconds (None for a stream). `refused` is awaited before a refusal is answered.
    """

    def __init__(
        self,
        policy: Callable[[], PolicyState],
        officers: Mapping[str, str],
        default_deadline: float,
        answered: Answered = _nobody,
        refused: Refused = _no_trail,
        places: Places | None = None,
    ) -> None:
        self._policy = policy
        self._officers = officers
        self._default_deadline = default_deadline
        self._answered = answered
        self._refused = refused
        self._places = places or Places(MOST_CALLS)
        self._leaving = False

    def unary(
        self, method: str, request_type: type[Request], handler: Handler, admit: Admit[Any]
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Wrap a handler of one request and one answer; `method` is its full name.

        `admit` is `call` for what services do with data, `visit` for what concerns the policy.
        """

        async def serve(body: bytes, context: Context) -> bytes:
            peer = peer_of(method, context)
            error: VaultError
            try:
                with self._measured(peer, context):
                    async with self._time_for(context):
                        caller = admit(peer, context)
                        with self._places.take(caller.service):
                            answer = await handler(
                                caller, read_from(peer, caller, request_type, body)
                            )
                        # Trailing, as with a refusal: sent ahead, it would take a turn of its own.
                        context.set_trailing_metadata(((status.REQUEST_ID, peer.request_id),))
                        return answer.SerializeToString()
            except VaultError as e:
                error = e
            await self._note(peer, error)
            if not context.cancelled():  # else nobody is there to hear it
                await _abort(context, error, peer.request_id)
            return b""

        return grpc.unary_unary_rpc_method_handler(serve)

    def stream(
        self, method: str, request_type: type[Request], handler: StreamHandler, admit: Admit[Any]
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Wrap a handler of one request and a stream of answers."""

        async def serve(body: bytes, context: Context) -> None:
            async def answers(again: Again, read: Read) -> AsyncGenerator[Message, None]:
                return handler(again(), read(request_type, body))

            await self._stream(method, context, admit, answers)

        return grpc.unary_stream_rpc_method_handler(serve)

    def duplex(
        self, method: str, request_type: type[Request], handler: DuplexHandler, admit: Admit[Any]
    ) -> "grpc.RpcMethodHandler[bytes, bytes]":
        """Wrap a handler of a stream of requests and a stream of answers.

        What it is given first admits the caller anew, for each request by itself. It returns once
        it knows from the first request that it will answer: only then metadata is sent, for which
        a caller does well to wait before it sends more.
        """

        async def serve(_: object, context: Context) -> None:
            async def answers(again: Again, read: Read) -> AsyncGenerator[Message, None]:
                return await handler(again, requests(partial(read, request_type), context))

            await self._stream(method, context, admit, answers)

        return grpc.stream_stream_rpc_method_handler(serve)

    async def _stream(
        self,
        method: str,
        context: Context,
        admit: Admit[Any],
        answers: Callable[[Again, Read], Awaitable[AsyncGenerator[Message, None]]],
    ) -> None:
        """Send answers as they come, for as long as the caller is admitted."""
        peer = peer_of(method, context)
        error: VaultError
        try:
            with self._measured(peer, context, is_stream=True):
                async with asyncio.timeout(self._stream_deadline(context)):
                    again = partial(self._stay, admit, peer, context)
                    caller = again()
                    with self._places.take(caller.service):
                        messages = await answers(again, partial(read_from, peer, caller))
                        metadata = ((status.REQUEST_ID, peer.request_id),)
                        await context.send_initial_metadata(metadata)
                        async with aclosing(between(messages, again)) as lasting:
                            async for message in lasting:
                                await write(context, message)
            return
        except VaultError as e:
            error = e
        await self._note(peer, error)
        if not context.cancelled():
            await _abort(context, error, peer.request_id)

    def leave(self) -> None:
        """End all streams: the process is about to stop."""
        self._leaving = True

    def call(self, peer: Peer, context: Context) -> Call:
        """Admit a service."""
        policy = self._policy()
        service = admit_caller(policy, self._officers, peer, context)
        if service is None:
            raise not_for(Caller.OFFICER)
        return Call(policy, service, peer.request_id, peer.repeatable, peer.asked.trace)

    def visit(self, peer: Peer, context: Context) -> Visit:
        """Admit an officer or a service."""
        policy = self._policy()
        service = admit_caller(policy, self._officers, peer, context)
        officer = "" if service else self._officers[spiffe_id(context.auth_context())]
        return Visit(policy, service, officer, peer.request_id, peer.asked.trace)

    async def _note(self, peer: Peer, error: VaultError) -> None:
        """Have a refusal noted; whatever goes wrong with that, the caller hears the refusal."""
        try:
            await self._refused(peer.asked, error)
        except Exception as e:
            log.error("unforeseen %s in noting request %s", type(e).__name__, peer.request_id)

    @contextmanager
    def _measured(self, peer: Peer, context: Context, *, is_stream: bool = False) -> Iterator[None]:
        """Log one line a call, and let nothing but VaultError out."""
        started = time.perf_counter()
        try:
            yield
        except VaultError as e:
            peer.reason = e.reason
            raise
        except asyncio.CancelledError:
            late = context.time_remaining() == 0  # else the caller left
            peer.reason = Reason.DEADLINE_EXCEEDED if late else "CANCELLED"
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
            self._answered(peer.method, peer.reason, None if is_stream else took / 1000)
            log.info(
                "%s caller=%s reason=%s request=%s ms=%.1f",
                peer.method,
                peer.caller,
                peer.reason,
                peer.request_id,
                took,
            )

    def _time_for(self, context: Context) -> AbstractAsyncContextManager[object]:
        """Bound the time of a call; gRPC itself cancels it at the deadline that its caller set."""
        remaining = _remaining(context, math.inf)
        if remaining <= LONGEST_DEADLINE:
            return _GRPC_CANCELS
        own = self._default_deadline if remaining == math.inf else LONGEST_DEADLINE
        return asyncio.timeout(min(own, LONGEST_DEADLINE))

    def _stream_deadline(self, context: Context) -> float:
        return min(_remaining(context, LONGEST_STREAM), LONGEST_STREAM)

    def _stay(self, admit: Admit[Any], peer: Peer, context: Context) -> Any:
        """Admit a stream's caller again; raise VaultError if it may no longer call, or we leave."""
        if self._leaving:
            raise VaultError(Reason.STORAGE_UNAVAILABLE, "This process is stopping. Begin anew.")
        return admit(peer, context)


def _remaining(context: Context, default: float) -> float:
    """Return the seconds that the caller waits yet; raise TimeoutError if it gave up before us."""
    remaining = context.time_remaining()
    if remaining is None:
        return default
    if remaining <= 0:
        raise TimeoutError
    return remaining


async def _abort(context: Context, error: VaultError, request_id: str) -> None:
    metadata: tuple[tuple[str, str | bytes], ...] = (
        (status.DETAILS, status.details(error, request_id)),
        (status.REQUEST_ID, request_id),
        *status.pushback(error, context.time_remaining()),
    )
    await context.abort(status.CODE_OF[error.reason], error.message, metadata)
