"""Attestations: what a compartment signs for its subjects, who keep it and can show it to others.

    version 1 | kind 1 | compartment uuid 16 | key id 8 | body | signature 64

The kind says how the body is read: a receipt is never taken for a report. Ed25519 over a label and
all that stands before the signature, by a key of the compartment's own. Whoever has its public half
verifies, for as long as the bytes are kept; the SDK does (`piivault.attestation`). The format is
for ever: docs/formats.md, tests/vectors/attestation_v1.json.
"""

from dataclasses import dataclass
from enum import IntEnum

from vault.crypto.primitives import digest, join

VERSION = 1
KEY_ID_BYTES = 8


class Kind(IntEnum):
    """What is attested."""

    RECEIPT = 1  # of an erasure: piivault.v1.ErasureReceipt
    EXPORT = 2
    REPORT = 3


@dataclass(frozen=True, slots=True)
class Attestation:
    """A body of some kind, of the compartment with this uuid (16 bytes)."""

    kind: Kind
    compartment: bytes
    body: bytes

    def payload(self, public_key: bytes) -> bytes:
        """Return what stands before the signature of the key with this public half."""
        head = bytes((VERSION, self.kind))
        return head + self.compartment + key_id(public_key) + self.body


def key_id(public_key: bytes) -> bytes:
    """Return the 8 bytes that name a compartment's signing key."""
    return digest(b"piivault/v1/attestation-key", public_key)[:KEY_ID_BYTES]


def to_sign(payload: bytes) -> bytes:
    """Return the bytes that a worker has Transit sign."""
    return join(b"piivault/v1/attestation", payload)
