"""A certificate authority for tests: real certificates, good ones and each kind of bad one."""

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
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from piivault import TLS

DAY = timedelta(days=1)


class Authority:
    """Issues certificates into a folder, which it makes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.file = folder / "ca.pem"
        self._name = _name(f"tests {folder.name}")
        self._key = generate_private_key(SECP256R1())
        certificate = (
            self._begin(self._name, self._key, DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, SHA256())
        )
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def client(
        self,
        file: str,
        *uris: str,
        common_name: str = "",
        dns: str = "",
        ends: timedelta = DAY,
    ) -> TLS:
        """Issue a client's certificate; `ends` is counted from now and may lie behind it."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri) for uri in uris]
        if dns:
            names.append(x509.DNSName(dns))
        return self._issue(file, common_name, names, ExtendedKeyUsageOID.CLIENT_AUTH, ends)

    def server(self) -> TLS:
        """Issue the certificate of a server on this machine."""
        names: list[x509.GeneralName] = [x509.IPAddress(IPv4Address("127.0.0.1"))]
        return self._issue("server", "localhost", names, ExtendedKeyUsageOID.SERVER_AUTH, DAY)

    def _issue(
        self,
        file: str,
        common_name: str,
        names: list[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        ends: timedelta,
    ) -> TLS:
        key = generate_private_key(SECP256R1())
        begun = self._begin(_name(common_name), key, ends)
        if names:
            begun = begun.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = begun.add_extension(x509.ExtendedKeyUsage([usage]), critical=False).sign(
            self._key, SHA256()
        )
        tls = TLS(self.file, self.folder / f"{file}.pem", self.folder / f"{file}.key")
        Path(tls.certificate).write_bytes(certificate.public_bytes(Encoding.PEM))
        Path(tls.private_key).write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        return tls

    def _begin(
        self, subject: x509.Name, key: EllipticCurvePrivateKey, ends: timedelta
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + ends)
        )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])
