"""The keys of a compartment's ring: names, states, and what the database says of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from vault.errors import Reason, VaultError


class KeyKind(StrEnum):
    """What a key of the ring is for."""

    KEK = "kek"
    INDEX = "index"
    AUDIT = "audit"
    LOOKUP = "lookup"


class KeyState(StrEnum):
    """What may be done with one version of a key (NIST SP 800-57 part 1, section 7)."""

    ACTIVE = "active"  # the newest of these writes; all read
    DECRYPT_ONLY = "decrypt-only"  # reads
    SUSPENDED = "suspended"  # nothing, until it is resumed
    DESTROYED = "destroyed"  # nothing, for ever
    BUILDING = "building"  # an index: it is written beside the active one, and not looked up in yet


READS = frozenset({KeyState.ACTIVE, KeyState.DECRYPT_ONLY, KeyState.BUILDING})


@dataclass(frozen=True, slots=True)
class KeyName:
    """Which key; `field` is a field's uid for index keys, else zero."""

    kind: KeyKind
    version: int = 1
    field: int = 0


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key as it is stored: a Transit ciphertext. `created` is in seconds since 1970, or 0."""

    name: KeyName
    state: str
    wrapped: str = field(repr=False)
    created: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """What the database said of a compartment's keys, asked at `at` on the keyring's clock.

    `evicted` is the epoch since which no key in clear may be one from before; 0 if there is none.
    """

    epoch: int
    suspended: bool
    keys: Sequence[WrappedKey]
    at: float
    evicted: int = 0


class Wrapping(Protocol):
    """Transit, as the keyring needs it. Calls block."""

    def new_wrapped_key(self, key: str, context: bytes) -> str:
        """Draw a key and return it wrapped."""

    def unwrap(self, key: str, wrapped: str, context: bytes) -> bytes:
        """Return the key."""

    def encrypt(self, key: str, plaintext: bytes, context: bytes) -> str:
        """Encrypt under what is derived for the context."""

    def decrypt(self, key: str, ciphertext: str, context: bytes) -> bytes:
        """Decrypt what `encrypt` returned."""

    def rewrap(self, key: str, ciphertext: str, context: bytes) -> str:
        """Encrypt anew under the newest version, without showing what is inside."""


def transit_version(wrapped: str) -> int:
    """Return the version of the Transit key in `vault:v3:…`; 0 if there is none."""
    _, _, rest = wrapped.partition(":v")
    digits, _, _ = rest.partition(":")
    return int(digits) if digits.isdecimal() else 0


def check_state(name: KeyName, state: str) -> None:
    """Raise VaultError(KEYS_SUSPENDED, KEY_DESTROYED) unless a version in this state reads."""
    check_destroyed(name, state)
    if state not in READS:
        raise suspended(f"The {name.kind} key of version {name.version} of this compartment")


def check_destroyed(name: KeyName, state: str) -> None:
    """Raise VaultError(KEY_DESTROYED) if a version in this state is gone for ever."""
    if state == KeyState.DESTROYED:
        raise VaultError(
            Reason.KEY_DESTROYED,
            f"The {name.kind} key of version {name.version} was destroyed: what it opened is "
            "unreadable for ever.",
        )


def suspended(what: str) -> VaultError:
    """Return the error for whoever meets what the security team stopped."""
    return VaultError(
        Reason.KEYS_SUSPENDED,
        f"{what} is suspended by the security team. Don't retry: ask them.",
    )


def unconfirmed() -> VaultError:
    """Return the error for whoever meets a process that can't tell whether it may use its keys."""
    return VaultError(
        Reason.KEYS_UNAVAILABLE,
        "This process couldn't read for too long whether it may still use the keys. Retry.",
    )
