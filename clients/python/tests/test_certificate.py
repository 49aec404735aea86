"""Each fault of the client's own files is found before a server is asked, and named."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.x509.oid import ExtendedKeyUsageOID
from piivault import TLS, AsyncClient, Client
from piivault._certificate import is_issued_by_ca
from piivault.errors import ConfigurationError

from .pki import DAY, PORTAL, Authority

ANOTHER = "spiffe://osh.example.kg/orders"


def with_text(tls: TLS, part: str, text: str) -> TLS:
    """Write other contents into one of the files."""
    Path(getattr(tls, part)).write_text(text)
    return tls


FAULTS: dict[str, tuple[Callable[[Authority], TLS], str]] = {
    "expired": (lambda ca: ca.client(begins=-2 * DAY, ends=-DAY), "portal.pem expired at"),
    "not yet valid": (lambda ca: ca.client(begins=DAY, ends=2 * DAY), "clock right"),
    "no SPIFFE id but in the common name": (lambda ca: ca.client(uris=()), "it holds no URI"),
    "two SPIFFE ids": (lambda ca: ca.client(uris=(PORTAL, ANOTHER)), "it holds 2 URIs"),
    "a SPIFFE id beside another URI": (
        lambda ca: ca.client(uris=(PORTAL, "https://osh.example.kg")),
        "it holds 2 URIs",
    ),
    "another URI": (lambda ca: ca.client(uris=("https://osh.example.kg",)), "isn't one"),
    "for servers": (
        lambda ca: ca.client(usage=ExtendedKeyUsageOID.SERVER_AUTH),
        "can't be used by a client",
    ),
    "key of another certificate": (
        lambda ca: replace(ca.client(), private_key=ca.client("orders").private_key),
        "orders.key isn't the one of the certificate",
    ),
    "encrypted key": (lambda ca: ca.client(password=b"pw"), "portal.key is encrypted"),
    "certificate and key exchanged": (
        lambda ca: TLS(ca.file, ca.client().private_key, ca.client().certificate),
        "must each be PEM",
    ),
    "certificate isn't PEM": (
        lambda ca: with_text(ca.client(), "certificate", "hello"),
        "must each be PEM",
    ),
    "key is empty": (lambda ca: with_text(ca.client(), "private_key", ""), "must each be PEM"),
    "CA isn't PEM": (lambda ca: with_text(ca.client(), "ca", "hello"), "ca.pem holds no cert"),
    "CA is empty": (lambda ca: with_text(ca.client(), "ca", ""), "ca.pem holds no cert"),
    "no certificate file": (
        lambda ca: replace(ca.client(), certificate=ca.folder / "away.pem"),
        "certificate file .*away.pem can't be read: No such file",
    ),
    "no key file": (
        lambda ca: replace(ca.client(), private_key=ca.folder / "away.key"),
        "private key file .*away.key can't be read: No such file",
    ),
    "a folder for a CA": (
        lambda ca: replace(ca.client(), ca=ca.folder),
        "CA file .* can't be read: Is a directory",
    ),
}


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize(("make", "says"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_named_before_any_call(
    authority: Authority,
    client: type[Client] | type[AsyncClient],
    make: Callable[[Authority], TLS],
    says: str,
) -> None:
    with pytest.raises(ConfigurationError, match=says) as error:
        client("127.0.0.1:1", tls=make(authority))
    assert error.value.__suppress_context__ or error.value.__context__ is None


def test_a_sound_certificate_opens_a_client(portal: TLS) -> None:
    Client("127.0.0.1:1", tls=portal).close()


def test_the_hint_tells_own_certificates_from_another_authority_s(
    authority: Authority, portal: TLS, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other", "other-ca")
    assert is_issued_by_ca(portal)
    assert not is_issued_by_ca(replace(other.client(), ca=authority.file))
