"""capability_v2.json: who may export whose record, and to which key."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors import capabilities as first
from tests.vectors.capabilities import ACCOUNTS, EXPIRES, FORGER, ORDERS, PSEUDONYM, SIGNER
from tests.vectors.formats import Vector, base64url, digest, draw, join, number

KEY, OTHER = draw("thumbprint of an export key"), draw("thumbprint of a relay's key")


def vectors() -> Vector:
    return {
        "public_key": SIGNER.public_key().public_bytes_raw().hex(),
        "issued": {
            "compartment": ACCOUNTS.hex(),
            "pseudonym": "psn_" + base64url(PSEUDONYM),
            "holder": first.PORTAL,
            "expires": EXPIRES,
            "export_key": KEY.hex(),
            "payload": _payload().hex(),
            "token": _token(_payload()),
        },
        "accepted": [
            _use("in time", _token(_payload())),
            _use("in its last second", _token(_payload()), now=EXPIRES - 0.5),
        ],
        "refused": list(_refused()),
    }


def _refused() -> Iterator[Vector]:
    token, invalid = _token(_payload()), "CAPABILITY_INVALID"
    yield _use("to another key", token, invalid, key=OTHER)
    yield _use("for anything but an export", token, invalid, key=b"")
    signature = SIGNER.sign(join(b"piivault/v1/capability", _payload()))
    yield _use(
        "another key under this signature", _write(_payload(OTHER) + signature), invalid, key=OTHER
    )
    yield _use("forged by another key", _token(_payload(), FORGER), invalid)
    acting = first.vectors()["issued"]["token"]
    yield _use("one that isn't for exports", acting, invalid)
    yield _use("one that isn't for exports, lengthened", _token(b"\x01" + _payload()[1:]), invalid)
    yield _use("one that names no key", _token(b"\x02" + _payload(b"")[1:]), invalid)
    yield _use("one byte more", _token(_payload() + b"\0"), invalid)
    yield _use("in another compartment", token, invalid, compartment=ORDERS)
    yield _use("borrowed", token, "CAPABILITY_BORROWED", holder=first.CABINET)
    yield _use("at its end", token, "CAPABILITY_EXPIRED", now=EXPIRES)


def _use(
    name: str,
    token: str,
    reason: str = "",
    *,
    compartment: bytes = ACCOUNTS,
    holder: str = first.PORTAL,
    now: float = EXPIRES - 900,
    key: bytes = KEY,
) -> Vector:
    shown = {
        "compartment": compartment.hex(),
        "holder": holder,
        "now": now,
        "export_key": key.hex(),
    }
    return {"name": name, "token": token} | shown | ({"reason": reason} if reason else {})


def _payload(key: bytes = KEY) -> bytes:
    signer = digest(b"piivault/v1/capability-key", SIGNER.public_key().public_bytes_raw())[:8]
    holder = digest(b"piivault/v1/holder", first.PORTAL.encode())
    return b"\x02" + signer + ACCOUNTS + PSEUDONYM + holder + number(EXPIRES, 8) + key


def _token(payload: bytes, by: Ed25519PrivateKey = SIGNER) -> str:
    return _write(payload + by.sign(join(b"piivault/v1/capability", payload)))


def _write(raw: bytes) -> str:
    return "cap_" + base64url(raw)
