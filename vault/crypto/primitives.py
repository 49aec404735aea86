"""The primitives that everything else is made of.

AES-256-GCM    NIST SP 800-38D, 96-bit random nonces
HKDF-Expand    RFC 5869, SHA-256; every input key is uniformly random, so Extract isn't needed (3.3)
HMAC           RFC 2104, SHA-256
Ed25519        RFC 8032
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator
from functools import lru_cache

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16
_LENGTHS = tuple(length.to_bytes(4, "big") for length in range(256))  # those that all but few have

Key = bytes | AESGCM
"""32 bytes, or their cipher."""


class DamagedError(Exception):
    """Bytes that don't authenticate: damaged, moved, tampered with, or under another key."""


def join(*parts: bytes) -> bytes:
    """Concatenate so that no two lists of parts give the same bytes: 4-byte lengths lead."""
    led = []
    for part in parts:
        length = len(part)
        led.append(_LENGTHS[length] if length < 256 else length.to_bytes(4, "big"))
        led.append(part)
    return b"".join(led)


def derive(key: bytes, *info: bytes) -> bytes:
    """Derive a 32-byte key for one use, named by `info`, from a random key."""
    # The first block of HKDF-Expand, T(1): it is as long as the key, so the only one.
    return hmac.digest(key, _info(*info), "sha256")


@lru_cache(maxsize=4096)  # a use is a word and a field's uid: nothing secret is kept
def _info(*info: bytes) -> bytes:
    return join(b"piivault/v1", *info) + b"\x01"


def cipher(key: Key) -> AESGCM:
    """Return a key's cipher: made once by whoever opens or seals much under it."""
    return AESGCM(key) if isinstance(key, bytes) else key


def draw_nonces(count: int) -> Iterator[bytes]:
    """Draw nonces for so many messages, by one call of the kernel; each is yielded but once."""
    drawn = secrets.token_bytes(count * NONCE_BYTES)
    return iter([drawn[at : at + NONCE_BYTES] for at in range(0, len(drawn), NONCE_BYTES)])


def encrypt(
    key: Key, plaintext: bytes, associated: bytes, nonces: Iterator[bytes] | None = None
) -> bytes:
    """Return nonce, ciphertext and tag; `nonces` is what `draw_nonces` returned."""
    # Random nonces are safe up to 2^32 messages a key (SP 800-38D, 8.3). A data key sees a
    # record's few versions, a KEK one message a data key, an audit-data key one an event.
    nonce = secrets.token_bytes(NONCE_BYTES) if nonces is None else next(nonces)
    return nonce + cipher(key).encrypt(nonce, plaintext, associated)


def decrypt(key: Key, sealed: bytes, associated: bytes) -> bytes:
    """Return the plaintext, or raise DamagedError."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise DamagedError("too short to be sealed")
    try:
        return cipher(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
    except InvalidTag:
        raise DamagedError("does not authenticate") from None


def mac(key: bytes, *parts: bytes) -> bytes:
    """Return 32 bytes of HMAC over the joined parts."""
    return hmac.digest(key, join(*parts), "sha256")


def digest(*parts: bytes) -> bytes:
    """Return SHA-256 over the joined parts."""
    return hashlib.sha256(join(*parts)).digest()


def is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether an Ed25519 signature over the message holds."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True
