"""The client's own certificate, checked before it is used.

A server that refuses a client certificate just closes the connection, and gRPC can't say more
than "Socket closed". So each fault that can be seen from this side is looked for first, with
the standard library alone: `ssl` has no parser of certificates, but it verifies them in a
handshake. The SDK shakes hands with itself in memory, its own certificate on both sides.
"""

import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from piivault.errors import ConfigurationError

# X509_V_FLAG_NO_CHECK_TIME of OpenSSL: the dates are compared here, so that a fault names them.
_NO_CHECK_TIME = ssl.VerifyFlags(0x200000)


@dataclass(frozen=True, slots=True)
class TLS:
    """Three PEM files: the CA that the server is known by, and this service's own identity.

    The files are read again when they change: a renewed certificate needs no restart.
    """

    ca: str | PathLike[str]
    certificate: str | PathLike[str]
    private_key: str | PathLike[str]

    def stamp(self) -> tuple[int, ...]:
        """When the files were changed last; 0 for one that is away."""
        return tuple(_changed(path) for path in (self.ca, self.certificate, self.private_key))


@dataclass(frozen=True, slots=True, repr=False)
class Pem:
    """The contents of the files, as they were checked."""

    ca: bytes
    certificate: bytes
    private_key: bytes


def load(tls: TLS) -> Pem:
    """Read and check the files; raise ConfigurationError that names the fault and the file."""
    pem = Pem(
        ca=_read(tls.ca, "CA"),
        certificate=_read(tls.certificate, "certificate"),
        private_key=_read(tls.private_key, "private key"),
    )
    _check_ca(tls)
    peer = _own_handshake(tls)
    _check_dates(peer, tls)
    _check_identity(peer, tls)
    return pem


def fault(tls: TLS) -> str | None:
    """Say what is wrong with the files now, or None; for a connection that was refused."""
    try:
        load(tls)
    except ConfigurationError as error:
        return error.message
    return None


def is_issued_by_ca(tls: TLS) -> bool:
    """Tell whether the CA file vouches for the certificate too.

    Only a hint: the CA that knows the server needn't be the one that knows its clients.
    """
    try:
        _handshake(tls, trust=tls.ca)
    except (ssl.SSLError, OSError):
        return False
    return True


def _read(path: str | PathLike[str], what: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"The {what} file {fspath(path)} can't be read: {error.strerror}."
        ) from None


def _changed(path: str | PathLike[str]) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _check_ca(tls: TLS) -> None:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(tls.ca)
    except ssl.SSLError:
        raise ConfigurationError(
            f"The CA file {fspath(tls.ca)} holds no certificate in PEM."
        ) from None


def _own_handshake(tls: TLS) -> dict[str, Any]:
    try:
        return _handshake(tls, trust=tls.certificate)
    except ssl.SSLCertVerificationError as error:
        raise ConfigurationError(
            f"The certificate {fspath(tls.certificate)} can't be used by a client: "
            f"{error.verify_message}. Ask for one with the extended key usage clientAuth."
        ) from None
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigurationError(
                f"The private key {fspath(tls.private_key)} isn't the one of the certificate "
                f"{fspath(tls.certificate)}."
            ) from None
        raise ConfigurationError(
            f"The certificate {fspath(tls.certificate)} and the private key "
            f"{fspath(tls.private_key)} must each be PEM of that kind; one of them isn't."
        ) from None


def _handshake(tls: TLS, trust: str | PathLike[str]) -> dict[str, Any]:
    """Present the certificate to a server that trusts `trust`; return it as the server sees it."""
    client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_context.check_hostname = False
    client_context.verify_mode = ssl.CERT_NONE  # the other side is this function
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.verify_mode = ssl.CERT_REQUIRED
    server_context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    server_context.load_verify_locations(trust)
    for context in (client_context, server_context):
        context.load_cert_chain(tls.certificate, tls.private_key, password=_refuse_encrypted(tls))

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_context.wrap_bio(to_client, to_server)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    # TLS 1.3 takes three flights: hello, the server's answer, the client's certificate.
    for _flight in range(3):
        _step(client)
        _step(server)
    return dict(server.getpeercert() or {})


def _step(side: ssl.SSLObject) -> None:
    """Go as far as the bytes reach."""
    with suppress(ssl.SSLWantReadError):
        side.do_handshake()


def _refuse_encrypted(tls: TLS) -> Any:
    """Without this, OpenSSL would ask for a password on the terminal."""

    def refuse() -> str:
        raise ConfigurationError(
            f"The private key {fspath(tls.private_key)} is encrypted; "
            "gRPC takes only one without a password (mode 0600)."
        )

    return refuse


def _check_dates(peer: dict[str, Any], tls: TLS) -> None:
    begins, ends = (
        datetime.fromtimestamp(ssl.cert_time_to_seconds(peer[key]), UTC)
        for key in ("notBefore", "notAfter")
    )
    now = datetime.now(UTC)
    if now >= ends:
        raise ConfigurationError(
            f"The certificate {fspath(tls.certificate)} expired at {ends:%Y-%m-%d %H:%M} UTC. "
            "Renew it; the SDK reads the new file by itself."
        )
    if now < begins:
        raise ConfigurationError(
            f"The certificate {fspath(tls.certificate)} isn't valid before "
            f"{begins:%Y-%m-%d %H:%M} UTC. Is this machine's clock right?"
        )


def _check_identity(peer: dict[str, Any], tls: TLS) -> None:
    uris = [value for kind, value in peer.get("subjectAltName", ()) if kind == "URI"]
    if len(uris) == 1 and uris[0].startswith("spiffe://"):
        return
    found = {0: "no URI", 1: "a URI that isn't one"}.get(len(uris), f"{len(uris)} URIs")
    raise ConfigurationError(
        f"The certificate {fspath(tls.certificate)} must hold exactly one SPIFFE id as a URI in "
        f"its subject alternative name; it holds {found}. The common name isn't looked at."
    )
