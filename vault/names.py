"""Identifiers: how they are written, and what may be one.

>>> Pseudonym.parse("psn_" + "A" * 43).raw == bytes(32)
True
"""

import base64
import re
import secrets
from typing import Self
from uuid import UUID

from vault.frozen import dataclass

PSEUDONYM_BYTES = 32
ROOT_ID_BYTES = 16
ROW_VERSION_BYTES = 16
ED25519_KEY_BYTES = 32

# The broker's own trail, beside those of compartments: what it is called where they are named (no
# compartment may be), and what stands for a compartment's uuid in its chains and checkpoints.
BROKER = "broker"
BROKER_TRAIL = UUID("3d6be0a7-90c1-4c39-8f0b-6f1c9b7e4a52").bytes

# Names of compartments, fields, purposes and services in an edition.
NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
TRUST_DOMAIN = re.compile(r"[a-z0-9._-]{1,255}")
_SPIFFE_PATH = r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._-]+)+"
SPIFFE_ID = re.compile(rf"spiffe://{TRUST_DOMAIN.pattern}{_SPIFFE_PATH}")
_REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def to_base64url(raw: bytes) -> str:
    """Encode without padding (RFC 4648 section 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Decode the one canonical spelling of some bytes; raise ValueError for any other."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        raise ValueError("not base64url") from None
    if to_base64url(raw) != text:  # stray bits at the end: two spellings of one thing
        raise ValueError("not canonical base64url")
    return raw


def read_ed25519_key(text: str) -> bytes:
    """Read a public key (RFC 8032) as people pin it; raise ValueError, which says how."""
    try:
        raw = from_base64url(text)
    except ValueError:
        raw = b""
    if len(raw) != ED25519_KEY_BYTES:
        raise ValueError(f"an ed25519 public key is {ED25519_KEY_BYTES} bytes in base64url.")
    return raw


@dataclass(frozen=True, slots=True, repr=False)
class Pseudonym:
    """A subject's id in one compartment: 32 bytes, written `psn_…`.

    Its repr is redacted: no log line and no error carries a pseudonym.
    """

    raw: bytes

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `psn_…`; raise ValueError if piivault can't have issued it."""
        if not text.startswith("psn_"):
            raise ValueError("a pseudonym starts with psn_")
        raw = from_base64url(text.removeprefix("psn_"))
        if len(raw) != PSEUDONYM_BYTES:
            raise ValueError("a pseudonym has 43 characters after psn_")
        return cls(raw)

    def __str__(self) -> str:
        return "psn_" + to_base64url(self.raw)

    def __repr__(self) -> str:
        return "Pseudonym(…)"


def new_row_version() -> bytes:
    """Draw a row version: random, so that it orders nothing."""
    return secrets.token_bytes(ROW_VERSION_BYTES)


def is_request_id(text: str) -> bool:
    """Tell whether this is a UUID in lower case: nothing personal fits in."""
    return _REQUEST_ID.fullmatch(text) is not None
