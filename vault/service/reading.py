"""Reading a compartment's trail backwards, the newest events first.

Events are stored by writer and sequence, and their time is inside the seal. But within a writer
time hardly goes back: an event is written while its request is answered, and no request takes
longer than a minute. So the chains are merged from their ends by time, and a chain is left where
it is older than what is asked for by more than _SLACK; a moment of the past is found in a chain by
halving. What is read is two events a writer and those of the time that is asked for, however long
the trail is. A clock that is set back by more than _SLACK breaks this.

An event that doesn't open has no time. It counts as old as the next one before it that opens, or
after it; with neither nearby it comes last, so that whoever may only insert can't hide what others
wrote behind it.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vault.audit.chain import WRITER_BYTES, Link, open_event
from vault.crypto.primitives import DamagedError, Key, cipher
from vault.errors import UNREADABLE, Reason, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import Keyring
from vault.names import from_base64url, to_base64url
from vault.sealed.v1 import sealed_pb2
from vault.store.engine import Database
from vault.store.events import StoredEvent
from vault.store.pages import read_backwards, read_edges

SECOND = 1_000_000  # the trail counts microseconds
_SLACK = 120 * SECOND  # a request takes 60 s at most; clocks are stepped a little
_PAGE = 256
_NUMBER = 8  # bytes
_MOST_DAMAGED = 8 * _PAGE  # events that are read in search of one that opens
_DONE = 2**64 - 1
_EVER = 2**62
_NUMBERS = 2**63  # a database's whole numbers are below it
_LATEST = 253402300800 * SECOND - 1  # the last moment that a calendar has: in the year 9999
_WHY: Mapping[str, str] = {
    Reason.KEYS_SUSPENDED: "isn't opened: the audit key that it is sealed under is suspended",
    Reason.KEY_DESTROYED: "opens no more: the audit key that it is sealed under was destroyed",
}


@dataclass(frozen=True, slots=True)
class ReadEvent:
    """An event, its place, and the token of its subject, which never leaves this process."""

    writer: bytes
    sequence: int
    token: bytes = field(repr=False)
    body: sealed_pb2.AuditEvent
    damaged: bool = False  # or its key was stopped: the body says which, and nothing else

    @property
    def stands_for(self) -> int:
        """How many requests it tells of: several where denials of a flood were counted."""
        return self.body.count or 1


class TrailReader:
    """Opens events of one compartment."""

    def __init__(self, compartment: bytes, database: Database, keyring: Keyring) -> None:
        self.compartment = compartment
        self.database = database
        self._keyring = keyring

    async def opened(self, rows: Iterable[StoredEvent]) -> list[ReadEvent]:
        """Open events; one that isn't what was written at its place says so.

        Raises VaultError(KEYS_UNAVAILABLE, STORAGE_UNAVAILABLE).
        """
        links = [(link := Link(*row), _key_version(link)) for row in rows]
        versions = {version for _, version in links}
        keys = {version: await self._key(version) for version in versions}
        return [self._open(link, keys[version]) for link, version in links]

    def _open(self, link: Link, key: Key | Reason) -> ReadEvent:
        reason = key if isinstance(key, Reason) else Reason.DAMAGED
        try:
            if isinstance(key, Reason):
                raise DamagedError(why_unopened(key))
            body, damaged = open_event(key, self.compartment, link), False
            # Who was taken over may write any number, and a moment before 1970 or after 9999 would
            # end whoever writes it as a date.
            body.at = min(max(body.at, 0), _LATEST)
        except DamagedError:
            failed = sealed_pb2.OUTCOME_FAILED
            body = sealed_pb2.AuditEvent(outcome=failed, reason=reason)
            damaged = True
        return ReadEvent(link.writer, link.sequence, link.token, body, damaged)

    async def _key(self, version: int | None) -> Key | Reason:
        """Return a version of the audit key, or why its events can't be opened."""
        if version is None:
            return Reason.DAMAGED
        try:
            return cipher(await self._keyring.get(KeyName(KeyKind.AUDIT, version)))
        except VaultError as e:
            if e.reason not in UNREADABLE:
                raise
            return e.reason  # a version that was stopped leaves its own events unread alone


def why_unopened(reason: str) -> str:
    """Say why an event of the trail can't be opened, after its name."""
    return _WHY.get(reason, "doesn't open")


@dataclass(frozen=True, slots=True)
class Span:
    """A time: from `since`, before `until`, in microseconds since 1970."""

    since: int
    until: int

    def holds(self, at: int) -> bool:
        """Tell whether a moment is in it."""
        return self.since <= at < self.until


def span(since: int | None, until: int | None) -> Span:
    """Return a span; without an end it has what a clock that goes ahead wrote, too."""
    return Span(since or 0, until if until is not None else _EVER)


@dataclass(slots=True)
class _Chain:
    """How far a writer's chain was read."""

    ahead: list[ReadEvent]  # read already; the next one is the last
    at: int = 0  # no event that follows counts as newer than this


class Backwards:
    """The events of a span, the newest first, and where another one goes on."""

    def __init__(
        self, reader: TrailReader, within: Span, begun: Mapping[bytes, int], wanted: int = _PAGE
    ) -> None:
        """`begun` has for each writer the next sequence, or _DONE: see `bookmark`.

        So many events as are `wanted` are read at first, then more at a time.
        """
        self._reader = reader
        self.within = within
        self._begun = dict(begun)
        self._chains: dict[bytes, _Chain] = {}
        self._newest: list[tuple[int, bytes]] = []  # a heap of the chains' times, negated
        self.looked_at = 0
        self._most = min(wanted, _PAGE)

    async def start(self) -> None:
        """Find each chain's first event to be read."""
        for edge in await read_edges(self._reader.database):
            if len(edge[0][0]) != WRITER_BYTES:  # no writer's: `audit verify` tells
                continue
            first, last = await self._reader.opened(edge)
            position = self._begun.get(last.writer)
            if position == _DONE:
                continue
            if position is not None:
                self._put(_Chain(await self._page(last.writer, position), _DONE))
            elif _is_before(last, self.within.since) or _is_after(first, self.within.until):
                continue
            else:
                end = await self._end(first, last)
                ahead = await self._page(end.writer, end.sequence) if end.damaged else [end]
                self._put(_Chain(ahead, _DONE))

    async def next(self) -> ReadEvent | None:
        """Return the next event of the span, or None at the end."""
        while (found := await self._any()) is not None:
            event, at = found
            if self._is_near(at) if event.damaged else self.within.holds(event.body.at):
                return event
        return None

    @property
    def at_end(self) -> bool:
        """Whether nothing is left."""
        return not self._newest

    def bookmark(self) -> str:
        """Return where to go on, for `begun`."""
        packed = (w + at.to_bytes(_NUMBER, "big") for w, at in self._begun.items())
        return to_base64url(self.within.until.to_bytes(_NUMBER, "big") + b"".join(packed))

    def _is_near(self, at: int | None) -> bool:
        return at is None or self.within.since - _SLACK <= at < self.within.until + _SLACK

    async def _any(self) -> tuple[ReadEvent, int | None] | None:
        """Return the next event, and when it was, as far as anybody knows."""
        if not self._newest:
            return None
        _, writer = heapq.heappop(self._newest)
        chain = self._chains[writer]
        at = _time_of(chain)
        event = chain.ahead.pop()
        self.looked_at += 1
        self._begun[writer] = _DONE  # until there is a next one
        if not chain.ahead and event.sequence:
            chain.ahead = await self._page(writer, event.sequence - 1)
        self._put(chain)
        return event, at

    def _put(self, chain: _Chain) -> None:
        if not chain.ahead:
            return
        event, at = chain.ahead[-1], _time_of(chain)
        if at is not None and at < self.within.since - _SLACK:
            chain.ahead = []
            return
        if at is not None:
            chain.at = min(chain.at, at)
        self._chains[event.writer] = chain
        if event.writer in self._begun:
            self._begun[event.writer] = event.sequence
        heapq.heappush(self._newest, (0 if at is None else -chain.at, event.writer))

    async def _page(self, writer: bytes, sequence: int) -> list[ReadEvent]:
        """Return events from a sequence down, the newest last: until one opens, if one does."""
        found: list[ReadEvent] = []
        while len(found) < _MOST_DAMAGED and sequence >= 0:
            rows = await read_backwards(self._reader.database, writer, sequence, self._most)
            self._most = min(2 * self._most, _PAGE)
            found += await self._reader.opened(rows)
            if not rows or not all(event.damaged for event in found[-len(rows) :]):
                break
            sequence = found[-1].sequence - 1
        return found[::-1]

    async def _end(self, first: ReadEvent, last: ReadEvent) -> ReadEvent:
        """Return an event behind which nothing is in the span, or the last one of its chain."""
        low, high = first, last
        if not _is_after(last, self.within.until):
            return last
        while high.sequence - low.sequence > 1:
            middle = (low.sequence + high.sequence) // 2
            rows = await read_backwards(self._reader.database, low.writer, middle, 1)
            (event,) = await self._reader.opened(rows)
            if event.sequence <= low.sequence:  # nothing between: somebody took events out
                break
            low, high = (low, event) if _is_after(event, self.within.until) else (event, high)
        return high


def _time_of(chain: _Chain) -> int | None:
    """Return when a chain's next event was: its own word, or that of the next one that opens."""
    for event in reversed(chain.ahead):
        if not event.damaged:
            return event.body.at
    return None if chain.at == _DONE else chain.at


def _is_before(event: ReadEvent, moment: int) -> bool:
    return not event.damaged and event.body.at < moment - _SLACK


def _is_after(event: ReadEvent, moment: int) -> bool:
    return not event.damaged and event.body.at > moment + _SLACK


def parse_bookmark(text: str) -> tuple[int, dict[bytes, int]]:
    """Return the end of the span, and `begun`. Raises ValueError."""
    raw = from_base64url(text)
    size = WRITER_BYTES + _NUMBER
    if len(raw) < _NUMBER or (len(raw) - _NUMBER) % size:
        raise ValueError("that is no bookmark")
    marks = (raw[at : at + size] for at in range(_NUMBER, len(raw), size))
    begun = {mark[:WRITER_BYTES]: int.from_bytes(mark[WRITER_BYTES:], "big") for mark in marks}
    if any(at >= _NUMBERS and at != _DONE for at in begun.values()):
        raise ValueError("that is no bookmark")
    return int.from_bytes(raw[:_NUMBER], "big"), begun


def _key_version(link: Link) -> int | None:
    try:
        return link.key_version
    except DamagedError:
        return None
