"""HPKE on the subject's side (RFC 9180, base mode): the only cryptography of exports.

`cryptography` comes with the extra `piivault[subject]`; nothing else of the SDK needs it.
"""

import hashlib
from typing import Any

from piivault.errors import ConfigurationError

try:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
except ImportError:  # the extra isn't there, or its cryptography is older than its hybrid
    _there = False
else:
    _there = True

X25519 = "X25519"
HYBRID = "MLKEM768-X25519"


class NotOpenedError(Exception):
    """What was sealed doesn't open with this key in this place."""


def public_bytes(suite: str, secret: bytes) -> bytes:
    """Return the public half of a secret (32 bytes)."""
    if suite == X25519:
        return _x25519(secret).public_key().public_bytes_raw()
    first, second = _expanded(secret)
    return _mlkem(first).public_key().public_bytes_raw() + public_bytes(X25519, second)


def unseal(suite: str, secret: bytes, sealed: bytes, info: bytes) -> bytes:
    """Open `enc | ciphertext | tag`; raise NotOpenedError if it wasn't sealed for this."""
    _check_installed()
    kem = hpke.KEM.X25519 if suite == X25519 else hpke.KEM.MLKEM768_X25519
    opener = hpke.Suite(kem, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    try:
        return opener.decrypt(sealed, _private_key(suite, secret), info)
    except (InvalidTag, ValueError):
        raise NotOpenedError from None


def _private_key(suite: str, secret: bytes) -> Any:
    if suite == X25519:
        return _x25519(secret)
    first, second = _expanded(secret)
    return hpke.MLKEM768X25519PrivateKey(_mlkem(first), _x25519(second))


def _expanded(secret: bytes) -> tuple[bytes, bytes]:
    """Take the one seed of the hybrid apart: ML-KEM's seed, X25519's key (X-Wing, 5.2)."""
    both = hashlib.shake_256(secret).digest(64 + 32)
    return both[:64], both[64:]


def _mlkem(seed: bytes) -> "MLKEM768PrivateKey":
    _check_installed()
    return MLKEM768PrivateKey.from_seed_bytes(seed)


def _x25519(secret: bytes) -> "X25519PrivateKey":
    _check_installed()
    return X25519PrivateKey.from_private_bytes(secret)


def _check_installed() -> None:
    if not _there:
        raise ConfigurationError(
            "Making export keys and opening exports needs more: pip install 'piivault[subject]'."
        )
