"""A small server for the SDK's own seams: real gRPC, real mTLS, answers as a test writes them.

What the real server answers is tested with the real server; here stands what can't be made to
happen there at will, such as one failure and then success.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from piivault import TLS, AsyncClient, Client
from piivault.v1 import pseudonym_service_pb2 as pseudonym_pb
from piivault.v1 import record_service_pb2 as record_pb
from piivault.v1 import subject_service_pb2 as subject_pb
from piivault.v1 import types_pb2
from piivault.v1.pseudonym_service_pb2_grpc import add_PseudonymServiceServicer_to_server
from piivault.v1.record_service_pb2_grpc import add_RecordServiceServicer_to_server
from piivault.v1.subject_service_pb2_grpc import add_SubjectServiceServicer_to_server

Answer = Callable[[Any, grpc.ServicerContext], Any]  # a message, or an iterator of them

PSEUDONYM = "psn_" + "A" * 43
PATIENT = 20.0  # seconds; so that a busy machine fails no test


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it reached the server."""

    method: str
    request: Any
    request_id: str
    peer: str
    certificate: bytes


class House:
    """The server: `answers[method]` are taken in turn, and the last one stays."""

    def __init__(self, tls: TLS, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self.answers: dict[str, list[Answer]] = defaultdict(list)
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        add_PseudonymServiceServicer_to_server(self._servicer(), self._server)
        add_RecordServiceServicer_to_server(self._servicer(), self._server)
        add_SubjectServiceServicer_to_server(self._servicer(), self._server)
        key, certificate = (Path(f).read_bytes() for f in (tls.private_key, tls.certificate))
        credentials = grpc.ssl_server_credentials(
            [(key, certificate)], Path(tls.ca).read_bytes(), require_client_auth=True
        )
        port = self._server.add_secure_port(f"127.0.0.1:{port}", credentials)
        self.address = f"127.0.0.1:{port}"
        self._server.start()

    def answer(self, method: str, *answers: Answer | Message) -> None:
        """Write what the next calls of the method get."""
        self.answers[method] = [_constant(a) if isinstance(a, Message) else a for a in answers]

    def calls(self, method: str) -> list[Seen]:
        """What reached the server under this method."""
        return [seen for seen in self.seen if seen.method == method]

    def stop(self) -> None:
        self._server.stop(None).wait()

    def _servicer(self) -> Any:
        house = self

        class Servicer:
            def __getattr__(self, method: str) -> Answer:
                return lambda request, context: house._serve(method, request, context)

        return Servicer()

    def _serve(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        metadata = dict(context.invocation_metadata())
        self.seen.append(
            Seen(
                method,
                request,
                str(metadata["piivault-request-id"]),
                context.peer(),
                bytes(context.auth_context()["x509_pem_cert"][0]),
            )
        )
        answers = self.answers[method]
        return (answers.pop(0) if len(answers) > 1 else answers[0])(request, context)


def _constant(message: Message) -> Answer:
    return lambda request, context: message


def refusal(
    code: grpc.StatusCode,
    reason: str,
    *,
    violations: Mapping[str, str] | None = None,
    retry_after: int | None = None,
    pushback: int | None = None,
    domain: str = "piivault",
) -> Answer:
    """Refuse as the real server does. `pushback` is in milliseconds; -1 asks not to come back."""
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=reason, domain=domain)]
    if violations:
        kind = error_details_pb2.BadRequest.FieldViolation
        faults = [kind(field=part, description=fault) for part, fault in violations.items()]
        details.append(error_details_pb2.BadRequest(field_violations=faults))
    if retry_after:
        details.append(error_details_pb2.RetryInfo(retry_delay=Duration(seconds=retry_after)))
    status = status_pb2.Status(code=code.value[0], message="A sentence for people.")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)

    def refuse(request: Any, context: grpc.ServicerContext) -> NoReturn:
        details = ("grpc-status-details-bin", status.SerializeToString())
        said = () if pushback is None else (("grpc-retry-pushback-ms", str(pushback)),)
        context.set_trailing_metadata((details, *said))
        context.abort(code, "A sentence for people.")

    return refuse


def bare(code: grpc.StatusCode) -> Answer:
    """Fail as a proxy or gRPC itself does: a code, and a text that isn't ours."""

    def fail(request: Any, context: grpc.ServicerContext) -> NoReturn:
        context.abort(code, "planted-value-in-a-foreign-text")

    return fail


def issued(capability: str = "cap_1", lasts: timedelta = timedelta(minutes=5)) -> Message:
    """What the broker answers."""
    response = pseudonym_pb.IssueResponse(pseudonym=PSEUDONYM, capability=capability)
    response.expires_at.FromDatetime(datetime.now(UTC) + lasts)
    return response


def record(**values: str | None) -> record_pb.RevealResponse:
    """A record whose fields are plain; None for one that isn't held."""
    fields = [
        types_pb2.RevealedField(
            name=name, form=types_pb2.FORM_PLAIN, present=value is not None, value=value
        )
        for name, value in values.items()
    ]
    return record_pb.RevealResponse(fields=fields, etag="e1", edition=3)


def erased() -> subject_pb.EraseResponse:
    """The answer to an erasure."""
    request = types_pb2.SubjectRequest(
        id=bytes(16),
        kind=types_pb2.REQUEST_KIND_ERASURE,
        state=types_pb2.REQUEST_STATE_DONE,
        opened="2026-01-01",
        due="2026-01-08",
        closed="2026-01-01",
    )
    return subject_pb.EraseResponse(receipt=b"signed", request=request)


def etag(of: type[Any] = subject_pb.RegisterResponse) -> Message:
    """What a write answers."""
    response: Message = of(etag="e2")
    return response


class Sdk:
    """One of the two clients, so that one test runs on both."""

    def __init__(self, kind: type[Client] | type[AsyncClient]) -> None:
        self._kind = kind
        self._loop = asyncio.new_event_loop()
        self._open: list[Any] = []

    def open(self, address: str, tls: TLS, **options: Any) -> Any:
        """Open a client; it is closed after the test."""
        client = self._kind(address, tls=tls, **options)
        self._open.append(client)
        return client

    def do(self, result: Any) -> Any:
        """Wait for what a method returned, if it must be waited for; iterators become lists."""
        if isinstance(result, Coroutine):
            return self._loop.run_until_complete(result)
        if isinstance(result, AsyncIterator):
            return self._loop.run_until_complete(_collect(result))
        return list(result) if isinstance(result, Iterator) else result

    def function(self, of: Callable[[], Any]) -> Any:
        """Return a function as this client takes one: the asyncio client's is a coroutine's."""

        async def awaited() -> Any:
            return of()

        return awaited if self._kind is AsyncClient else of

    def first(self, result: Any) -> Any:
        """Take one item of an iterator and leave the rest."""
        if isinstance(result, AsyncIterator):
            return self._loop.run_until_complete(anext(result))
        return next(result)

    def close(self) -> None:
        for client in self._open:
            self.do(client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


async def _collect(items: AsyncIterator[Any]) -> list[Any]:
    return [item async for item in items]
