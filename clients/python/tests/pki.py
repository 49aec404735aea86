"""A certificate authority for tests: real certificates, good ones and each kind of bad one."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from piivault import TLS

PORTAL = "spiffe://osh.example.kg/portal"
DAY = timedelta(days=1)


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.name = _name(name)
        self.key = generate_private_key(SECP256R1())
        self.file = folder / f"{name}.pem"
        certificate = (
            self._begin(self.name, self.key, begins=-DAY, ends=DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def client(
        self,
        file: str = "portal",
        *,
        uris: tuple[str, ...] = (PORTAL,),
        begins: timedelta = -DAY,
        ends: timedelta = DAY,
        usage: x509.ObjectIdentifier = ExtendedKeyUsageOID.CLIENT_AUTH,
        password: bytes | None = None,
    ) -> TLS:
        """Issue a service's certificate; the common name is a SPIFFE id that must not count."""
        names: Sequence[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        return self._issue(file, names or [x509.DNSName("portal")], begins, ends, usage, password)

    def server(self, address: str = "127.0.0.1") -> TLS:
        """Issue the certificate of a server."""
        names = [x509.IPAddress(IPv4Address(address))]
        return self._issue("server", names, -DAY, DAY, ExtendedKeyUsageOID.SERVER_AUTH, None)

    def _issue(
        self,
        file: str,
        names: Sequence[x509.GeneralName],
        begins: timedelta,
        ends: timedelta,
        usage: x509.ObjectIdentifier,
        password: bytes | None,
    ) -> TLS:
        key = generate_private_key(SECP256R1())
        certificate = (
            self._begin(_name(PORTAL), key, begins, ends)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .sign(self.key, SHA256())
        )
        tls = TLS(self.file, self.folder / f"{file}.pem", self.folder / f"{file}.key")
        Path(tls.certificate).write_bytes(certificate.public_bytes(Encoding.PEM))
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        Path(tls.private_key).write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
        )
        return tls

    def _begin(
        self, subject: x509.Name, key: EllipticCurvePrivateKey, begins: timedelta, ends: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
