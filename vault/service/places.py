"""Places: how much is worked on at once. Whoever finds none is told when to come back.

A queue without a bound grows until all that leaves it is too late for whoever waited. So a place
is taken before any work, and what has one is never sent away for want of another: a record that is
worked on waits in one queue at a time, the loader's or the committer's, which bounds both.
"""

import asyncio
from collections import Counter
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from secrets import SystemRandom
from weakref import WeakValueDictionary

from vault.errors import Reason, VaultError
from vault.policy import Service

MOST_CALLS = 512
MOST_RECORDS = 4096
RETRY_AFTER = 0.1  # seconds, and up to as much again: not all at one time

_ALL = "All places are taken: nothing was begun. Come back in a moment."
_ITS_SHARE = (
    "This service has all the places that one service may: nothing was begun. "
    "Come back in a moment, or ask for less at once."
)


class Places:
    """So many places, and an eighth more for those who act for the subject.

    However many services read, a subject can withdraw, and an officer can stop all of it. One
    service has three quarters at most, so that none sends all others away.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.share = max(1, most * 3 // 4)  # what one service may have
        self._taken = 0
        self._taken_by: Counter[str] = Counter()  # by the service's name
        self._back = asyncio.Event()  # never set for longer than it takes to wake who waits
        self._lines: WeakValueDictionary[Hashable, asyncio.Lock] = WeakValueDictionary()

    @contextmanager
    def take(self, service: Service | None, wanted: int = 1) -> Iterator[None]:
        """Keep so many places; raise VaultError(OVERLOADED) if they aren't free.

        None is an officer, who takes nobody's.
        """
        self.check(service, wanted)
        if service is None:
            yield
            return
        self._count(service, wanted)
        try:
            yield
        finally:
            self._count(service, -wanted)
            self._back.set()
            self._back.clear()

    def check(self, service: Service | None, wanted: int = 1) -> None:
        """Raise VaultError(OVERLOADED) unless so many places are free now; it says whose."""
        if short := self._short(service, wanted):
            raise VaultError(Reason.OVERLOADED, short, retry_after=_moment())

    def free(self, service: Service) -> int:
        """Return how many places a service may take now."""
        own = self.share - self._taken_by[service.name]
        return max(0, min(self._most_for(service) - self._taken, own))

    def line(self, *of: Hashable) -> asyncio.Lock:
        """Return the lock by which all who wait for the same stand in line: the first one wakes."""
        return self._lines.setdefault(of, asyncio.Lock())

    async def one_free(self, service: Service) -> None:
        """Return once a place is free, which is whose who takes it first.

        Those who wait here are woken in the order that they came in.
        """
        while self._short(service, 1):
            await self._back.wait()

    def _short(self, service: Service | None, wanted: int) -> str:
        """Say what there isn't room in; "" if there is room."""
        if service is None:
            return ""
        if self._taken + wanted > self._most_for(service):
            return _ALL
        return _ITS_SHARE if self._taken_by[service.name] + wanted > self.share else ""

    def _most_for(self, service: Service) -> int:
        return self._most + (self._most + 7) // 8 * service.subject_facing

    def _count(self, service: Service, wanted: int) -> None:
        self._taken += wanted
        self._taken_by[service.name] += wanted


def _moment() -> float:
    return RETRY_AFTER * (1 + SystemRandom().random())
