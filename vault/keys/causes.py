"""What went wrong with the key server, in our own words: its text may hold what was asked.

Both servers are built on one library, which says the same in both. Of what they say nothing is
passed on: a phrase that is known here is told by its meaning, all else by what it may be.
"""

from collections.abc import Iterable, Mapping, Sequence

from hvac import exceptions
from urllib3 import exceptions as http

from vault.keys.errors import (
    KeyNotFound,
    KeyServerError,
    KeyServerForbidden,
    KeyServerUnavailable,
    WrappedKeyRejected,
)

_GONE = (
    "the key isn't there. Was it deleted, or is this another key server? A snapshot of the key "
    "server that has the key brings it back."
)
_SOFT_DELETED = "the key is soft-deleted. Restore it there: `soft-delete-restore`."
_TOO_OLD = (
    "its version is below the key's `min_decryption_version`, or trimmed away. Lower that; or "
    "restore a snapshot of the key server, or the newest backup of the keys."
)
_TOO_NEW = (
    "the key has no such version yet: this key server was restored from an older snapshot. Restore "
    "a newer one."
)
_ALTERED = (
    "wrong context, or tampered with. Check that this key server and this database belong together."
)

# What an invalid request was refused with, and what it means for whoever runs the key server.
_PHRASES: Sequence[tuple[str, str]] = (
    ("encryption key not found", _GONE),
    ("soft-deleted", _SOFT_DELETED),  # OpenBao's alone
    ("(too old)", _TOO_OLD),
    ("version is too new", _TOO_NEW),
    ("message authentication failed", _ALTERED),
)
_OTHERWISE: Mapping[type[KeyServerError], str] = {
    KeyServerError: "refused as invalid. Check that the key exists and is of the right type.",
    WrappedKeyRejected: "refused: wrong context, tampered with, or its key version is gone. "
    "Check that this key server and this database belong together.",
}

_FORBIDDEN = "this login may not. Compare its policy with what `piivault setup` writes."
_NO_CONNECTION = "no connection. Check `address` and that it runs."

# The first that matches counts.
_FAULTS: tuple[tuple[type[Exception], type[KeyServerError], str], ...] = (
    (exceptions.Forbidden, KeyServerForbidden, _FORBIDDEN),
    (exceptions.Unauthorized, KeyServerForbidden, _FORBIDDEN),
    (exceptions.InvalidPath, KeyNotFound, "not there. `piivault setup` creates what is missing."),
    (exceptions.VaultNotInitialized, KeyServerUnavailable, "not initialised. Initialise it first."),
    (exceptions.VaultDown, KeyServerUnavailable, "it is sealed. Unseal it."),
    (
        exceptions.RateLimitExceeded,
        KeyServerUnavailable,
        "it is too busy for more. Raise the rate limit (`sys/quotas/rate-limit`).",
    ),
    (exceptions.VaultError, KeyServerUnavailable, "it is broken. See its own log."),
    (http.SSLError, KeyServerUnavailable, "TLS failed. Check its certificate, its name and `ca`."),
    (http.NewConnectionError, KeyServerUnavailable, _NO_CONNECTION),
    (http.TimeoutError, KeyServerUnavailable, "no answer in time. See what keeps it."),
    (http.HTTPError, KeyServerUnavailable, _NO_CONNECTION),
    (OSError, KeyServerUnavailable, "no CA. Check that the file of `ca` can be read."),
    (Exception, KeyServerUnavailable, "its answer makes no sense. Check `address` and `mount`."),
)


def ours(
    e: Exception, operation: str, subject: str, address: str, invalid: type[KeyServerError]
) -> KeyServerError:
    """Choose our error for anything that went wrong; no text of it is passed on."""
    if isinstance(e, exceptions.InvalidRequest):
        kind, why = invalid, _why_invalid(e.errors, invalid)
    else:
        kind, why = next((k, w) for fault, k, w in _FAULTS if isinstance(e, fault))
    return kind(f"{operation} {subject} at {address}: {why}")


def _why_invalid(said: Iterable[str] | None, kind: type[KeyServerError]) -> str:
    """Return why a request was refused as invalid; `kind` is the error that it becomes."""
    for one in said or ():
        for phrase, why in _PHRASES:
            if phrase in one:
                return f"refused: {why}"
    return _OTHERWISE[kind]
