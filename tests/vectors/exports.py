"""export_v1.json: packages that a subject's key opens, and those that it must not.

HPKE is written here from RFC 9180 and the hybrid from draft-connolly-cfrg-xwing-kem, so that each
run makes the same bytes. ML-KEM's own ciphertext can't be made from a label by the library: one was
drawn, once.
"""

import hashlib
import hmac
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.formats import Vector, base64url, digest, draw, join, number, pad

MLKEM_CIPHERTEXT = b64decode(
    "OTXeHOk94wrwMvPrwg2GIxJ/FMRK7ID75KwimU61VIZv5EsifOlYsb/CWKYFJkE1yIvUfXiDbSshuTymZiihsiIE"
    "vjRTrnvd3qHAFk3VXf/ZLTt1i5pfdjE7hYY0HCkVvUFV2iMEr0NVp8ElgI7YXQQMm4XUJ5rX+zcB/dHfKSSZGifA"
    "IJoV38zzdNaoDnNxlrfdGAn0HouyBmRThW+sS0RC0D/iVvXQ+PzJCMYarUwvK8Hix1Sk0Kn80Nm00RCEm+TpLAai"
    "rWHpflpCOiYKlvZm0IycR8ntAgutKcXWdSsRsFj9FbU0hlU4zMwvWXjcxWJp+04YvDqnF6WW2hLBJvwMV7u/yREI"
    "P8zSuMt2rAUb/NVCieX8qRLCtwLzcjhhX1kqe221qn2W+0hVZxP8lKxQFqdOhOPj4uY6AF2iRTLBHgz7/r7zD2kM"
    "CxuJAJGSIA6bY3tJVaSlLKdCaiwIaLEo0MgDaX4wbo2uZwXbrjwX5GvHHW2fMPLcD5uMZgEC8Kz6U88zJ0J0sd41"
    "h2TL2cABYAdBQRWA0u1Endr1rxeA6cQBZ7tzCJj3vJWyF05EHUimcJTNlXXHnkS7DGBpX3PAAP74SnA5Qxuzm3EG"
    "OKHgZt/R0OoHBHJN2P6C9b0GKTdH3OGhaVzs8NoWs+RFF17rQy5qofAA8sXP/hzwz/uV0C3/hHM2iKMEl4uzadUw"
    "epGQX+uBQd8uT9TDCHrblZPdt7Muxhh1wxm9pfPU9za+HmpGNaJM5+dQidYO8aYRMSQwylq4bpTTh2kLXUokPWvl"
    "+llufQOXQ6hS4BZ4C6VwiFvySd2vEyBC2EeKO5UdEzImiAU878aYOm470ttdBaKC+IP/exXk24p7/Q9gP8U1HIlG"
    "2rU36m+cuod2NS/PebS8WgYjFzNEpSpVAdxUxsHi8R/WC+looknPAiONJ9W2qTY/Y8y3e7Iyg3mISWfv0mDeic40"
    "HdzeFakRGXzlmCrCEFZDXNiEUBM0249zJOOh2t01qw16ZaB9QM0X3yY8Gtb27J/hxIIRHSg3rOl+1fPG4kEbMd9+"
    "SIBHjVY64fri8IRhR11dCr6kl2EXr5zb2EHfVulWqTNSidZ1RnEDM2+8bhHfq7mUIhxtyA5qwFXWdA59vfTHEGo8"
    "QvFSU1+U7g0iAh5122qzMnU1VMigd4N4zD3LI4sl+KH4GmER78OeqOVhAkjSImkyoMCRye7o578gAqn0J5LxmnQC"
    "4sok5+0JTGaxTvL7Qun32P+A1hJuqHUCFCMkvahGPeOa9ao/F/3lARbm6Q2h6sHtx0NEMwxPlZ+5CJmtc/eCCXzm"
    "s0GGc7Cl5mM5eV+Bc1RT3Yl0rADYgaHejXsasFkn5KLa+hTZ1b4KjZndyalEh0FjVjRfO7dUzGT0TAyDqY086c8z"
    "IUIsqIJovCxeSfOlDo/1vMyUvY2DzEWgLh13At0XLkQ="
)
NAMES = {1: "X25519", 2: "MLKEM768-X25519"}
KEM_IDS = {1: 0x0020, 2: 0x647A}
SECRETS = {1: draw("secret of the X25519 export key"), 2: draw("secret of the hybrid export key")}
ACCOUNTS, ORDERS = draw("uuid of accounts", 16), draw("uuid of orders", 16)
REQUEST = draw("request id of an export", 16)
SALT = draw("salt of an export")
SIGNER = Ed25519PrivateKey.from_private_bytes(draw("signing key of accounts"))
FORGER = Ed25519PrivateKey.from_private_bytes(draw("forger's key"))
PACKAGE, ATTESTATION = "PackageError", "AttestationError"


# The keys.


def _pair(suite: int) -> tuple[bytes, X25519PrivateKey]:
    """Return ML-KEM's seed, of the hybrid alone, and X25519's key."""
    if suite == 1:
        return b"", X25519PrivateKey.from_private_bytes(SECRETS[1])
    both = hashlib.shake_256(SECRETS[2]).digest(96)
    return both[:64], X25519PrivateKey.from_private_bytes(both[64:])


def _public(suite: int) -> bytes:
    seed, second = _pair(suite)
    first = (
        MLKEM768PrivateKey.from_seed_bytes(seed).public_key().public_bytes_raw() if seed else b""
    )
    return first + second.public_key().public_bytes_raw()


def _jwk(suite: int) -> dict[str, str]:
    text = base64url(_public(suite))
    if suite == 1:
        return {"crv": "X25519", "kty": "OKP", "x": text}
    return {"alg": "MLKEM768-X25519", "kty": "AKP", "pub": text}


def _thumbprint(suite: int) -> bytes:
    return hashlib.sha256(json.dumps(_jwk(suite), separators=(",", ":")).encode()).digest()


# HPKE.


def _agreed(suite: int) -> tuple[bytes, bytes]:
    """Return what is sent, and the shared secret, as a sender comes to them."""
    seed, second = _pair(suite)
    ours, theirs = X25519PrivateKey.from_private_bytes(draw("ephemeral")), second.public_key()
    sent, recipient = ours.public_key().public_bytes_raw(), theirs.public_bytes_raw()
    shared = ours.exchange(X25519PublicKey.from_public_bytes(recipient))
    if suite == 1:
        of = b"KEM" + number(KEM_IDS[1], 2)
        return sent, _expand(
            of, _extract(of, b"", b"eae_prk", shared), b"shared_secret", sent + recipient, 32
        )
    inner = MLKEM768PrivateKey.from_seed_bytes(seed).decapsulate(MLKEM_CIPHERTEXT)
    label = b"\\.//^\\"
    both = hashlib.sha3_256(inner + shared + sent + recipient + label).digest()
    return MLKEM_CIPHERTEXT + sent, both


def _seal(suite: int, info: bytes, plaintext: bytes) -> bytes:
    sent, shared = _agreed(suite)
    of = b"HPKE" + number(KEM_IDS[suite], 2) + number(1, 2) + number(2, 2)
    context = b"\0" + _extract(of, b"", b"psk_id_hash", b"") + _extract(of, b"", b"info_hash", info)
    secret = _extract(of, shared, b"secret", b"")
    key, nonce = (
        _expand(of, secret, b"key", context, 32),
        _expand(of, secret, b"base_nonce", context, 12),
    )
    return sent + AESGCM(key).encrypt(nonce, plaintext, b"")


def _extract(of: bytes, salt: bytes, label: bytes, given: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + of + label + given, "sha256")


def _expand(of: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labelled = number(size, 2) + b"HPKE-v1" + of + label + info
    return hmac.digest(secret, labelled + b"\x01", "sha256")[:size]  # one block is enough


# Packages.


@dataclass(frozen=True)
class Package:
    """A package by its parts, so that a vector can change one of them."""

    suite: int = 1
    version: int = 1
    compartment: bytes = ACCOUNTS
    request: bytes = REQUEST
    thumbprint: bytes = _thumbprint(1)
    label: bytes = b"piivault/v1/export"
    signer: Ed25519PrivateKey = SIGNER
    kind: int = 2
    attested: bytes = ACCOUNTS
    salt: bytes = SALT
    holdings: bytes = b""
    committed: bytes = b""  # to what the signature is, if not to these holdings
    size: int = 1024

    @property
    def header(self) -> bytes:
        start = bytes((self.version, self.suite))
        return start + self.compartment + self.request + self.thumbprint

    @property
    def attestation(self) -> bytes:
        public = self.signer.public_key().public_bytes_raw()
        body = digest(b"piivault/v1/export-content", SALT, self.committed or self.holdings)
        key_id = digest(b"piivault/v1/attestation-key", public)[:8]
        payload = bytes((1, self.kind)) + self.attested + key_id + body
        return payload + self.signer.sign(join(b"piivault/v1/attestation", payload))

    @property
    def content(self) -> bytes:
        return join(self.salt, self.attestation, self.holdings)

    def sealed(self, content: bytes | None = None) -> bytes:
        info = join(self.label, self.header) if self.label else b""
        padded = pad(self.content, self.size) if content is None else content
        return self.header + _seal(self.suite, info, padded)


def _holdings(suite: int = 1, **changes: Any) -> bytes:
    tree: dict[str, Any] = {
        "request": {"id": REQUEST.hex(), "key": base64url(_thumbprint(suite))},
        "compartment": {"uuid": ACCOUNTS.hex(), "name": "accounts"},
        "fields": [{"name": "first_name", "value": "Айгүл"}],
        "kind": "piivault-export",
        "format": 1,
    }  # fmt: skip
    return _json({key: {**tree[key], **new} if isinstance(new, dict) else new
                  for key, new in (tree | changes).items()})  # fmt: skip


def _json(tree: dict[str, Any]) -> bytes:
    return json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode()


GOOD = Package(holdings=_holdings())


def vectors() -> Vector:
    hybrid = Package(suite=2, thumbprint=_thumbprint(2), holdings=_holdings(2), size=16 * 1024)
    return {
        "keys": [
            {
                "suite": NAMES[suite],
                "secret": secret.hex(),
                "public_key": _public(suite).hex(),
                "jwk": _jwk(suite),
                "thumbprint": _thumbprint(suite).hex(),
            }
            for suite, secret in SECRETS.items()
        ],
        "signing_key": base64url(SIGNER.public_key().public_bytes_raw()),
        "accepted": [_accepted("X25519", GOOD), _accepted("the hybrid, as padded", hybrid)],
        "refused": list(_refused(hybrid)),
    }


def _accepted(name: str, package: Package) -> Vector:
    return {
        "name": name,
        "header": package.header.hex(),
        "salt": SALT.hex(),
        "commitment": digest(b"piivault/v1/export-content", SALT, package.holdings).hex(),
        "attestation": package.attestation.hex(),
        "holdings": package.holdings.decode(),
        "package": package.sealed().hex(),
    }


def _refused(hybrid: Package) -> Iterator[Vector]:
    good = GOOD.sealed()
    yield _bad("nothing", b"")
    yield _bad("a header alone", good[:66])
    yield _bad("cut short", good[:-1])
    yield _bad("one byte more", good + b"\0")
    yield _bad("of another version", replace(GOOD, version=2).sealed())
    yield _bad("of an unknown suite", b"\x01\x03" + good[2:])
    yield _bad("of another suite than its key", b"\x01\x02" + good[2:])
    for name, at in {
        "compartment": 2,
        "request id": 18,
        "enc": 66,
        "ciphertext": 98,
        "tag": -1,
    }.items():
        yield _bad(f"one bit of the {name}", _flipped(good, at))
    small = replace(hybrid, size=1024).sealed()
    for name, at in {"ML-KEM's enc": 66, "X25519's enc": 66 + 1088, "tag": -1}.items():
        yield _bad(f"one bit of the hybrid's {name}", _flipped(small, at))
    yield _bad("to a key that nobody has", replace(GOOD, thumbprint=draw("a thumbprint")).sealed())
    yield _bad("under another label", replace(GOOD, label=b"piivault/v1/report").sealed())
    yield _bad("bound to nothing", replace(GOOD, label=b"").sealed())
    content = GOOD.content
    yield _bad("padded with more than zeros", GOOD.sealed(pad(content, 1024)[:-1] + b"\x01"))
    yield _bad("of a length beyond its end", GOOD.sealed(number(2000) + content))
    yield _bad("of two parts", GOOD.sealed(pad(join(SALT, GOOD.attestation), 1024)))
    yield _bad("of four parts", GOOD.sealed(pad(content + join(b""), 1024)))
    yield _bad("no JSON inside", replace(GOOD, holdings=b"Aigul").sealed())
    yield _bad("JSON written otherwise", replace(GOOD, holdings=_holdings() + b" ").sealed())
    yield _bad("not holdings", replace(GOOD, holdings=_holdings(kind="piivault-report")).sealed())
    yield _bad("of a later format", replace(GOOD, holdings=_holdings(format=2)).sealed())
    other = _holdings(request={"id": draw("another request", 16).hex()})
    yield _bad("the answer to another request", replace(GOOD, holdings=other).sealed())
    other = _holdings(request={"key": base64url(_thumbprint(2))})
    yield _bad("the answer for another key", replace(GOOD, holdings=other).sealed())
    forged = replace(GOOD, signer=FORGER).sealed()
    yield _bad("signed by another key", forged, ATTESTATION)
    yield _bad("signed as a report", replace(GOOD, kind=3).sealed(), ATTESTATION)
    yield _bad(
        "signed for another compartment", replace(GOOD, attested=ORDERS).sealed(), ATTESTATION
    )
    other = _holdings(fields=[])
    yield _bad("over other holdings", replace(GOOD, committed=other).sealed(), ATTESTATION)
    yield _bad("under another salt", replace(GOOD, salt=draw("a salt")).sealed(), ATTESTATION)
    elsewhere = _holdings(compartment={"uuid": ORDERS.hex()})
    yield _bad("of another uuid inside", replace(GOOD, holdings=elsewhere).sealed(), ATTESTATION)
    both = replace(GOOD, holdings=elsewhere, attested=ORDERS).sealed()
    yield _bad("of another uuid, signed so", both)


def _bad(name: str, package: bytes, error: str = PACKAGE) -> Vector:
    return {"name": name, "package": package.hex(), "error": error}


def _flipped(package: bytes, at: int) -> bytes:
    changed = bytearray(package)
    changed[at] ^= 1
    return bytes(changed)
