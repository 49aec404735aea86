"""Envelope v1: how bytes are sealed at rest.

    version 1 | suite 1 | flags 1 | key id 8 | nonce 12 | ciphertext | tag 16

The associated data binds an envelope to its place: kind and header, then the place's parts,
each with its length in front, in a fixed order for each kind:

    record     compartment uuid, pseudonym, row version
    field      compartment uuid, pseudonym, row version, field uid, field type
    data key   compartment uuid, pseudonym
    audit      compartment uuid, writer, sequence, previous hash, token
    request    compartment uuid, request id

No purpose and no KEK version: those may change while the bytes stay. Vectors that every
later release opens: tests/vectors/envelope_v1.json, and request_v1.json.
"""

from collections.abc import Iterator
from enum import Enum

from vault.crypto import primitives
from vault.crypto.primitives import DamagedError, Key, join

VERSION = 1
SUITE_AES_256_GCM = 1
FLAGS = 0
KEY_ID_BYTES = 8
_FORMAT = bytes((VERSION, SUITE_AES_256_GCM, FLAGS))
_HEADER_BYTES = len(_FORMAT) + KEY_ID_BYTES
OVERHEAD = _HEADER_BYTES + primitives.NONCE_BYTES + primitives.TAG_BYTES  # 39


class Kind(bytes, Enum):
    """What an envelope holds."""

    RECORD = b"record"
    FIELD = b"field"
    DATA_KEY = b"data-key"
    AUDIT = b"audit"
    REQUEST = b"request"


def seal(
    key: Key,
    kind: Kind,
    key_id: bytes,
    place: tuple[bytes, ...],
    plaintext: bytes,
    nonces: Iterator[bytes] | None = None,
) -> bytes:
    """Seal `plaintext` for one place under a 32-byte key whose id is `key_id` (8 bytes).

    Whoever seals several gives them `nonces`, from `primitives.draw_nonces`.
    """
    header = _FORMAT + key_id
    return header + primitives.encrypt(key, plaintext, join(kind, header, *place), nonces)


def unseal(key: Key, kind: Kind, place: tuple[bytes, ...], envelope: bytes) -> bytes:
    """Open an envelope at its place; raise DamagedError if it isn't the one sealed there."""
    header = envelope[:_HEADER_BYTES]
    key_id(envelope)  # refuses other versions, suites and flags by name
    return primitives.decrypt(key, envelope[_HEADER_BYTES:], join(kind, header, *place))


def key_id(envelope: bytes) -> bytes:
    """Return the id of the key that an envelope names; raise DamagedError for another format.

    The id is only a look-up until `unseal` has authenticated it.
    """
    if len(envelope) < OVERHEAD:
        raise DamagedError("too short for an envelope")
    if not envelope.startswith(_FORMAT):
        raise DamagedError("an envelope of an unknown version, suite or flags")
    return envelope[len(_FORMAT) : _HEADER_BYTES]
