"""Rate limits and quotas, as the edition states them for each service and operation.

Kept in memory, for each process and compartment: N workers allow N times as much, and a restart
begins anew. They bound what a stolen certificate can read before somebody notices, and what
Find can be asked; they are no accounting. That is the trail's work.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass, field

from vault.errors import Reason, VaultError
from vault.policy.edition import Limit, Service
from vault.policy.vocabulary import Operation

NO_LIMIT = sys.maxsize
_DAY = 24 * 3600


@dataclass(slots=True)
class _Spent:
    tokens: float
    at: float
    day: int
    today: int = 0
    given_back: asyncio.Event = field(default_factory=asyncio.Event)  # set to wake, then cleared


class Limits:
    """Counts what each service does in one compartment.

    Find has a default (`find_per_second`): it would tell who is registered to whoever may try
    often enough. So have lists: they tell it by the page. Twice the rate may come at once.
    """

    def __init__(
        self,
        find_per_second: float,
        pages_per_second: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._defaults = {
            Operation.FIND: Limit(per_second=find_per_second, per_day=None),
            Operation.LIST: Limit(per_second=pages_per_second, per_day=None),
        }
        self._clock = clock
        self._spent: dict[Hashable, _Spent] = {}

    def take(self, service: Service, operation: Operation, doing: str = "") -> None:
        """Count one; raise VaultError(RATE_LIMITED) saying when there is one again.

        `doing` says what is counted as the operation, if it is something else.
        """
        if (wait := self.wait(service, operation)) > 0:
            raise VaultError(
                Reason.RATE_LIMITED,
                f"The service {service.name} may {doing or operation} no more often for now: "
                f"come back in {wait:.1f} s.",
                retry_after=wait,
            )
        if spent := self._spent.get((service.name, operation)):
            spent.tokens -= 1
            spent.today += 1

    def give_back(self, service: Service, operation: Operation) -> None:
        """Count one less: it told nothing."""
        if spent := self._spent.get((service.name, operation)):
            spent.tokens += 1
            spent.today -= 1
            spent.given_back.set()
            spent.given_back.clear()

    async def one_back(self, service: Service, operation: Operation) -> None:
        """Return when it is time for one again, or one was given back before."""
        wait = self.wait(service, operation)
        if wait > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._spent[service.name, operation].given_back.wait()

    def wait(self, service: Service, operation: Operation) -> float:
        """Return the seconds until there is one again; 0 if there is."""
        limit = service.limits.get(operation) or self._defaults.get(operation)
        if limit is None:
            return 0.0
        now = self._clock()
        spent = self._spent.get((service.name, operation))
        if spent is None:
            spent = self._spent[service.name, operation] = _fresh(limit, now)
        return max(_until_token(spent, limit, now), _until_tomorrow(spent, limit, now))

    def left(self, service: Service, operation: Operation) -> int:
        """Return how many there are just now, where there is one: NO_LIMIT if that is unbounded."""
        limit = service.limits.get(operation) or self._defaults.get(operation)
        spent = self._spent.get((service.name, operation))
        if limit is None or spent is None:
            return NO_LIMIT
        tokens = int(spent.tokens) if limit.per_second else NO_LIMIT
        today = limit.per_day - spent.today if limit.per_day is not None else NO_LIMIT
        return max(1, min(tokens, today))


def _fresh(limit: Limit, now: float) -> _Spent:
    return _Spent(_burst(limit), now, int(now) // _DAY)


def _burst(limit: Limit) -> float:
    return max(1.0, 2 * limit.per_second) if limit.per_second else 1.0


def _until_token(spent: _Spent, limit: Limit, now: float) -> float:
    """Refill the bucket; return the seconds until it holds a token."""
    if limit.per_second is None:
        spent.tokens = 1.0
        return 0.0
    refilled = spent.tokens + max(0.0, now - spent.at) * limit.per_second
    spent.tokens, spent.at = min(_burst(limit), refilled), now
    return max(0.0, (1 - spent.tokens) / limit.per_second)


def _until_tomorrow(spent: _Spent, limit: Limit, now: float) -> float:
    """Begin a new day's count at midnight, UTC; return the seconds until then if it is spent."""
    today = int(now) // _DAY
    if today != spent.day:
        spent.day, spent.today = today, 0
    if limit.per_day is None or spent.today < limit.per_day:
        return 0.0
    return float((today + 1) * _DAY - now)
