"""checkpoint_v1.json: signed checkpoints of a compartment and of control, and a sealed export."""

import json
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors import trail
from tests.vectors.formats import Vector, digest, draw, join

AUDITOR = Ed25519PrivateKey.from_private_bytes(draw("the auditor's signing key"))
FORGER = Ed25519PrivateKey.from_private_bytes(draw("a forger's signing key"))
AT = 1_763_900_000_000_000  # microseconds


def vectors() -> Vector:
    links, head = _chain()
    first = _body(number=0, previous=bytes(32), at=AT, heads=[[1, links[2]["previous"]]])
    second = _body(
        number=1,
        previous=_hash(first),
        at=AT + 60_000_000,
        heads=[[2, head]],
        base=[0, _hash(first).hex()],
        accepted=[
            ["", 7, draw("what was found at checkpoint 7").hex()],
            [draw("another writer", 16).hex(), 5, draw("what was found at event 5").hex()],
        ],
    )
    control = _canonical(
        {"at": AT, "format": 1, "head": draw("an entry").hex(), "kind": "control", "sequence": 7}
    )
    return {
        "public_key": _public(AUDITOR).hex(),
        "key_id": _key_id(AUDITOR).hex(),
        "compartment": trail.ACCOUNTS.hex(),
        "checkpoints": [_signed(first), _signed(second)],
        "control": _signed(control, "control"),
        "export": list(_export(links, [first, second])),
        "refused": list(_refused(second)),
    }


def _chain() -> tuple[list[Vector], str]:
    published = trail.vectors()
    return published["links"], published["head"]


def _body(
    number: int,
    previous: bytes,
    at: int,
    heads: list[list[Any]],
    base: list[Any] | None = None,
    accepted: list[list[Any]] | None = None,
) -> str:
    writer = trail.WRITER.hex()
    return _canonical(
        {
            "accepted": accepted or [],
            "at": at,
            "base": base,
            "compartment": trail.ACCOUNTS.hex(),
            "events": sum(sequence + 1 for sequence, _ in heads),
            "format": 1,
            "heads": [[writer, sequence, hashed] for sequence, hashed in heads],
            "kind": "compartment",
            "number": number,
            "previous": previous.hex(),
        }
    )


def _signed(body: str, name: str = "accounts") -> Vector:
    signature = _sign(body)
    line = {
        "checkpoint": json.loads(body),
        "key": signature[:8].hex(),
        "name": name,
        "signature": signature[8:].hex(),
    }
    return {
        "body": body,
        "signed_bytes": _to_sign(body).hex(),
        "hash": _hash(body).hex(),
        "signature": signature.hex(),
        "line": _canonical(line),
    }


def _export(links: list[Vector], bodies: list[str]) -> Iterator[str]:
    yield _canonical(
        {
            "compartment": trail.ACCOUNTS.hex(),
            "form": "sealed",
            "format": 1,
            "kind": "piivault-audit-export",
            "name": "accounts",
            "type": "header",
        }
    )
    for number, body in enumerate(bodies):
        stored = {"body": _base64(body.encode()), "signature": _base64(_sign(body))}
        yield _canonical({**stored, "number": number, "type": "checkpoint"})
    for link in links:
        parts = {k: _base64(bytes.fromhex(link[k])) for k in ("previous", "sealed", "token")}
        place = {"sequence": link["sequence"], "writer": _base64(trail.WRITER)}
        yield _canonical({**parts, **place, "type": "event"})
    yield _canonical({"checkpoints": len(bodies), "events": len(links), "type": "end"})


def _refused(body: str) -> Iterator[Vector]:
    whole = _sign(body)
    yield _case("forged by another key", body, _sign(body, FORGER))
    yield _case("by another key, under this one's id", body, whole[:8] + _sign(body, FORGER)[8:])
    yield _case("signed without the label", body, whole[:8] + AUDITOR.sign(_hash(body)))
    bare = join(b"piivault/v1/checkpoint", body.encode())
    yield _case("signed in whole, and not its hash", body, whole[:8] + AUDITOR.sign(bare))
    other = body.replace('"number":1', '"number":2')
    yield _case("another number under this signature", other, whole)
    for name, changed in {
        "with white space": body.replace(":", ": "),
        "of a format to come": body.replace('"format":1', '"format":2'),
        "with a key too many": body.replace('{"accepted"', '{"aa":1,"accepted"'),
        "without its base": body.replace('"base":', '"bass":'),
        "in capital letters": body.replace(trail.WRITER.hex(), trail.WRITER.hex().upper()),
        "with another count of events": body.replace('"events":3', '"events":4'),
        "with a number that is none": body.replace('"number":1', '"number":true'),
        "no JSON": "checkpoint",
    }.items():
        assert changed != body
        yield _case(name, changed, _sign(changed))


def _case(name: str, body: str, signature: bytes) -> Vector:
    return {"name": name, "body": body, "signature": signature.hex()}


def _sign(body: str, secret: Ed25519PrivateKey = AUDITOR) -> bytes:
    return _key_id(secret) + secret.sign(_to_sign(body))


def _to_sign(body: str) -> bytes:
    return join(b"piivault/v1/checkpoint", _hash(body))


def _hash(body: str) -> bytes:
    return digest(b"piivault/v1/checkpoint-hash", body.encode())


def _public(secret: Ed25519PrivateKey) -> bytes:
    return secret.public_key().public_bytes_raw()


def _key_id(secret: Ed25519PrivateKey) -> bytes:
    return digest(b"piivault/v1/checkpoint-key", _public(secret))[:8]


def _canonical(tree: Any) -> str:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"))


def _base64(raw: bytes) -> str:
    return b64encode(raw).decode()
