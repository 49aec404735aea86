"""Following a compartment's trail: each new event is opened once, for all who watch it."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from vault.errors import Reason, VaultError
from vault.service.reading import Backwards, ReadEvent, TrailReader, span
from vault.store.events import read_after, read_heads

log = logging.getLogger("piivault.audit")

POLL = 1.0  # seconds between looks at the ends of the chains
MOST_WAITING = 10_000  # events that a slow reader may leave unread
_MOST_READERS = 64
_PAGE = 500

See = Callable[[Sequence[ReadEvent]], None]


class Subscription:
    """What one reader hasn't read yet."""

    def __init__(self) -> None:
        self._batches: asyncio.Queue[Sequence[ReadEvent]] = asyncio.Queue()
        self._waiting = 0
        self._overflowed = False

    def put(self, events: Sequence[ReadEvent]) -> None:
        """Take note of events, unless too many wait already."""
        if self._waiting + len(events) > MOST_WAITING:
            self._overflowed = True
            self._batches.put_nowait(())
        if not self._overflowed:
            self._waiting += len(events)
            self._batches.put_nowait(events)

    async def next(self) -> Sequence[ReadEvent]:
        """Return the next events, once there are some; raise VaultError(OVERLOADED)."""
        events = await self._batches.get()
        self._waiting -= len(events)
        if not events:
            raise VaultError(
                Reason.OVERLOADED,
                "Events came faster than they were read, so some would be missing. List what was "
                "missed, and narrow the filter.",
            )
        return events


class Follower:
    """Reads what is new in each chain, in its order.

    `see` is shown all events, beginning with those of the last `lookback` seconds before.
    """

    def __init__(self, reader: TrailReader, see: See, lookback: float) -> None:
        self._reader = reader
        self._see = see
        self._lookback = lookback
        self._seen: dict[bytes, int] = {}  # the last sequence by writer
        self._readers: set[Subscription] = set()

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """Hand on what comes from now on. Raises VaultError(OVERLOADED)."""
        if len(self._readers) >= _MOST_READERS:
            raise VaultError(
                Reason.OVERLOADED, f"{_MOST_READERS} readers follow this trail already. Retry."
            )
        subscription = Subscription()
        self._readers.add(subscription)
        try:
            yield subscription
        finally:
            self._readers.discard(subscription)

    async def start(self, now: int) -> None:
        """Note where the chains end, and look at what came before; `now` is in microseconds.

        Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE).
        """
        self._seen = dict(await read_heads(self._reader.database))
        since = now - int(self._lookback * 1_000_000)
        walk = Backwards(self._reader, span(since, None), {})
        await walk.start()
        before: list[ReadEvent] = []
        while len(before) < MOST_WAITING and (event := await walk.next()) is not None:
            if event.sequence <= self._seen.get(event.writer, -1):  # else it is still to come
                before.append(event)
        if before:
            self._see(before[::-1])

    async def look(self) -> None:
        """Read what is new. Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE)."""
        database = self._reader.database
        for writer, last in (await read_heads(database)).items():
            while (seen := self._seen.get(writer, -1)) < last:
                rows = await read_after(database, writer, seen, last, _PAGE)
                if not rows:
                    break
                events = await self._reader.opened(rows)
                self._seen[writer] = events[-1].sequence
                self._see(events)
                for reader in self._readers:
                    reader.put(events)
