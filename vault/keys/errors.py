"""What can go wrong with the key server, and what each fault asks of whoever meets it.

    KeyServerError
    ├── KeyServerUnavailable   sealed, unreachable, too slow, too busy: wait, serve from cache
    ├── KeyServerForbidden     the login is refused, also after logging in anew: fail closed
    ├── KeyNotFound            confirmed: the key (or path) isn't there
    └── WrappedKeyRejected     wrong context, tampered with, or its version is gone: an alarm

A message names the operation and the key, what is wrong and what to do. None carries a value.
"""

import logging

from vault.errors import Reason, VaultError

log = logging.getLogger("piivault.keys")


class KeyServerError(Exception):
    """The key server refused what was asked as invalid."""


class KeyServerUnavailable(KeyServerError):
    """Sealed, unreachable, too slow (timeout), too busy (429) or broken (5xx)."""


class KeyServerForbidden(KeyServerError):
    """The login is refused, or isn't allowed to do this."""


class KeyNotFound(KeyServerError):
    """The key server said that there is no such key or path."""


class WrappedKeyRejected(KeyServerError):
    """A ciphertext isn't accepted: wrong context, tampered with, or its key version is gone."""


def told(error: KeyServerError) -> VaultError:
    """Return what a caller is told of a fault, and log what it was."""
    error.with_traceback(None)  # its frames hold what was asked, and it stays in our context
    log.error("key server: %s", error)
    if isinstance(error, WrappedKeyRejected):
        return VaultError(
            Reason.DAMAGED,
            "A key of this compartment can't be opened. The security team must look at this.",
        )
    return VaultError(
        Reason.KEYS_UNAVAILABLE,
        "The key server can't be asked just now, and the cached key is too old. Retry.",
    )
