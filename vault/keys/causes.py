"""Why the key server refused, in our own words: its text may hold what was asked.

Both servers are built on one library, which says the same in both. Of what they say nothing is
passed on: a phrase that is known here is told by its meaning, all else by what it may be.
"""

from collections.abc import Iterable, Mapping, Sequence

from vault.keys.errors import KeyServerError, WrappedKeyRejected

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


def why_invalid(said: Iterable[str] | None, kind: type[KeyServerError]) -> str:
    """Return why a request was refused as invalid; `kind` is the error that it becomes."""
    for one in said or ():
        for phrase, why in _PHRASES:
            if phrase in one:
                return f"refused: {why}"
    return _OTHERWISE[kind]
