"""Sending a call, and turning what gRPC raises into the SDK's errors: for threads, for asyncio."""

from collections.abc import Iterator, Sequence

import grpc

from piivault import _errors
from piivault._call import REQUEST_ID_KEY, Call, Response, Result, check_size
from piivault._channel import Connections
from piivault._settings import Deadline, Settings
from piivault.errors import PiivaultError


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
        check_size(call)
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
        check_size(call)
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

    async def close(self) -> None:
        """Close every connection."""
        for channel in self._connections.take_all():
            await channel.close()


def _metadata(call: Call[Response, Result]) -> tuple[tuple[str, str]]:
    return ((REQUEST_ID_KEY, call.request_id),)


def _explain(
    error: grpc.RpcError,
    call: Call[Response, Result],
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
