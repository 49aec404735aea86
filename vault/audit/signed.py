"""What the auditor signs, and how it is shipped and checked: by public keys alone.

    body       canonical JSON: sorted keys, no white space, ASCII
    hash       SHA-256(label, body); the next checkpoint holds it
    signature  key id (8 bytes), then Ed25519 over (label, hash)

The hash is signed and not the body: a body grows with the writers that there ever were, and a key
server takes requests of a bounded size.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from vault.crypto.primitives import digest, is_signed, join

KEY_ID_BYTES = 8

COMPARTMENT = "compartment"
CONTROL = "control"


class CheckpointError(Exception):
    """Bytes that aren't a checkpoint, or that the auditor didn't sign; the message says which."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint's body as it is stored, with the auditor's signature."""

    body: bytes
    signature: bytes = field(repr=False)

    @property
    def hash(self) -> bytes:
        """What the checkpoint after this one holds."""
        return hash_of(self.body)

    def check(self, keys: Mapping[bytes, bytes]) -> None:
        """Raise CheckpointError unless one of the keys (public keys by key id) signed it."""
        key = keys.get(self.signature[:KEY_ID_BYTES])
        if key is None:
            name = self.signature[:KEY_ID_BYTES].hex()
            raise CheckpointError(f"is signed with a key that isn't among the public keys: {name}")
        if not is_signed(key, self.signature[KEY_ID_BYTES:], to_sign(self.body)):
            raise CheckpointError("isn't what the auditor signed")

    def line(self, name: str) -> str:
        """Write it as it is shipped; `name` is a label for people, and isn't signed."""
        key, signature = self.signature[:KEY_ID_BYTES], self.signature[KEY_ID_BYTES:]
        said = {
            "checkpoint": json.loads(self.body),
            "key": key.hex(),
            "name": name,
            "signature": signature.hex(),
        }
        return canonical(said).decode()

    @classmethod
    def from_line(cls, line: str | bytes) -> Self:
        """Read what `line` wrote; raise CheckpointError if it is anything else."""
        try:
            said = json.loads(line)
            signature = bytes.fromhex(said["key"]) + bytes.fromhex(said["signature"])
            return cls(canonical(said["checkpoint"]), signature)
        except (ValueError, TypeError, KeyError, RecursionError):
            raise CheckpointError("isn't a checkpoint") from None

    @property
    def kind(self) -> str:
        """What it is of: a compartment, or the control chain. Raises CheckpointError."""
        said = tree_of(self.body)
        return said["kind"] if said.get("kind") in (COMPARTMENT, CONTROL) else ""


def hash_of(body: bytes) -> bytes:
    """Return the hash of a checkpoint, given its body."""
    return digest(b"piivault/v1/checkpoint-hash", body)


def to_sign(body: bytes) -> bytes:
    """Return the bytes that the auditor has Transit sign: few, however many writers there were."""
    return join(b"piivault/v1/checkpoint", hash_of(body))


def key_id(public_key: bytes) -> bytes:
    """Return the 8 bytes that name a key which signs checkpoints."""
    return digest(b"piivault/v1/checkpoint-key", public_key)[:KEY_ID_BYTES]


def by_id(public_keys: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return public keys (32 bytes each) by their key ids."""
    return {key_id(key): key for key in public_keys}


def sign_off(body: bytes, signature: bytes, keys: Mapping[bytes, bytes]) -> Signed | None:
    """Name the key that a bare signature was made with; None if it is none of these."""
    for name, key in keys.items():
        if is_signed(key, signature, to_sign(body)):
            return Signed(body, name + signature)
    return None


def canonical(tree: Any) -> bytes:
    """Write JSON in the one spelling that is signed."""
    return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode()


def tree_of(body: bytes) -> dict[str, Any]:
    """Read a body's JSON object; raise CheckpointError if it is none."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise CheckpointError("isn't a checkpoint")
    return said
