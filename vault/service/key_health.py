"""Whether a login's keys can be used: looked at again and again, without waiting for a request.

A look asks the key server one thing, which tells whether it is there, lets this login in and is
the one that wrote the data. If it does as asked, every key that may read is seen to be in memory,
so that an outage finds there what wasn't asked for yet. If not, nothing more is asked, and what was
good serves on as the keyring serves: for the hard TTL while the key server is away, for the soft
TTL where it refuses.

What an officer stopped, and can resume, is no fault: this process answers, and says so. That no
version of a needed key writes, with none to resume, is one: nothing but an officer mends it.
"""

import logging
import math
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass

from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerError, KeyServerUnavailable
from vault.keys.key import READS, KeyKind, KeyName, KeyState
from vault.keys.keyring import Keyring, WrongKeyServerError, clock
from vault.service.metrics import Metrics

log = logging.getLogger("piivault.keys")


@dataclass(frozen=True, slots=True)
class _Refusal:
    """Why the key server doesn't do as asked, and the seconds that what was good serves on."""

    why: str
    serves_on: float


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is wrong, and whether nothing can be answered because of it."""

    why: str
    stops: bool


class KeyHealth:
    """The keys that one login uses, in `keyrings` by the name of what they are of.

    `ask` asks the key server; it raises KeyServerError, WrongKeyServerError, or VaultError where it
    couldn't. No request is answered without the newest key of each of the `kinds`, nor without one
    that writes, unless this login only reads. `soft` and `hard` are TTLs in seconds, 0 where every
    request asks the key server.
    """

    def __init__(
        self,
        login: str,
        keyrings: Mapping[str, Keyring],
        kinds: Collection[KeyKind],
        ask: Callable[[], Awaitable[None]],
        *,
        soft: float,
        hard: float,
        metrics: Metrics,
        writes: bool = True,
        clock: Callable[[], float] = clock,
    ) -> None:
        self._login, self._keyrings, self._kinds, self._ask = login, keyrings, kinds, ask
        self._soft, self._hard, self._metrics, self._clock = soft, hard, metrics, clock
        self._to_write = kinds if writes else ()
        self._answered_at = clock()  # it did, or we wouldn't have been opened
        self._stops = ""
        self.trouble = ""  # all that the last look found, in words

    def check(self) -> None:
        """Raise VaultError(KEYS_UNAVAILABLE) if, by the last look, nothing can be answered."""
        if self._stops:
            raise VaultError(Reason.KEYS_UNAVAILABLE, f"The keys of {self._login}: {self._stops}")

    async def look(self) -> None:
        """Look, remember, count, and log what changed."""
        refusal = await self._refusal()
        found: list[_Trouble] = []
        for name, keyring in self._keyrings.items():
            found += await self._look_into(name, keyring, refusal)
        self._metrics.keys(self._login, answers=refusal is None, unusable=len(found))
        if refusal is not None:
            is_over = self._clock() - self._answered_at >= refusal.serves_on
            found.append(_Trouble(refusal.why, is_over))
        stops = any(trouble.stops for trouble in found)
        trouble = " ".join(dict.fromkeys(trouble.why for trouble in found))
        if trouble and trouble != self.trouble:
            log.error("the keys of %s: %s", self._login, trouble)
        elif self.trouble and not trouble:
            log.warning("the keys of %s can all be used again", self._login)
        self.trouble, self._stops = trouble, trouble if stops else ""

    async def _refusal(self) -> _Refusal | None:
        try:
            await self._ask()
        except KeyServerUnavailable as e:
            return _Refusal(str(e), self._hard)
        except (KeyServerError, WrongKeyServerError) as e:
            return _Refusal(str(e), self._soft)
        except VaultError as e:  # the database: whether keys serve without it, the keyring knows
            return _Refusal(e.message, math.inf)
        self._answered_at = self._clock()
        return None

    async def _look_into(
        self, of: str, keyring: Keyring, refusal: _Refusal | None
    ) -> list[_Trouble]:
        """See to it that the keys of a ring are in memory; return which can't be."""
        try:
            await keyring.current()
        except VaultError as e:
            return [_Trouble(f"The states of the keys of {of}: {e.message}", True)]
        if keyring.suspended:
            return []
        without = (_without_writer(of, keyring, kind) for kind in self._to_write)
        missing = [_Trouble(why, True) for why in without if why]
        needed = {keyring.latest(kind) for kind in self._kinds}
        readable = [row.name for row in keyring.rows if row.state in READS]
        unusable: dict[str, list[KeyName]] = {}
        for name in readable:
            if why := await _unusable(keyring, name, ask=refusal is None):
                unusable.setdefault(why, []).append(name)
        return missing + [
            _Trouble(
                f"{', '.join(map(_written, names))} of {of}: {why}", not needed.isdisjoint(names)
            )
            for why, names in unusable.items()
        ]


def _without_writer(of: str, keyring: Keyring, kind: KeyKind) -> str:
    """Say that no version of a key writes, and what to do; "" if one does or waits for `resume`."""
    if keyring.latest(kind):
        return ""
    passed_over = (KeyState.DESTROYED, KeyState.BUILDING)
    left = [row.state for row in keyring.versions(kind) if row.state not in passed_over]
    if left and left[-1] not in READS:
        return ""  # suspended: resumed, the newest one writes again
    remedy = (
        f"draw a new one with `piivault keys rotate {of} kek`."
        if kind is KeyKind.KEK and keyring.versions(kind)
        else "its rows were lost or changed; restore them from the newest backup of the keys."
    )
    return f"no {kind} key of {of} writes: {remedy}"


async def _unusable(keyring: Keyring, name: KeyName, *, ask: bool) -> str:
    """Say why a key can't be used; empty if it can. Who refused once isn't asked for each key."""
    if not ask:
        return "" if keyring.in_memory(name) else "not in memory."
    try:
        await keyring.get(name, to_use=False)
    except VaultError as e:
        return e.message
    return ""


def _written(name: KeyName) -> str:
    """Write a key as officers do, but a field by its uid."""
    return f"{name.kind}:" + (f"{name.field}:" if name.field else "") + str(name.version)
