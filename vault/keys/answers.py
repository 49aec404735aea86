"""What requests to the key server and its answers are written in. Pure."""

from base64 import b64decode, b64encode
from collections.abc import Callable
from typing import Any


def in_base64(raw: bytes) -> str:
    """Write bytes as requests have them."""
    return b64encode(raw).decode("ascii")


def ciphertext_in(data: dict[str, Any]) -> str:
    """Read `vault:v1:…`, as it is."""
    return str(data["ciphertext"])


def plaintext_in(data: dict[str, Any]) -> bytes:
    """Read what was decrypted."""
    return b64decode(data["plaintext"])


def after_prefix(name: str) -> Callable[[dict[str, Any]], bytes]:
    """Return what reads a field written `vault:v1:…`."""
    return lambda data: b64decode(data[name].rpartition(":")[2])


def body_of(answer: Any) -> dict[str, Any]:
    """Read the JSON of an answer; raise ValueError if it has none that it should."""
    if isinstance(answer, dict):
        return answer
    if answer.status_code == 204:
        return {}
    raise ValueError("not JSON")  # a redirect, or a proxy's page
