"""Streams behind the guard: requests as they come, answers for as long as the caller may call."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeAlias, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from vault.errors import Reason, VaultError

ADMIT_AGAIN = 1.0  # seconds between looks at whether a stream's caller may still call
LONGEST_SILENCE = 60.0  # seconds that a stream of requests may bring none, or nobody read answers

Request = TypeVar("Request", bound=Message)
Context: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


def parse(request_type: type[Request], body: bytes) -> Request:
    """Read a request; raise VaultError(MALFORMED_REQUEST)."""
    try:
        return request_type.FromString(body)
    except DecodeError:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"The bytes are no {request_type.DESCRIPTOR.full_name}; its strings must be UTF-8.",
        ) from None


async def requests(
    read: Callable[[bytes], Request], context: Context
) -> AsyncGenerator[Request, None]:
    """Yield requests until the caller has sent its last. Raises VaultError.

    None is read before it is asked for, so that a caller sends no faster than it is served.
    """
    while True:
        try:
            async with asyncio.timeout(LONGEST_SILENCE):
                body: Any = await context.read()
        except TimeoutError:
            raise VaultError(
                Reason.DEADLINE_EXCEEDED,
                f"Nothing was asked for {LONGEST_SILENCE:g} seconds. Begin anew with what is left.",
            ) from None
        if body is grpc.aio.EOF:
            return
        yield read(body)


async def write(context: Context, message: Message) -> None:
    """Send a message; raise VaultError(DEADLINE_EXCEEDED) if the caller doesn't read.

    Else whoever opens streams and reads none of them would keep others' places all day.
    """
    try:
        async with asyncio.timeout(LONGEST_SILENCE):
            await context.write(message.SerializeToString())
    except TimeoutError:
        raise VaultError(
            Reason.DEADLINE_EXCEEDED,
            f"Nothing was read for {LONGEST_SILENCE:g} seconds. Begin anew with what is left.",
        ) from None


async def between(
    messages: AsyncGenerator[Message, None], stay: Callable[[], object]
) -> AsyncGenerator[Message, None]:
    """Yield messages as they come, and call `stay` all the while; it raises to end the stream."""
    loop = asyncio.get_running_loop()
    stayed = loop.time()
    upcoming: asyncio.Future[Message] = asyncio.ensure_future(anext(messages))
    try:
        while True:
            await asyncio.wait((upcoming,), timeout=ADMIT_AGAIN)
            if loop.time() - stayed >= ADMIT_AGAIN or not upcoming.done():
                stay()
                stayed = loop.time()
            if upcoming.done():
                try:
                    message = upcoming.result()
                except StopAsyncIteration:
                    return
                yield message
                upcoming = asyncio.ensure_future(anext(messages))
    finally:
        upcoming.cancel()
        await asyncio.gather(upcoming, return_exceptions=True)
        await messages.aclose()
