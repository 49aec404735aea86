"""Sending a call, and turning what gRPC raises into the SDK's errors: for threads, for asyncio."""

import asyncio
import queue
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any

import grpc
from google.protobuf.message import Message

from piivault import _errors
from piivault._call import REQUEST_ID_KEY, Call, Response, Result, check_size
from piivault._channel import Connections
from piivault._settings import Deadline, Settings
from piivault._streams import Ahead, Item, StreamCall
from piivault.errors import ConnectionFailed, InternalError, PiivaultError

_CROSSED = "Internal error from Core"

AnyCall = Call[Any, Any] | StreamCall[Any, Any, Any]


class Transport:
    """Sends calls and waits for their answers."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connections = Connections[grpc.Channel](settings, grpc.secure_channel)

    def deadline(self, timeout: float | None) -> Deadline:
        """Begin to count: the method's own timeout, or else the client's."""
        return Deadline(self._settings.timeout if timeout is None else timeout)

    def signing_keys(self, compartment: str) -> Sequence[str]:
        """Return the public keys that a compartment's attestations are verified by."""
        return self._settings.signing_keys_of(compartment)

    def run(self, call: Call[Response, Result], deadline: Deadline) -> Result:
        """Send the call and read its answer; raise the PiivaultError that it ended with."""
        address = self._settings.address_of(call.compartment)
        check_size(call.request)
        channel = self._connections.pick(address)
        for idle in self._connections.take_idle():
            idle.close()
        send = channel.unary_unary(
            call.method, type(call.request).SerializeToString, call.response.FromString
        )
        try:
            response = send(call.request, timeout=deadline.left(), metadata=_metadata(call))
        except grpc.RpcError as error:
            raise _explain(error, call, deadline, address, self._settings) from None
        return call.read(response)

    def stream(self, call: Call[Response, Result]) -> Iterator[Result]:
        """Send the call and yield its answers as they come, without a deadline.

        Raises the PiivaultError that it ended with, unless it was the server that ended it well.
        """
        address = self._settings.address_of(call.compartment)
        channel = self._connections.pick(address)
        send = channel.unary_stream(
            call.method, type(call.request).SerializeToString, call.response.FromString
        )
        answers = send(call.request, metadata=_metadata(call))
        try:
            for answer in answers:
                yield call.read(answer)
        except grpc.RpcError as error:
            deadline = self.deadline(None)
            raise _explain(error, call, deadline, address, self._settings) from None
        finally:
            answers.cancel()

    def duplex(
        self, call: StreamCall[Item, Response, Result], items: Iterable[Item], lasting: float
    ) -> Iterator[Result]:
        """Send items and yield their results, in order; go on with the rest if the stream breaks.

        A connection has `lasting` seconds; raises the PiivaultError of one that brought nothing.
        """
        ahead = Ahead(items, call.window)
        while not ahead.ended:
            try:
                yield from self._connected(call, ahead, self.deadline(lasting))
            except PiivaultError as error:
                time.sleep(ahead.pause(error))
        ahead.end()

    def _connected(
        self, call: StreamCall[Item, Response, Result], ahead: Ahead[Item], deadline: Deadline
    ) -> Iterator[Result]:
        address = self._settings.address_of(call.compartment)
        channel = self._connections.pick(address)
        send = channel.stream_stream(
            call.method, type(call.start).SerializeToString, call.response.FromString
        )
        requests: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        requests.put(call.start)
        answers = send(iter(requests.get, None), timeout=deadline.left(), metadata=_metadata(call))
        ahead.begin()
        try:
            while True:
                for request in call.ask(ahead.take(deadline)):
                    requests.put(_checked(request))
                if ahead.is_over(deadline):
                    requests.put(None)
                if not ahead.waits:
                    break
                answer: Any = next(answers)
                for item, result in ahead.answered(answer.index, call.results(answer)):
                    yield call.read(item, result)
            next(answers, None)  # the end of it
        except StopIteration:
            raise InternalError("The stream ended before all was answered.") from None
        except grpc.RpcError as error:
            raise _explain(error, call, deadline, address, self._settings) from None
        finally:
            requests.put(None)
            answers.cancel()

    def close(self) -> None:
        """Close every connection."""
        for channel in self._connections.take_all():
            channel.close()


class AsyncTransport:
    """The same, awaited."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connections = Connections[grpc.aio.Channel](settings, grpc.aio.secure_channel)

    def deadline(self, timeout: float | None) -> Deadline:
        """Begin to count: the method's own timeout, or else the client's."""
        return Deadline(self._settings.timeout if timeout is None else timeout)

    def signing_keys(self, compartment: str) -> Sequence[str]:
        """Return the public keys that a compartment's attestations are verified by."""
        return self._settings.signing_keys_of(compartment)

    async def run(self, call: Call[Response, Result], deadline: Deadline) -> Result:
        """Send the call and read its answer; raise the PiivaultError that it ended with."""
        address = self._settings.address_of(call.compartment)
        check_size(call.request)
        channel = self._connections.pick(address)
        for idle in self._connections.take_idle():
            await idle.close()
        send = channel.unary_unary(
            call.method, type(call.request).SerializeToString, call.response.FromString
        )
        try:
            response = await send(call.request, timeout=deadline.left(), metadata=_metadata(call))
        except grpc.RpcError as error:
            raise _explain(error, call, deadline, address, self._settings) from None
        return call.read(response)

    async def duplex(
        self, call: StreamCall[Item, Response, Result], items: Iterable[Item], lasting: float
    ) -> AsyncGenerator[Result, None]:
        """Send items and yield their results, in order; go on with the rest if the stream breaks.

        A connection has `lasting` seconds; raises the PiivaultError of one that brought nothing.
        """
        ahead = Ahead(items, call.window)
        while not ahead.ended:
            try:
                async with aclosing(
                    self._connected(call, ahead, self.deadline(lasting))
                ) as results:
                    async for result in results:
                        yield result
            except PiivaultError as error:
                await asyncio.sleep(ahead.pause(error))
        ahead.end()

    async def _connected(
        self, call: StreamCall[Item, Response, Result], ahead: Ahead[Item], deadline: Deadline
    ) -> AsyncGenerator[Result, None]:
        address = self._settings.address_of(call.compartment)
        channel = self._connections.pick(address)
        send = channel.stream_stream(
            call.method, type(call.start).SerializeToString, call.response.FromString
        )
        stream = send(timeout=deadline.left(), metadata=_metadata(call))
        ahead.begin()
        reading: asyncio.Future[Any] | None = None
        try:
            await _write(stream, call.start)
            # Comes once the start is accepted. A write that crosses the server's refusal would
            # hide it: grpc.aio then knows no more than INTERNAL, and loses what isn't being read.
            await stream.initial_metadata()
            while True:
                reading = reading or asyncio.ensure_future(stream.read())
                await _write(stream, *map(_checked, call.ask(ahead.take(deadline))))
                if ahead.is_over(deadline):
                    await stream.done_writing()
                if not ahead.waits:
                    break
                answer, reading = await reading, None
                if answer is grpc.aio.EOF:
                    raise InternalError("The stream ended before all was answered.")
                for item, result in ahead.answered(answer.index, call.results(answer)):
                    yield call.read(item, result)
            await reading  # the end of it
        except grpc.RpcError as error:
            if _is_crossed(error):
                raise ConnectionFailed("The stream broke.", reason="CONNECTION_LOST") from None
            raise _explain(error, call, deadline, address, self._settings) from None
        finally:
            stream.cancel()
            if reading is not None:
                await asyncio.gather(reading, return_exceptions=True)

    async def close(self) -> None:
        """Close every connection."""
        for channel in self._connections.take_all():
            await channel.close()


async def _write(stream: Any, *requests: Message) -> None:
    """Send requests, unless the stream has ended: reading says why."""
    with suppress(asyncio.InvalidStateError, grpc.aio.AioRpcError):
        for request in requests:
            await stream.write(request)


def _is_crossed(error: grpc.RpcError) -> bool:
    """Tell whether grpc.aio failed to write to a stream that had ended, and lost its status."""
    return error.code() is grpc.StatusCode.INTERNAL and error.details() == _CROSSED


def _checked(request: Message) -> Message:
    check_size(request)
    return request


def _metadata(call: AnyCall) -> tuple[tuple[str, str]]:
    return ((REQUEST_ID_KEY, call.request_id),)


def _explain(
    error: grpc.RpcError,
    call: AnyCall,
    deadline: Deadline,
    address: str,
    settings: Settings,
) -> PiivaultError:
    return _errors.from_rpc_error(
        error,
        request_id=call.request_id,
        address=address,
        tls=settings.tls,
        timeout=deadline.seconds,
    )
