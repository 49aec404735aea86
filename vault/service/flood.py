"""A flood of denials is counted, not stored one by one.

Only denials that looked at no data are counted so: they told the caller nothing but what the
policy is, and say nothing about a subject. A denial that met a record, or looked for one, always
has an event of its own; so has a value that doesn't hold, since only who is granted gets so far.

A service may have `per_second` such denials a second stored in one compartment, twice as many at
once. What goes beyond is counted by all that an event says but its moment and its request id, and
each WINDOW leaves one event for each such kind: that of the first one, with the count. The caller
of a counted denial hears it before its count is durable: a process that is killed loses the
counts of one window, and no other event.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Hashable
from dataclasses import dataclass, field, replace

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError

log = logging.getLogger("piivault.audit")

WINDOW = 5.0  # seconds
DENIALS_PER_SECOND = 50.0  # that are stored one by one
_MOST_KINDS = 64  # a window; requests that differ in their fields alone are then counted together

LOOKED_AT_NO_DATA = frozenset(
    {
        Reason.UNKNOWN_COMPARTMENT,
        Reason.UNKNOWN_PURPOSE,
        Reason.UNKNOWN_FIELD,
        Reason.MALFORMED_PSEUDONYM,
        Reason.NOT_GRANTED,
        Reason.FIELD_BEYOND_PURPOSE,
        Reason.CAPABILITY_INVALID,
        Reason.CAPABILITY_EXPIRED,
        Reason.CAPABILITY_BORROWED,
        Reason.RATE_LIMITED,
    }
)


@dataclass(slots=True)
class _Allowance:
    tokens: float
    at: float


@dataclass(slots=True)
class _Counted:
    first: Event = field(repr=False)
    count: int = 0


class Flood:
    """The counted denials of one compartment in this process, for the reasons in `counts`."""

    def __init__(
        self,
        record: Callable[[Event], Awaitable[None]],
        per_second: float,
        window: float = WINDOW,
        clock: Callable[[], float] = time.monotonic,
        counts: Collection[Reason] = LOOKED_AT_NO_DATA,
    ) -> None:
        self._record = record
        self._counts = counts
        self._per_second, self._window, self._clock = per_second, window, clock
        self._allowances: dict[str, _Allowance] = {}
        self._counted: dict[Hashable, _Counted] = {}
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def takes(self, event: Event) -> bool:
        """Count a denial that came too soon after others; return False if it is to be stored."""
        if event.outcome != audit.DENIED or event.reason not in self._counts:
            return False
        if self._may_store(event.service):
            return False
        self._count(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return True

    async def close(self) -> None:
        """Store what was counted, now."""
        self._closing.set()
        if self._task is not None:
            await self._task

    def _may_store(self, service: str) -> bool:
        now, most = self._clock(), 2 * self._per_second
        has = self._allowances.setdefault(service, _Allowance(most, now))
        has.tokens = min(most, has.tokens + (now - has.at) * self._per_second)
        has.at = now
        if has.tokens < 1:
            return False
        has.tokens -= 1
        return True

    def _count(self, event: Event) -> None:
        what: tuple[Hashable, ...] = (
            event.edition,
            event.service,
            event.owner,
            event.purpose,
            event.operation,
            event.reason,
            event.compartment,
        )
        kind = (*what, event.uses)
        if kind not in self._counted and len(self._counted) >= _MOST_KINDS:
            kind, event = what, replace(event, uses=())
        self._counted.setdefault(kind, _Counted(event)).count += 1

    async def _run(self) -> None:
        while self._counted:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), self._window)
            await self._flush()
            if self._closing.is_set():
                return

    async def _flush(self) -> None:
        counted, self._counted = self._counted, {}
        for kind, its in counted.items():
            try:
                await self._record(replace(its.first, count=its.count))
            except VaultError as e:  # counted on, and tried again with the next
                log.error("%d denials are counted and not stored yet: %s", its.count, e)
                self._counted.setdefault(kind, _Counted(its.first)).count += its.count
