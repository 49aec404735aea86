"""Calls as they go over the wire, without the SDK: for requests that the SDK wouldn't send.

Whatever the server refuses, in any test, is held against the promise of errors.proto: ErrorInfo
of our domain, the code of its reason, and the request id in both places.
"""

import queue
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import grpc
import pytest
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from piivault import TLS
from piivault.v1 import (
    audit_service_pb2,
    key_service_pb2,
    policy_service_pb2,
    pseudonym_service_pb2,
    record_service_pb2,
    request_service_pb2,
    subject_service_pb2,
)

from vault.rpc.status import CODE_OF, DETAILS, DOMAIN, REQUEST_ID

Answer = TypeVar("Answer")
PATIENCE = 30.0  # seconds: a busy machine is no fault
MODULES = (
    audit_service_pb2,
    key_service_pb2,
    policy_service_pb2,
    pseudonym_service_pb2,
    record_service_pb2,
    request_service_pb2,
    subject_service_pb2,
)


def _methods() -> Iterator[tuple[str, MethodDescriptor]]:
    for module in MODULES:
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                yield f"/{service.full_name}/{method.name}", method


METHODS = dict(_methods())
"""Every RPC there is, by its full name."""

_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)
_METHOD_OF = {method.input_type.full_name: name for name, method in METHODS.items()}


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a caller is told, and `seen`: every byte of it."""

    code: grpc.StatusCode
    reason: str
    message: str
    violations: dict[str, str]
    retry_after: float | None
    request_id: str
    seen: str

    def alike(self) -> tuple[object, ...]:
        """Return all that two refusals of two requests could differ in."""
        return (self.code, self.reason, self.message, *sorted(self.violations.items()))


def open_channel(address: str, tls: TLS | None = None, *, ca: Path | None = None) -> grpc.Channel:
    """Open a channel that retries nothing; without `tls` it shows no certificate."""
    pair = [Path(f).read_bytes() for f in (tls.private_key, tls.certificate)] if tls else [None] * 2
    trusted = ca or Path(tls.ca if tls else "")
    options = [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1)]
    credentials = grpc.ssl_channel_credentials(trusted.read_bytes(), *pair)
    return grpc.secure_channel(address, credentials, options)


def new_request_id() -> str:
    """Draw one."""
    return str(uuid.uuid4())


def send(
    channel: grpc.Channel,
    request: Message,
    request_id: str = "",
    timeout: float | None = PATIENCE,
) -> Any:
    """Send a request to the one method that takes it; return the answer or raise grpc.RpcError."""
    name = _METHOD_OF[request.DESCRIPTOR.full_name]
    answer = message_factory.GetMessageClass(METHODS[name].output_type)
    body = send_bytes(channel, name, request.SerializeToString(), request_id, timeout)
    return answer.FromString(body)


def send_bytes(
    channel: grpc.Channel,
    method: str,
    body: bytes,
    request_id: str = "",
    timeout: float | None = PATIENCE,
) -> bytes:
    """Send whatever bytes to whatever method."""
    metadata = ((REQUEST_ID, request_id),) if request_id else ()
    call: Any = channel.unary_unary(method)  # the stubs don't know calls without serialisers
    answer: bytes = call(body, timeout=timeout, metadata=metadata)
    return answer


class Stream:
    """A stream of requests, as its caller has it: ask, read, close or hang up."""

    def __init__(
        self,
        channel: grpc.Channel,
        method: str,
        request_id: str = "",
        timeout: float | None = PATIENCE,
    ) -> None:
        self._asked: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._type = message_factory.GetMessageClass(METHODS[method].output_type)
        call: Any = channel.stream_stream(method)
        metadata = ((REQUEST_ID, request_id or new_request_id()),)
        self.call = call(iter(self._asked.get, None), timeout=timeout, metadata=metadata)

    def ask(self, *requests: Message | bytes) -> None:
        """Send messages, or whatever bytes."""
        for request in requests:
            body = request if isinstance(request, bytes) else request.SerializeToString()
            self._asked.put(body)

    def close(self) -> None:
        """Ask for nothing more."""
        self._asked.put(None)

    def answer(self) -> Any:
        """Read the next answer."""
        return self._type.FromString(next(self.call))

    def rest(self) -> list[Any]:
        """Ask for nothing more, and read to the end; raises grpc.RpcError."""
        self.close()
        return [self._type.FromString(body) for body in self.call]

    def refusal(self) -> Refusal:
        """Read to the end, which must be a refusal."""
        with pytest.raises(grpc.RpcError) as caught:
            for _ in self.call:
                pass
        self.close()
        return refusal_of(caught.value)


def stream(channel: grpc.Channel, *requests: Message, request_id: str = "") -> list[Any]:
    """Send all of a stream of requests and return the answers, or raise grpc.RpcError."""
    opened = Stream(channel, _METHOD_OF[requests[0].DESCRIPTOR.full_name], request_id)
    opened.ask(*requests)
    return opened.rest()


def is_ready(channel: grpc.Channel, service: str = "") -> bool:
    """Ask the health service whether a process, or one of its services, is serving."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=PATIENCE)
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def refused(channel: grpc.Channel, request: Message, request_id: str = "") -> Refusal:
    """Send a request that must be refused."""
    request_id = request_id or new_request_id()
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, request, request_id)
    refusal = refusal_of(caught.value)
    assert refusal.request_id == request_id
    return refusal


def patiently(ask: Callable[[], Answer]) -> Answer:
    """Ask again while a process can't say: it is busy, or the policy changed just now."""
    ends = time.monotonic() + PATIENCE
    while True:
        try:
            return ask()
        except grpc.RpcError as error:
            if error.code() not in _PASSING or time.monotonic() > ends:
                raise
            time.sleep(0.1)


def reason_of(channel: grpc.Channel, request: Message, request_id: str = "") -> str:
    """Send a request; return the reason of the refusal, or "" if it was answered."""
    try:
        send(channel, request, request_id)
    except grpc.RpcError as error:
        return refusal_of(error).reason
    return ""


def wait_for(
    holds: Callable[[], bool],
    seconds: float = PATIENCE,
    what: str = "what was waited for",
    *,
    pause: float = 0.05,
) -> None:
    """Wait until something holds, at most for so long; look after each pause."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(pause)


def refusal_of(error: Any) -> Refusal:
    """Read what the server said, and check the promise that holds for every error."""
    trailers = dict(error.trailing_metadata() or ())
    assert DETAILS in trailers, f"a status without details: {error.code()} {error.details()}"
    status = status_pb2.Status.FromString(trailers[DETAILS])
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    assert all(
        sum(detail.Unpack(kind) for kind in (info, bad, retry)) == 1 for detail in status.details
    )
    assert info.domain == DOMAIN
    assert CODE_OF[info.reason] is error.code()
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    assert status.message.endswith(".")
    assert info.metadata["request_id"] == trailers[REQUEST_ID]
    seconds = retry.retry_delay.ToTimedelta().total_seconds()
    return Refusal(
        code=error.code(),
        reason=info.reason,
        message=status.message,
        violations={v.field: v.description for v in bad.field_violations},
        retry_after=seconds if retry.HasField("retry_delay") else None,
        request_id=info.metadata["request_id"],
        seen=f"{trailers} {status} {error.details()} {error.debug_error_string()}",
    )
