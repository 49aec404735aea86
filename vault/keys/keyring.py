"""The keyring of one compartment: its own keys, wrapped by Transit, cached in memory.

    KEK v1..n        wraps the records' data keys
    index key        one a field and version
    audit-data key   seals the trail
    lookup key       marks request ids and erased pseudonyms

What the database says of the keys (the epoch, who is suspended, states of versions) is adopted each
time it is read. In another epoch, keys in clear are forgotten that may serve no more or whose row
isn't what they were unwrapped from; all others stay, so that the key server may be away just then.
A keyring that couldn't read it for `stale_after` seconds serves no key: it can't tell whether it
may. A suspended compartment's keys serve nothing but its trail, which goes on.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from vault.crypto.primitives import join
from vault.errors import Reason, VaultError
from vault.keys.asking import ask, told
from vault.keys.cache import KeyCache
from vault.keys.errors import KeyServerError, WrappedKeyRejected
from vault.keys.key import (
    READS,
    KeyKind,
    KeyName,
    KeyState,
    Standing,
    WrappedKey,
    Wrapping,
    check_state,
    suspended,
    unconfirmed,
)

log = logging.getLogger("piivault.keys")

SOFT_TTL, HARD_TTL = 300.0, 3600.0  # seconds
_CANARY = b"piivault canary"
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> float:
    """Return seconds that go on while the process is stopped, and the machine asleep (Linux)."""
    return time.clock_gettime(_CLOCK)


Look = Callable[[Standing], Awaitable[None]]


class WrongKeyServerError(Exception):
    """This key server can't open what this database was written with."""


class Keyring:
    """The keys of one compartment, as one process uses them."""

    def __init__(
        self,
        transit: Wrapping,
        transit_key: str,
        audit_transit_key: str,
        compartment: bytes,
        *,
        soft: float = SOFT_TTL,
        hard: float = HARD_TTL,
        clock: Callable[[], float] = clock,
    ) -> None:
        self._transit = transit
        self._transit_key = transit_key
        self._audit_transit_key = audit_transit_key
        self._compartment = compartment
        self._clock = clock
        self._stale_after = float("inf")
        self._look: Look | None = None
        self._standing = Standing(0, False, (), self._clock())
        self._rows: Mapping[KeyName, WrappedKey] = {}
        self._versions: Mapping[tuple[KeyKind, int], Sequence[WrappedKey]] = {}  # oldest first
        self._latest: Mapping[tuple[KeyKind, int], KeyName | None] = {}  # that writes
        self._used: dict[KeyName, int] = {}
        self._cache = KeyCache(self._unwrap, soft, hard, clock)

    async def new_key(self, name: KeyName) -> WrappedKey:
        """Draw a key; only for one that the database is known not to have."""
        where = self._wrapper(name), self._context(name)
        wrapped = await ask(self._transit.new_wrapped_key, *where)
        return WrappedKey(name, KeyState.ACTIVE, wrapped, int(time.time()))

    async def new_canary(self) -> str:
        """Encrypt the canary, for a database that has none."""
        return await ask(self._transit.encrypt, self._transit_key, _CANARY, self._canary_context)

    async def check_canary(self, canary: str) -> None:
        """Raise WrongKeyServerError unless this key server wrote it: before anything forks."""
        try:
            await self.probe(canary)
        except KeyServerError as e:
            raise told(e) from None

    async def probe(self, canary: str) -> None:
        """Have the key server open the canary. Raises WrongKeyServerError, KeyServerError."""
        why = ""
        try:
            opened = await asyncio.to_thread(
                self._transit.decrypt, self._transit_key, canary, self._canary_context
            )
        except WrappedKeyRejected as e:
            opened, why = b"", f" The key server says: {e}"
        if opened != _CANARY:
            raise WrongKeyServerError(
                f"The key {self._transit_key} can't open the canary of this database: restored "
                f"from another time, or not the one that wrote the data. Nothing was changed.{why}"
            )

    async def rewrapped(self, row: WrappedKey) -> str:
        """Return a key wrapped anew, under the newest version of its Transit key."""
        where = self._wrapper(row.name), row.wrapped, self._context(row.name)
        return await ask(self._transit.rewrap, *where)

    async def rewrapped_canary(self, canary: str) -> str:
        """Return the canary encrypted anew, under the newest version of its Transit key."""
        return await ask(self._transit.rewrap, self._transit_key, canary, self._canary_context)

    @property
    def transit_keys(self) -> tuple[str, str]:
        """The names of the Transit keys: that of the data, and that of the trail."""
        return self._transit_key, self._audit_transit_key

    def watch(self, look: "Look", stale_after: float) -> None:
        """From now on serve no key unless the database was read less than so many seconds ago.

        `look` reads it and calls `adopt`, unless what was adopted isn't what it is given any more.
        It raises VaultError where it can't.
        """
        self._look, self._stale_after = look, stale_after

    def hold(self, rows: Sequence[WrappedKey]) -> None:
        """Take over the wrapped keys as the database has them."""
        self._rows = {row.name: row for row in rows}
        versions: dict[tuple[KeyKind, int], list[WrappedKey]] = {}
        for row in sorted(self._rows.values(), key=lambda row: row.name.version):
            versions.setdefault((row.name.kind, row.name.field), []).append(row)
        self._versions = versions
        self._latest = {
            of: next((r.name for r in reversed(rows) if r.state == KeyState.ACTIVE), None)
            for of, rows in versions.items()
        }

    def adopt(self, standing: Standing) -> None:
        """Take over what the database says; of another epoch, forget what may serve no more."""
        known = self._standing
        if standing.at < known.at:
            return  # a look that was overtaken by a later one
        self.hold(standing.keys)
        self._standing = standing
        if standing.evicted != known.evicted:
            self.evict()
        elif standing.epoch != known.epoch:
            self._cache.keep({name: row for name, row in self._rows.items() if self._serves(row)})

    def _serves(self, row: WrappedKey) -> bool:
        stopped = self._standing.suspended and row.name.kind is not KeyKind.AUDIT
        return row.state in READS and not stopped

    @property
    def standing(self) -> Standing:
        """What the database said last."""
        return self._standing

    @property
    def epoch(self) -> int:
        """The epoch of the compartment's keys, as it was read last."""
        return self._standing.epoch

    @property
    def suspended(self) -> bool:
        """Whether the compartment was suspended when that was read last."""
        return self._standing.suspended

    @property
    def rows(self) -> Sequence[WrappedKey]:
        """All keys, wrapped."""
        return list(self._rows.values())

    def versions(self, kind: KeyKind, uid: int = 0) -> Sequence[WrappedKey]:
        """Return all versions of a key, oldest first."""
        return self._versions.get((kind, uid), ())

    def latest(self, kind: KeyKind, uid: int = 0) -> KeyName | None:
        """Return the newest active version of a key, which writes, or None if there is none."""
        return self._latest.get((kind, uid))

    def last_use(self, name: KeyName) -> int:
        """Return when this process used a key last, in seconds since 1970; 0 if it never did."""
        return self._used.get(name, 0)

    async def current(self) -> None:
        """Return if what the database said last is recent enough, or look anew.

        Raises VaultError(KEYS_UNAVAILABLE) where it can't be read.
        """
        if not self.is_current:
            await self._look_anew()
            self._confirm()

    async def _look_anew(self) -> None:
        if self._look is not None:
            try:
                await self._look(self._standing)
            except VaultError as e:
                log.error("what the database says of the keys can't be read: %s", e)

    def check(self, name: KeyName) -> None:
        """Raise VaultError unless a key may be used now.

        KEYS_UNAVAILABLE: that can't be told; KEYS_SUSPENDED; KEY_DESTROYED; DAMAGED: not there.
        """
        self._confirm()
        self._check(name)

    def check_serving(self) -> None:
        """Raise VaultError(KEYS_UNAVAILABLE, KEYS_SUSPENDED) unless the compartment may serve."""
        self._confirm()
        if self._standing.suspended:
            raise suspended("This compartment")

    def _confirm(self) -> None:
        if not self.is_current:
            raise unconfirmed()

    def _check(self, name: KeyName) -> None:
        if self._standing.suspended and name.kind is not KeyKind.AUDIT:
            raise suspended("This compartment")
        check_state(name, self._row(name).state)

    @property
    def is_current(self) -> bool:
        """Whether the database was read recently enough to serve keys."""
        return self._clock() - self._standing.at < self._stale_after

    def _row(self, name: KeyName) -> WrappedKey:
        row = self._rows.get(name)
        if row is None:
            raise VaultError(
                Reason.DAMAGED, f"There is no {name.kind} key of version {name.version} here."
            )
        return row

    def in_memory(self, name: KeyName) -> bool:
        """Tell whether a key serves without the key server."""
        return self._cache.has(name)

    async def get(self, name: KeyName, *, to_use: bool = True) -> bytes:
        """Return a key (32 bytes). Raises what `check` raises.

        `to_use` is False for who only sees to it that it is in memory.
        """
        if name not in self._rows or not self.is_current:
            await self._look_anew()  # another process may have drawn it just now
            self._confirm()
        self._check(name)
        if to_use:
            self._used[name] = int(time.time())
        served = self._cache.serve(name)
        if served is not None:
            return served
        key = await self._cache.fetch(name)
        self.check(name)  # it took a while: they may have been suspended meanwhile
        return key

    def evict(self) -> None:
        """Forget all keys in clear. One that is on its way reaches who waits for it, no more."""
        self._cache.evict()

    async def _unwrap(self, name: KeyName) -> tuple[bytes, str]:
        """Have the key server unwrap a key; once more if the key was wrapped anew meanwhile.

        Returns it and what it was unwrapped from.
        """
        row = self._row(name)
        try:
            return await self._unwrapped(row)
        except WrappedKeyRejected:
            await self._look_anew()
            anew = self._row(name)
            if anew.wrapped == row.wrapped:
                raise
        return await self._unwrapped(anew)

    async def _unwrapped(self, row: WrappedKey) -> tuple[bytes, str]:
        where = self._wrapper(row.name), row.wrapped, self._context(row.name)
        return await asyncio.to_thread(self._transit.unwrap, *where), row.wrapped

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
