"""pseudonym_capability_v1.json: what a pseudonym is computed from, and who may act for it."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.formats import Vector, base64url, digest, draw, join, number

ACCOUNTS, ORDERS = draw("uuid of accounts", 16), draw("uuid of orders", 16)
PORTAL, CABINET = "spiffe://osh.example/portal", "spiffe://osh.example/cabinet"
EXPIRES = 1_763_800_000
PSEUDONYM = draw("pseudonym of Aigul")
SIGNER = Ed25519PrivateKey.from_private_bytes(draw("capability key"))
FORGER = Ed25519PrivateKey.from_private_bytes(draw("forger's key"))


def vectors() -> Vector:
    return {
        "pseudonyms": [
            _pseudonym("accounts", ACCOUNTS),
            _pseudonym("the same root in orders", ORDERS),
        ],
        "public_key": _public(SIGNER).hex(),
        "key_id": _key_id(SIGNER).hex(),
        "issued": {
            "compartment": ACCOUNTS.hex(),
            "pseudonym": "psn_" + base64url(PSEUDONYM),
            "holder": PORTAL,
            "expires": EXPIRES,
            "payload": _payload().hex(),
            "signed_bytes": join(b"piivault/v1/capability", _payload()).hex(),
            "token": _token(_payload()),
        },
        "accepted": [
            _use("in time", _token(_payload()), now=EXPIRES - 900),
            _use("in its last second", _token(_payload()), now=EXPIRES - 0.5),
        ],
        "refused": list(_refused()),
    }


def _pseudonym(name: str, compartment: bytes) -> Vector:
    root = draw("root id", 16)
    asked = digest(b"piivault/v1/pseudonym", compartment, root)
    shown = {"compartment": compartment, "root_id": root, "transit_input": asked}
    return {"name": name} | {part: raw.hex() for part, raw in shown.items()}


def _refused() -> Iterator[Vector]:
    token, invalid = _token(_payload()), "CAPABILITY_INVALID"
    yield _use("forged by another key", _token(_payload(), FORGER), invalid)
    yield _use("under another key, by its own id", _token(_payload(by=FORGER), FORGER), invalid)
    swapped = _payload(pseudonym=draw("pseudonym of Bakyt"))
    signature = SIGNER.sign(join(b"piivault/v1/capability", _payload()))
    yield _use("another subject under this signature", _write(swapped + signature), invalid)
    unlabelled = SIGNER.sign(_payload())
    yield _use("signed without the label", _write(_payload() + unlabelled), invalid)
    yield _use("of another version", _token(b"\x02" + _payload()[1:]), invalid)
    yield _use("one byte more", _write(_raw() + b"\0"), invalid)
    yield _use("one byte less", _write(_raw()[:-1]), invalid)
    yield _use("no prefix", token.removeprefix("cap_"), invalid)
    yield _use("a pseudonym's prefix", token.replace("cap_", "psn_"), invalid)
    yield _use("padded", token + "=", invalid)
    yield _use("plain base64", "cap_" + token[4:].replace("-", "+").replace("_", "/"), invalid)
    yield _use("a line feed behind it", token + "\n", invalid)
    yield _use("letters of another alphabet", "cap_" + "ө" * (len(token) - 4), invalid)
    yield _use("a prefix alone", "cap_", invalid)
    yield _use("nothing", "", invalid)
    yield _use("in another compartment", token, invalid, compartment=ORDERS)
    yield _use("borrowed", token, "CAPABILITY_BORROWED", holder=CABINET)
    yield _use("borrowed and expired", token, "CAPABILITY_BORROWED", holder=CABINET, now=EXPIRES)
    yield _use("at its end", token, "CAPABILITY_EXPIRED", now=EXPIRES)
    yield _use("long after", token, "CAPABILITY_EXPIRED", now=2 * EXPIRES)


def _use(
    name: str,
    token: str,
    reason: str = "",
    *,
    compartment: bytes = ACCOUNTS,
    holder: str = PORTAL,
    now: float = EXPIRES - 900,
) -> Vector:
    shown = {"compartment": compartment.hex(), "holder": holder, "now": now}
    return {"name": name, "token": token} | shown | ({"reason": reason} if reason else {})


def _payload(pseudonym: bytes = PSEUDONYM, by: Ed25519PrivateKey = SIGNER) -> bytes:
    holder = digest(b"piivault/v1/holder", PORTAL.encode())
    return b"\x01" + _key_id(by) + ACCOUNTS + pseudonym + holder + number(EXPIRES, 8)


def _raw() -> bytes:
    return _payload() + SIGNER.sign(join(b"piivault/v1/capability", _payload()))


def _token(payload: bytes, by: Ed25519PrivateKey = SIGNER) -> str:
    return _write(payload + by.sign(join(b"piivault/v1/capability", payload)))


def _write(raw: bytes) -> str:
    return "cap_" + base64url(raw)


def _key_id(key: Ed25519PrivateKey) -> bytes:
    return digest(b"piivault/v1/capability-key", _public(key))[:8]


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()
