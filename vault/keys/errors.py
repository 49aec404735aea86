"""What can go wrong with the key server, and what each fault asks of whoever meets it.

    KeyServerError
    ├── KeyServerUnavailable   sealed, unreachable, too slow, too busy: wait, serve from cache
    ├── KeyServerForbidden     the login is refused, also after logging in anew: fail closed
    ├── KeyNotFound            confirmed: the key (or path) isn't there
    └── WrappedKeyRejected     wrong context, tampered with, or its version is gone: an alarm

A message names the operation and the key, what is wrong and what to do. None carries a value.
"""


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
