"""A compartment's chains as the auditor follows them, from where its newest checkpoint ends."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from vault.audit.chain import WRITER_BYTES, Link, first, hash_of, misshapen
from vault.audit.checkpoint import Checkpoint, Head, Heads, Noted
from vault.audit.faults import Fault, seen
from vault.store.engine import Database
from vault.store.events import has_below, read_after, read_heads

PAGE = 1000  # events in memory at a time
NOTHING = Head(-1, b"")


@dataclass(frozen=True, slots=True)
class Covered:
    """What the newest checkpoint covers, beside what is stored.

    All methods raise VaultError(STORAGE_UNAVAILABLE).
    """

    uuid: bytes
    database: Database
    newest: Checkpoint | None

    @property
    def heads(self) -> Heads:
        """How far each chain is covered."""
        return self.newest.heads if self.newest else {}

    @property
    def accepted(self) -> frozenset[Noted]:
        """The faults that somebody took note of."""
        return self.newest.accepted if self.newest else frozenset()

    async def ends(self) -> tuple[Mapping[bytes, int], tuple[Fault, ...]]:
        """Return the last sequence of each chain; and, apart, that there is what none can have."""
        stored = await read_heads(self.database)
        ends = {w: last for w, last in stored.items() if len(w) == WRITER_BYTES and last >= 0}
        if len(ends) == len(stored) and not await has_below(self.database, 0):
            return ends, ()
        what = "events are stored that no chain can have: their writer or sequence isn't one"
        return ends, (Fault(what, sequence=-1),)

    async def follow(
        self, writer: bytes, last: int, *, past_breaks: bool
    ) -> tuple[Head | None, Fault | None]:
        """Follow a chain behind the checkpoint; return how far it holds, and where it breaks."""
        head = self.heads.get(writer)
        previous = head.hash if head else first(self.uuid, writer)
        reached = head.sequence if head else -1
        while reached < last:
            rows = await read_after(self.database, writer, reached, last, PAGE)
            for link in (Link(*row) for row in rows):
                what = ""
                if link.sequence != reached + 1:
                    what = "events are missing before this one"
                elif link.previous != previous and not self._was_changed(writer, link.previous):
                    what = "doesn't follow from the event before it"
                elif wrong := misshapen(link):
                    what = f"is none that a process writes: {wrong}"
                at = min(link.sequence, reached + 1)
                if what and not past_breaks:
                    return head, Fault(what, writer, at)
                reached, previous = link.sequence, hash_of(self.uuid, link)
                head = Head(reached, previous)
            if not rows:
                break
        return head, None

    def _was_changed(self, writer: bytes, there: bytes) -> bool:
        """Tell whether it was accepted that a head's event is another one: that of this hash."""
        if (head := self.heads.get(writer)) is None:
            return False
        found = seen("claim", there, head.sequence, head.hash)
        return (writer, head.sequence, found) in self.accepted

    async def gone(self, stored: Mapping[bytes, int]) -> AsyncIterator[Fault]:
        """Yield what was covered and isn't stored any more, unless somebody took note of it."""
        places = {(writer, sequence) for writer, sequence, _ in self.accepted}
        for writer, head in self.heads.items():
            lost_from = stored.get(writer, -1) + 1
            if lost_from > head.sequence:
                continue
            if (writer, lost_from) in places:
                end = await self._end(writer, lost_from)
                found = seen("gap", end, head.sequence + 1, head.hash)
                if (writer, lost_from, found) in self.accepted:
                    continue
            yield Fault(f"was cut off, with all up to {head.sequence}", writer, lost_from)

    async def _end(self, writer: bytes, sequence: int) -> bytes:
        """Return the hash of the event before a sequence."""
        rows = await read_after(self.database, writer, sequence - 2, sequence - 1, 1)
        return hash_of(self.uuid, Link(*rows[0])) if rows else first(self.uuid, writer)
