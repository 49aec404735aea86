"""What a forger does with signatures."""

import os

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.service.ledger import sign_off, statement

ORDER = 2**252 + 27742317777372353535851937790883648493  # of ed25519's group (RFC 8032)


def nonce() -> str:
    """Draw what tells two bodies apart that say the same."""
    return os.urandom(16).hex()


def malleated(signature: bytes) -> bytes:
    """Add the group's order to S: the same signature to who forgets to look (RFC 8032, 5.1.7)."""
    other = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + other.to_bytes(32, "little")


def flipped(value: bytes, position: int, bit: int = 0) -> bytes:
    """Return bytes with one bit turned."""
    changed = bytearray(value)
    changed[position] ^= 1 << bit
    return bytes(changed)


def by_forgers(kind: str, body: bytes, *names: str) -> bytes:
    """Sign off under names, each by a key that nobody pinned."""
    signed = statement(kind, body)
    return sign_off({name: Ed25519PrivateKey.generate().sign(signed) for name in names})
