"""How bytes are joined before they are hashed or signed, and how they are written as text."""

import base64


def join(*parts: bytes) -> bytes:
    """Concatenate so that no two lists of parts give the same bytes: 4-byte lengths lead."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def split(joined: bytes) -> list[bytes]:
    """Take apart what `join` made; raise ValueError for anything else."""
    parts = []
    while joined:
        end = 4 + int.from_bytes(joined[:4], "big")
        if len(joined) < max(4, end):
            raise ValueError("not joined parts")
        parts.append(joined[4:end])
        joined = joined[end:]
    return parts


def to_base64url(raw: bytes) -> str:
    """Encode without padding (RFC 4648, 5)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_base64url(text: str) -> bytes:
    """Decode the one spelling that `to_base64url` gives; raise ValueError for any other."""
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if to_base64url(raw) != text:
        raise ValueError("another spelling")
    return raw
