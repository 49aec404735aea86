"""The public keys that subjects make for one export each, and the HPKE suites they are for.

    1  X25519           DHKEM(X25519, HKDF-SHA256)                                    32 bytes
    2  MLKEM768-X25519  the hybrid of draft-ietf-hpke-pq (X-Wing, 0x647a): ML-KEM's 1184, then 32

Both with HKDF-SHA256 and AES-256-GCM.

A key is named by its JWK thumbprint (RFC 7638): by its content alone, so that what an identity
provider says of a thumbprint it says of this key.
"""

import hashlib
import json
from dataclasses import dataclass
from enum import IntEnum

from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from vault.names import to_base64url

THUMBPRINT_BYTES = 32
_X25519_BYTES = 32
_MLKEM768_BYTES = 1184  # FIPS 203, table 3

PublicKey = X25519PublicKey | hpke.MLKEM768X25519PublicKey


class Suite(IntEnum):
    """How a package is sealed; numbered as piivault.v1.ExportSuite, and in the package."""

    X25519 = 1
    MLKEM768_X25519 = 2


@dataclass(frozen=True, slots=True)
class ExportKey:
    """A public key that a package may be sealed to."""

    suite: Suite
    raw: bytes

    @property
    def thumbprint(self) -> bytes:
        """SHA-256 of the key as a JWK, its required members alone in their order (RFC 7638)."""
        text = to_base64url(self.raw)
        if self.suite is Suite.X25519:
            jwk = {"crv": "X25519", "kty": "OKP", "x": text}  # RFC 8037
        else:
            jwk = {"alg": "MLKEM768-X25519", "kty": "AKP", "pub": text}
        return hashlib.sha256(json.dumps(jwk, separators=(",", ":")).encode()).digest()

    def public_key(self) -> PublicKey:
        """Return what HPKE takes; raise ValueError for bytes that are no key of the suite."""
        if self.suite is Suite.X25519:
            return _x25519(self.raw)
        if len(self.raw) != _MLKEM768_BYTES + _X25519_BYTES:
            raise ValueError("not of a key's length")
        first, second = self.raw[:_MLKEM768_BYTES], self.raw[_MLKEM768_BYTES:]
        return hpke.MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(first), _x25519(second)
        )


def _x25519(raw: bytes) -> X25519PublicKey:
    key = X25519PublicKey.from_public_bytes(raw)
    # A point of low order makes one secret with everybody, and so none: refused (RFC 7748, 6.1).
    X25519PrivateKey.generate().exchange(key)
    return key
