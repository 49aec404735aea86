"""The keyring of one compartment: its own keys, wrapped by Transit, cached in memory.

    KEK v1..n        wraps the records' data keys
    index key        one a field and version
    audit-data key   seals the trail
    lookup key       marks request ids and erased pseudonyms

A key is cached by its name, version included: a cache that forgets the version defeats every
rotation. Fresh for `soft` seconds (jittered); then it still serves while one refresh runs; after
`hard` seconds it serves no more. So the key server may be away for up to `hard` seconds.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from secrets import SystemRandom
from typing import Protocol

from vault.crypto.primitives import join
from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerError, KeyServerUnavailable, WrappedKeyRejected

log = logging.getLogger("piivault.keys")

ACTIVE = "active"
_CANARY = b"piivault canary"


class KeyKind(StrEnum):
    """What a key of the ring is for."""

    KEK = "kek"
    INDEX = "index"
    AUDIT = "audit"
    LOOKUP = "lookup"


@dataclass(frozen=True, slots=True)
class KeyName:
    """Which key; `field` is a field's uid for index keys, else zero."""

    kind: KeyKind
    version: int = 1
    field: int = 0


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A key as it is stored: a Transit ciphertext."""

    name: KeyName
    state: str
    wrapped: str = field(repr=False)


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


class WrongKeyServerError(Exception):
    """This key server can't open what this database was written with."""


@dataclass(slots=True)
class _Cached:
    key: bytes = field(repr=False)
    at: float
    soft: float


class Keyring:
    """The keys of one compartment, as one process uses them."""

    def __init__(
        self,
        transit: Wrapping,
        transit_key: str,
        audit_transit_key: str,
        compartment: bytes,
        *,
        soft: float = 300.0,
        hard: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transit = transit
        self._transit_key = transit_key
        self._audit_transit_key = audit_transit_key
        self._compartment = compartment
        self._soft, self._hard, self._clock = soft, hard, clock
        self._rows: Mapping[KeyName, WrappedKey] = {}
        self._cache: dict[KeyName, _Cached] = {}
        self._fetches: dict[KeyName, asyncio.Task[bytes]] = {}

    async def new_key(self, name: KeyName) -> WrappedKey:
        """Draw a key; only for one that the database is known not to have."""
        try:
            wrapped = await asyncio.to_thread(
                self._transit.new_wrapped_key, self._wrapper(name), self._context(name)
            )
        except KeyServerError as e:
            raise _translate(e) from None
        return WrappedKey(name, ACTIVE, wrapped)

    async def new_canary(self) -> str:
        """Encrypt the canary, for a database that has none."""
        try:
            return await asyncio.to_thread(
                self._transit.encrypt, self._transit_key, _CANARY, self._canary_context
            )
        except KeyServerError as e:
            raise _translate(e) from None

    async def check_canary(self, canary: str) -> None:
        """Raise WrongKeyServerError unless this key server wrote it: before anything forks."""
        try:
            opened = await asyncio.to_thread(
                self._transit.decrypt, self._transit_key, canary, self._canary_context
            )
        except WrappedKeyRejected:
            opened = b""
        except KeyServerError as e:
            raise _translate(e) from None
        if opened != _CANARY:
            raise WrongKeyServerError(
                f"The key {self._transit_key} can't open the canary of this database: restored "
                "from another time, or not the one that wrote the data. Nothing was changed."
            )

    def hold(self, rows: Sequence[WrappedKey]) -> None:
        """Take over the wrapped keys as the database has them."""
        self._rows = {row.name: row for row in rows}

    def latest(self, kind: KeyKind, uid: int = 0) -> KeyName | None:
        """Return the newest version of a key, or None if there is none."""
        versions = [n for n in self._rows if n.kind is kind and n.field == uid]
        return max(versions, key=lambda n: n.version, default=None)

    async def get(self, name: KeyName) -> bytes:
        """Return a key (32 bytes). Raises VaultError(KEYS_UNAVAILABLE, DAMAGED)."""
        cached = self._cache.get(name)
        age = self._clock() - cached.at if cached else 0.0
        if cached and age < cached.soft:
            return cached.key
        fetch = self._fetches.get(name)
        if fetch is None:
            fetch = self._fetches[name] = asyncio.create_task(self._fetch(name))
            fetch.add_done_callback(lambda done: self._fetched(name, done))
        if cached and age < self._hard:
            return cached.key
        return await asyncio.shield(fetch)

    def evict(self) -> None:
        """Forget all keys in clear. One that is on its way reaches who waits for it, no more."""
        self._cache.clear()
        self._fetches.clear()

    def _fetched(self, name: KeyName, fetch: "asyncio.Task[bytes]") -> None:
        if self._fetches.get(name) is fetch:
            del self._fetches[name]
        if not fetch.cancelled():
            fetch.exception()  # heard, even if nobody waits: a refresh in the background

    async def _fetch(self, name: KeyName) -> bytes:
        row = self._rows.get(name)
        if row is None:
            raise VaultError(
                Reason.DAMAGED, f"There is no {name.kind} key of version {name.version} here."
            )
        try:
            key = await asyncio.to_thread(
                self._transit.unwrap, self._wrapper(name), row.wrapped, self._context(name)
            )
        except KeyServerUnavailable as e:
            raise _translate(e) from None  # away: what is cached goes on to its hard TTL
        except KeyServerError as e:
            self._cache.pop(name, None)  # refused: fail closed at once
            raise _translate(e) from None
        if self._fetches.get(name) is asyncio.current_task():  # else evicted meanwhile
            spread = SystemRandom().uniform(0.9, 1.1)
            soft = min(self._soft * spread, self._hard)
            self._cache[name] = _Cached(key, self._clock(), soft)
        return key

    def _wrapper(self, name: KeyName) -> str:
        """Return the Transit key that wraps a key: the auditor can use that of the trail alone."""
        return self._audit_transit_key if name.kind is KeyKind.AUDIT else self._transit_key

    def _context(self, name: KeyName) -> bytes:
        return join(
            b"piivault/v1/keyring",
            self._compartment,
            name.kind.value.encode(),
            name.field.to_bytes(4, "big"),
            name.version.to_bytes(4, "big"),
        )

    @property
    def _canary_context(self) -> bytes:
        return join(b"piivault/v1/canary", self._compartment)


def _translate(error: KeyServerError) -> VaultError:
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
