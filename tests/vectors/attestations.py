"""attestation_v1.json: what a compartment signs for its subjects, and what it didn't sign."""

from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.vectors.formats import Vector, base64url, digest, draw, join, message

ACCOUNTS, ORDERS = draw("uuid of accounts", 16), draw("uuid of orders", 16)
SIGNER = Ed25519PrivateKey.from_private_bytes(draw("signing key of accounts"))
FORGER = Ed25519PrivateKey.from_private_bytes(draw("forger's key"))
KINDS = {"receipt": 1, "export": 2, "report": 3}
BODY = message((1, draw("id of a receipt", 16)), (2, "accounts"))


def vectors() -> Vector:
    return {
        "public_key": base64url(_public(SIGNER)),
        "key_id": _key_id(SIGNER).hex(),
        "accepted": [
            {
                **_use(kind, _signed(_payload(number)), kind),
                "body": BODY.hex(),
                "signed_bytes": _labelled(_payload(number)).hex(),
            }
            for kind, number in KINDS.items()
        ],
        "refused": list(_refused()),
    }


def _refused() -> Iterator[Vector]:
    receipt = _payload(1)
    signature = SIGNER.sign(_labelled(receipt))
    yield _use("forged by another key", _signed(receipt, FORGER))
    yield _use("under another key, by its own id", _signed(_payload(1, by=FORGER), FORGER))
    yield _use("another body under this signature", receipt + b"\x00" + signature)
    yield _use("cut short", (receipt + signature)[:-1])
    yield _use("without a signature", receipt)
    yield _use("signed without the label", receipt + SIGNER.sign(receipt))
    capability = join(b"piivault/v1/capability", receipt)
    yield _use("signed as a capability", receipt + SIGNER.sign(capability))
    checkpoint = join(b"piivault/v1/checkpoint", receipt)
    yield _use("signed as a checkpoint", receipt + SIGNER.sign(checkpoint))
    yield _use("a report shown as a receipt", _signed(_payload(3)))
    yield _use("an export shown as a receipt", _signed(_payload(2)))
    relabelled = b"\x01\x01" + _payload(3)[2:] + SIGNER.sign(_labelled(_payload(3)))
    yield _use("a report's kind overwritten", relabelled)
    yield _use("of a kind that isn't known", _signed(_payload(9)))
    yield _use("of another version", _signed(b"\x02" + receipt[1:]))
    yield _use("of another compartment", _signed(_payload(1, ORDERS)))
    yield _use("nothing", b"")


def _use(name: str, signed: bytes, kind: str = "receipt") -> Vector:
    return {"name": name, "kind": kind, "compartment": ACCOUNTS.hex(), "signed": signed.hex()}


def _payload(kind: int, compartment: bytes = ACCOUNTS, by: Ed25519PrivateKey = SIGNER) -> bytes:
    return bytes((1, kind)) + compartment + _key_id(by) + BODY


def _signed(payload: bytes, by: Ed25519PrivateKey = SIGNER) -> bytes:
    return payload + by.sign(_labelled(payload))


def _labelled(payload: bytes) -> bytes:
    return join(b"piivault/v1/attestation", payload)


def _key_id(key: Ed25519PrivateKey) -> bytes:
    return digest(b"piivault/v1/attestation-key", _public(key))[:8]


def _public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()
