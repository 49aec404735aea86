"""Keys in clear, in memory: how long one serves, and when the key server is asked for it again.

A key is cached by its name, version included: a cache that forgets the version defeats every
rotation. Fresh for `soft` seconds (jittered); then it still serves while one refresh runs; after
`hard` seconds it serves no more. So the key server may be away for up to `hard` seconds.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from secrets import SystemRandom

from vault.keys.asking import told
from vault.keys.errors import KeyServerError, KeyServerUnavailable
from vault.keys.key import KeyName, WrappedKey

# Returns a key in clear, and what it was unwrapped from; raises KeyServerError, VaultError.
Unwrap = Callable[[KeyName], Awaitable[tuple[bytes, str]]]


@dataclass(slots=True)
class _Cached:
    key: bytes = field(repr=False)
    wrapped: str = field(repr=False)
    at: float
    soft: float


class KeyCache:
    """The keys in clear of one keyring. It knows how old they are, and not whether they may serve.

    Ages are in seconds on `clock`.
    """

    def __init__(
        self, unwrap: Unwrap, soft: float, hard: float, clock: Callable[[], float]
    ) -> None:
        self._unwrap, self._soft, self._hard, self._clock = unwrap, soft, hard, clock
        self._keys: dict[KeyName, _Cached] = {}
        self._fetches: dict[KeyName, asyncio.Task[bytes]] = {}

    def serve(self, name: KeyName) -> bytes | None:
        """Return a key that isn't too old, or None. A stale one is refreshed in the background."""
        cached = self._keys.get(name)
        age = self._clock() - cached.at if cached else 0.0
        if cached is None or age >= self._hard:
            return None
        if age >= cached.soft:
            self._fetching(name)
        return cached.key

    def has(self, name: KeyName) -> bool:
        """Tell whether a key is here that isn't too old."""
        cached = self._keys.get(name)
        return cached is not None and self._clock() - cached.at < self._hard

    async def fetch(self, name: KeyName) -> bytes:
        """Ask for a key; all who wait for it share one question. Raises VaultError."""
        return await asyncio.shield(self._fetching(name))

    def keep(self, usable: Mapping[KeyName, WrappedKey]) -> None:
        """Forget all keys but those that were unwrapped from just what is given here."""
        self._fetches.clear()
        self._keys = {
            name: cached
            for name, cached in self._keys.items()
            if name in usable and usable[name].wrapped == cached.wrapped
        }

    def evict(self) -> None:
        """Forget all keys. One that is on its way reaches who waits for it, no more."""
        self.keep({})

    def _fetching(self, name: KeyName) -> "asyncio.Task[bytes]":
        fetch = self._fetches.get(name)
        if fetch is None:
            fetch = self._fetches[name] = asyncio.create_task(self._fetch(name))
            fetch.add_done_callback(lambda done: self._fetched(name, done))
        return fetch

    def _fetched(self, name: KeyName, fetch: "asyncio.Task[bytes]") -> None:
        if self._fetches.get(name) is fetch:
            del self._fetches[name]
        if not fetch.cancelled():
            fetch.exception()  # heard, even if nobody waits: a refresh in the background

    async def _fetch(self, name: KeyName) -> bytes:
        try:
            key, wrapped = await self._unwrap(name)
        except KeyServerUnavailable as e:
            raise told(e) from None  # away: what is cached goes on to its hard TTL
        except KeyServerError as e:
            self._keys.pop(name, None)  # refused: fail closed at once
            raise told(e) from None
        if self._fetches.get(name) is asyncio.current_task():  # else evicted meanwhile
            soft = min(self._soft * SystemRandom().uniform(0.9, 1.1), self._hard)
            self._keys[name] = _Cached(key, wrapped, self._clock(), soft)
        return key
