"""A flood of refusals is counted, not stored one by one.

Only denials that looked at no data are counted so: they told the caller nothing but what the
policy is, and say nothing about a subject. A denial that met a record, or looked for one, always
has an event of its own; so has a value that doesn't hold, since only who is granted gets so far.
Counted, too, is what couldn't be stored when it happened, and what nobody waited for.

A service may have `per_second` such denials a second stored in one compartment, twice as many at
once. What goes beyond is counted by all that an event says but its moment and its request id, and
each WINDOW leaves one event for each such kind: that of the first one, with the count. Callers whom
no edition knows have one allowance together, and beyond it are counted by the reason alone: whoever
has any certificate fills no disk. The caller of a counted denial hears it before its count is
durable: a process that is killed loses the counts of one window, and no other event.
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
UNKNOWN_PER_SECOND = 1.0  # likewise, of all callers together whom no edition knows,
UNKNOWN_AT_ONCE = 20.0  # and so many at once
_MOST_KINDS = 64  # a window; requests that differ in their fields alone are then counted together
_MOST_STORING = 100  # that nobody waits for, at a time

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
        self._storing: set[asyncio.Task[None]] = set()

    def takes(self, event: Event) -> bool:
        """Count a denial that came too soon after others; return False if it is to be stored."""
        if event.outcome != audit.DENIED or event.reason not in self._counts:
            return False
        if self._may_store(event.service):
            return False
        self.count(event)
        return True

    async def refuse(self, event: Event) -> None:
        """Store a refusal, or count it. Raises VaultError, which is counted in its place then."""
        if self.takes(event):
            return
        try:
            await self._record(event)
        except VaultError as e:
            self.count(event.refused(audit.FAILED, e.reason))
            raise

    def note(self, event: Event) -> "asyncio.Task[None] | None":
        """Store an event without waiting for it, or count it; return what ends when it is stored.

        None if it came too soon after others. What can't be stored is counted.
        """
        if len(self._storing) >= _MOST_STORING or not self._may_store(event.service):
            self.count(event)
            return None
        task = asyncio.create_task(self._store(event))
        self._storing.add(task)
        task.add_done_callback(self._storing.discard)
        return task

    def count(self, event: Event) -> None:
        """Have an event stored with all others like it, by their number, when the window ends."""
        self._count(event)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Store what was counted, now."""
        await asyncio.gather(*self._storing)
        self._closing.set()
        if self._task is not None:
            await self._task

    async def _store(self, event: Event) -> None:
        try:
            await self._record(event)
        except VaultError:  # logged where it arose
            self.count(event)

    def _may_store(self, service: str) -> bool:
        caller, now = audit.counted_as(service), self._clock()
        unknown = caller == audit.UNKNOWN_CALLER
        per_second = UNKNOWN_PER_SECOND if unknown else self._per_second
        most = UNKNOWN_AT_ONCE if unknown else 2 * per_second
        has = self._allowances.setdefault(caller, _Allowance(most, now))
        has.tokens = min(most, has.tokens + (now - has.at) * per_second)
        has.at = now
        if has.tokens < 1:
            return False
        has.tokens -= 1
        return True

    def _count(self, event: Event) -> None:
        # It stands for others: for nobody's record, and no one recipient.
        event = replace(event, token=audit.no_token(), recipient="")
        if audit.counted_as(event.service) == audit.UNKNOWN_CALLER:
            event = replace(event, service=audit.UNKNOWN_CALLER, operation="")
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
