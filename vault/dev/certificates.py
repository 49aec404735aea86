"""Certificates of the stack: the key server's own, and those that its PKI engine issues."""

import datetime
import ipaddress
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from vault.dev.layout import Layout
from vault.keys.transit import Transit

CA_TTL = "87600h"  # ten years: it lives as long as the state folder
CERTIFICATE_TTL = "720h"  # thirty days: made anew at each start
_DAYS = datetime.timedelta(days=30)
_CLIENTS, _SERVERS = "piivault-clients", "piivault-servers"  # PKI roles

_SIGNING = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


def self_signed(layout: Layout, certificate: Path, private_key: Path) -> None:
    """Write a certificate for 127.0.0.1, which is its own CA: the listener's, before any PKI."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "piivault development key server")])
    now = datetime.datetime.now(datetime.UTC)
    loopback = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _DAYS)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost"), loopback]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .add_extension(_SIGNING, True)
        .add_extension(identifier, False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), False
        )
        .sign(key, hashes.SHA256())
    )
    layout.write(private_key, _pem(key))
    layout.write(certificate, made.public_bytes(serialization.Encoding.PEM))


def ensure_authority(admin: Transit, trust_domain: str) -> str:
    """Make the development CA once, let it issue for this trust domain, return its certificate."""
    if "pki/" not in admin.read("sys/mounts")["data"]:
        admin.write("sys/mounts/pki", type="pki", config={"max_lease_ttl": CA_TTL})
    if not admin.names("pki/issuers"):
        name = "piivault development CA"
        root = {"common_name": name, "ttl": CA_TTL, "key_type": "ec", "key_bits": 256}
        admin.write("pki/root/generate/internal", **root)
    admin.write(
        f"pki/roles/{_CLIENTS}",
        allowed_uri_sans=[f"spiffe://{trust_domain}/*"],
        require_cn=False,
        allow_any_name=False,
        allow_ip_sans=False,
        allow_localhost=False,
        server_flag=False,
        client_flag=True,
        **_CURVE,
    )
    admin.write(
        f"pki/roles/{_SERVERS}",
        allowed_domains=["localhost"],
        allow_bare_domains=True,
        allow_ip_sans=True,
        server_flag=True,
        client_flag=False,
        **_CURVE,
    )
    return str(admin.read("pki/cert/ca")["data"]["certificate"])


_CURVE: dict[str, Any] = {"key_type": "ec", "key_bits": 256, "max_ttl": CERTIFICATE_TTL}


def issue_client(layout: Layout, admin: Transit, name: str, spiffe: str) -> None:
    """Write `certificates/NAME.pem` and `.key` with this one SPIFFE id and no common name."""
    _issue(layout, admin, name, _CLIENTS, uri_sans=spiffe)


def issue_server(layout: Layout, admin: Transit, name: str) -> None:
    """Write `certificates/NAME.pem` and `.key` for localhost and 127.0.0.1."""
    _issue(layout, admin, name, _SERVERS, common_name="localhost", ip_sans="127.0.0.1")


def _issue(layout: Layout, admin: Transit, name: str, role: str, **fields: str) -> None:
    made = admin.write(f"pki/issue/{role}", ttl=CERTIFICATE_TTL, **fields)["data"]
    layout.write(layout.path("certificates", f"{name}.key"), made["private_key"] + "\n")
    layout.write(layout.path("certificates", f"{name}.pem"), made["certificate"] + "\n")


def officer_public_key(layout: Layout, name: str) -> bytes:
    """Return an officer's public key (32 bytes); draw the signing key at the first start."""
    file = layout.path("officers", f"{name}.pem")
    if not file.exists():
        layout.write(file, _pem(ed25519.Ed25519PrivateKey.generate()))
    key = serialization.load_pem_private_key(file.read_bytes(), password=None)
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def _pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
