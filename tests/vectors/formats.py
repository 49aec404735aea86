"""The formats a second time, from their descriptions alone: nothing of `vault` is imported here.

Written from the docstrings of `vault.crypto` and `vault.audit` and from
`protos/vault/sealed/v1/sealed.proto`. What both implementations agree on is what is described.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Vector = dict[str, Any]
Place = Mapping[str, bytes]  # in the order in which the parts are authenticated

RECORD, FIELD, DATA_KEY, AUDIT = "record", "field", "data-key", "audit"


def draw(label: str, size: int = 32) -> bytes:
    """Return bytes that look random and are the same in each run."""
    return hashlib.shake_256(f"piivault vectors v1: {label}".encode()).digest(size)


def number(value: int, size: int = 4) -> bytes:
    return value.to_bytes(size, "big")


def join(*parts: bytes) -> bytes:
    return b"".join(number(len(part)) + part for part in parts)


def digest(*parts: bytes) -> bytes:
    return hashlib.sha256(join(*parts)).digest()


def mac(key: bytes, *parts: bytes) -> bytes:
    return hmac.digest(key, join(*parts), "sha256")


def derive(key: bytes, *info: bytes) -> bytes:
    """HKDF-Expand (RFC 5869), one block."""
    return hmac.digest(key, join(b"piivault/v1", *info) + b"\x01", "sha256")


def base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def seal(
    key: bytes, kind: str, key_id: bytes, place: Place, plaintext: bytes, start: str = "010100"
) -> bytes:
    """Return an envelope; `start` is version, suite and flags, in hexadecimal."""
    header = bytes.fromhex(start) + key_id
    nonce = draw(f"nonce {kind} {key.hex()} {header.hex()} {plaintext.hex()}", 12)
    bound = join(kind.encode(), header, *place.values())
    return header + nonce + AESGCM(key).encrypt(nonce, plaintext, bound)


def pad(data: bytes, size: int) -> bytes:
    return (number(len(data)) + data).ljust(size, b"\0")


def pad_to_step(data: bytes, step: int) -> bytes:
    total = len(data) + 4
    return pad(data, total + -total % step)


def pad_value(data: bytes) -> bytes:
    """Four buckets, then Padmé as its authors write it (PETS 2019, algorithm 1)."""
    total = len(data) + 4
    for bucket in (32, 64, 128, 256):
        if total <= bucket:
            return pad(data, bucket)
    exponent = total.bit_length() - 1
    mask = (1 << (exponent - exponent.bit_length())) - 1
    return pad(data, (total + mask) & ~mask)


def message(*fields: tuple[int, int | bytes | str]) -> bytes:
    """Return a protobuf message: values under their numbers, zero and empty ones left out."""
    parts = []
    for tag, value in fields:
        if isinstance(value, str):
            value = value.encode()
        if isinstance(value, int) and value:
            parts.append(_varint(tag << 3) + _varint(value))
        elif isinstance(value, bytes) and value:
            parts.append(_varint(tag << 3 | 2) + _varint(len(value)) + value)
    return b"".join(parts)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes((low | 0x80,)) + _varint(rest) if rest else bytes((low,))
