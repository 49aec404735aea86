"""The gRPC server of one process: its services behind the guard, TLS with client certificates."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from piivault.v1 import (
    audit_service_pb2,
    key_service_pb2,
    policy_service_pb2,
    pseudonym_service_pb2,
    record_service_pb2,
    request_service_pb2,
    subject_service_pb2,
)

from vault.rpc.audits import AuditServicer
from vault.rpc.guard import Admit, Guard
from vault.rpc.keys import KeyServicer
from vault.rpc.policies import PolicyServicer
from vault.rpc.pseudonyms import PseudonymServicer
from vault.rpc.records import RecordServicer
from vault.rpc.requests import RequestServicer
from vault.rpc.subjects import SubjectServicer
from vault.service.house import House

log = logging.getLogger("piivault.rpc")

OPTIONS = (
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
)


# With it, a second server binds the port silently: so only several workers have it, on a port that
# was reserved for them.
_SHARED = "grpc.so_reuseport"


@dataclass(frozen=True, slots=True)
class Tls:
    """The server's certificate and key, and the CA of its clients; read anew when they change."""

    certificate: Path
    private_key: Path
    client_ca: Path

    def credentials(self) -> grpc.ServerCredentials:
        """Return credentials that demand a client certificate and follow the files."""
        last = self._stamp()

        def changed() -> grpc.ServerCertificateConfiguration | None:
            nonlocal last
            stamp = self._stamp()
            if stamp == last:
                return None
            last = stamp
            return self._read()

        return grpc.dynamic_ssl_server_credentials(
            # None means "as before": the stubs don't know it
            self._read(),
            cast(Callable[[], grpc.ServerCertificateConfiguration], changed),
            require_client_authentication=True,
        )

    def _read(self) -> grpc.ServerCertificateConfiguration:
        pair = (self.private_key.read_bytes(), self.certificate.read_bytes())
        return grpc.ssl_server_certificate_configuration([pair], self.client_ca.read_bytes())

    def _stamp(self) -> tuple[int, ...]:
        files = (self.certificate, self.private_key, self.client_ca)
        return tuple(file.stat().st_mtime_ns for file in files)


class Server:
    """Starts, tells its health, and drains."""

    def __init__(
        self,
        house: House,
        guard: Guard,
        *,
        worker: bool,
        development: bool,
        shares_port: bool = False,
    ) -> None:
        self._grpc = grpc.aio.server(options=(*OPTIONS, (_SHARED, int(shares_port))))
        self._health = health.aio.HealthServicer()
        self._guard = guard
        self._names: list[str] = []
        if worker:
            self._add(guard.call, record_service_pb2, "RecordService", RecordServicer(house))
            self._add(guard.call, subject_service_pb2, "SubjectService", SubjectServicer(house))
            self._add(guard.visit, key_service_pb2, "KeyService", KeyServicer(house))
            requests = RequestServicer(house)
            self._add(guard.visit, request_service_pb2, "RequestService", requests)
        if house.broker is not None:
            servicer = PseudonymServicer(house.broker)
            self._add(guard.call, pseudonym_service_pb2, "PseudonymService", servicer)
        if house.approvals is not None:
            policies = PolicyServicer(house.approvals)
            self._add(guard.visit, policy_service_pb2, "PolicyService", policies)
        if house.audits is not None:
            self._add(guard.visit, audit_service_pb2, "AuditService", AuditServicer(house.audits))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._grpc)
        if development:
            names = (*self._names, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._grpc)

    async def start(self, address: str, tls: Tls) -> int:
        """Listen, and return the port. Raises OSError if the address can't be had."""
        try:
            port = self._grpc.add_secure_port(address, tls.credentials())
        except RuntimeError:
            raise OSError(
                f"can't listen on {address}. Is another server there, is the address this "
                "machine's, and do `certificate` and `private_key` belong together?"
            ) from None
        await self._grpc.start()
        await self.tell(True)
        return port

    async def tell(self, ready: bool) -> None:
        """Set what the health service answers."""
        state = health_pb2.HealthCheckResponse
        for name in (*self._names, ""):
            await self._health.set(name, state.SERVING if ready else state.NOT_SERVING)

    async def drain(self, grace: float) -> None:
        """Say that we leave, let calls finish for `grace` seconds, then stop."""
        await self._health.enter_graceful_shutdown()
        self._guard.leave()
        await self._grpc.stop(grace)

    def _add(self, admit: Admit[Any], module: Any, name: str, servicer: object) -> None:
        service: ServiceDescriptor = module.DESCRIPTOR.services_by_name[name]
        wraps: Mapping[
            tuple[bool, bool], Callable[..., Any]
        ] = {  # by what streams: asked, answered
            (False, False): self._guard.unary,
            (False, True): self._guard.stream,
            (True, True): self._guard.duplex,
        }
        handlers = {
            method.name: wraps[method.client_streaming, method.server_streaming](
                f"/{service.full_name}/{method.name}",
                message_factory.GetMessageClass(method.input_type),
                getattr(servicer, method.name),
                admit,
            )
            for method in service.methods
        }
        generic = grpc.method_handlers_generic_handler(service.full_name, handlers)
        self._grpc.add_generic_rpc_handlers((generic,))
        self._names.append(service.full_name)
