"""Hold a compartment's trail against its checkpoints, with public keys alone, in one pass.

    check = Verification(compartment, claims, faults)
    check.take(links)          # by writer and sequence, in as many batches as one likes
    verdict = check.finish()

Chains find what was changed, put in, taken out or moved within what is there. Checkpoints find
what no later hash covers: an end, or a whole writer, that was cut off or written anew. Those that
stand beside the events could be cut off with them; shipped ones can't.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from vault.audit.chain import WRITER_BYTES, Link, first, hash_of, misplaced, misshapen
from vault.audit.checkpoint import Checkpoint
from vault.audit.claims import Claims, Mark, WriterClaims
from vault.audit.faults import Fault, Faults, seen

_MISSING = "events are missing before this one"
_NO_CLAIMS = WriterClaims()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found. `trusted` is the last checkpoint up to which every event holds, if any."""

    events: int
    writers: int
    checkpoints: int  # stored
    shipped: int
    newest: Mark | None
    trusted: Mark | None
    uncovered: int  # events behind the newest checkpoint
    faults: Faults
    last: Checkpoint | None = None  # the newest one, whole

    @property
    def holds(self) -> bool:
        """Whether nothing at all is wrong."""
        return self.faults.count == 0


class Verification:
    """One pass over one compartment's events; the checkpoints were read before."""

    def __init__(self, compartment: bytes, claims: Claims, faults: Faults) -> None:
        self._compartment, self._claims, self._faults = compartment, claims, faults
        self._events = self._writers = self._uncovered = 0
        self._seen: set[bytes] = set()
        self._writer = b""
        self._next = 0  # the sequence of the writer's next event
        self._previous = b""  # what it must hold
        self._here = _NO_CLAIMS
        self._met = 0  # how many of the writer's claims lie behind

    def take(self, links: Iterable[Link]) -> None:
        """Check more events, sorted by writer and sequence."""
        for link in links:
            if wrong := misplaced(link):
                self._pass_over(link, wrong)
                continue
            if link.writer != self._writer:
                self._leave()
                self._enter(link)
            self._check(link)

    def finish(self) -> Verdict:
        """All were taken: say what was found."""
        self._leave()
        for writer in sorted(self._claims.of.keys() - self._seen):
            self._enter_none(writer)
            self._leave()
        marks, newest = self._claims.marks, self._claims.newest
        covered = self._faults.covered
        sound = [number for number in marks if covered is None or number < covered]
        return Verdict(
            self._events,
            self._writers,
            self._claims.stored,
            self._claims.shipped,
            marks[newest.number] if newest else None,
            marks[max(sound)] if sound else None,
            self._uncovered,
            self._faults,
            newest,
        )

    def _pass_over(self, link: Link, wrong: str) -> None:
        """Take note of an event that no chain can have: no checkpoint covers it."""
        self._events += 1
        self._uncovered += 1
        # Neither its writer's name nor its sequence: `sequence` -1 without a writer is no place
        # that anybody can accept, and the name may be of any length.
        name = link.writer[:WRITER_BYTES].hex()
        what = f"an event of writer {name or 'without a name'}, sequence {link.sequence}: {wrong}"
        self._faults.add(Fault(what, sequence=-1))

    def _enter(self, link: Link) -> None:
        writer = link.writer
        if writer in self._seen or writer < self._writer:
            self._found("isn't in its place in the order of writers", writer, link.sequence)
        self._seen.add(writer)
        self._writers += 1
        self._writer, self._met = writer, 0
        self._here = self._claims.of.get(writer, _NO_CLAIMS)
        begins_at = self._claims.begins_at.get(writer)
        if link.sequence and link.sequence == begins_at:  # cut off here, as a checkpoint allows
            self._next, self._previous = link.sequence, link.previous
            while self._met < len(self._here.sequences) and (
                self._here.sequences[self._met] < link.sequence
            ):
                self._met += 1
        else:
            self._next, self._previous = 0, first(self._compartment, writer)

    def _enter_none(self, writer: bytes) -> None:
        self._writer, self._next, self._met = writer, 0, 0
        self._previous = first(self._compartment, writer)
        self._here = self._claims.of[writer]

    def _check(self, link: Link) -> None:
        if link.sequence != self._next:
            missing = link.sequence > self._next
            what = _MISSING if missing else "isn't in its place in the order of sequences"
            found = seen("gap", self._previous, link.sequence, link.previous)
            self._found(what, link.writer, min(link.sequence, self._next), found)
        elif link.previous != self._previous:
            found = seen("link", self._previous, link.sequence, link.previous)
            what = "doesn't follow from the event before it"
            self._found(what, link.writer, link.sequence, found)
        elif wrong := misshapen(link):
            found = seen("shape", self._previous, link.sequence, hash_of(self._compartment, link))
            what = f"is none that a process writes: {wrong}"
            self._found(what, link.writer, link.sequence, found)
        self._events += 1
        self._previous = hash_of(self._compartment, link)
        self._next = link.sequence + 1
        here, met = self._here, self._met
        if met == len(here.sequences):
            self._uncovered += 1
        elif here.sequences[met] <= link.sequence:
            self._meet(link)

    def _meet(self, link: Link) -> None:
        """Hold an event against what checkpoints say of it; those of a gap were missed above."""
        here = self._here
        while self._met < len(here.sequences) and here.sequences[self._met] <= link.sequence:
            sequence, hashed = here.sequences[self._met], here.hashes[self._met]
            if sequence == link.sequence and hashed != self._previous:
                what = f"isn't the one that checkpoint {here.numbers[self._met]} covers"
                found = seen("claim", self._previous, sequence, hashed)
                self._found(what, link.writer, sequence, found)
            self._met += 1

    def _leave(self) -> None:
        """The writer's events are at their end: there must be all that checkpoints speak of."""
        here = self._here
        if self._met < len(here.sequences):
            last = here.sequences[-1]
            number = here.covering(self._next)
            upto = "" if last == self._next else f", and all up to {last},"
            what = f"this event{upto} was cut off: checkpoint {number} and later ones cover it"
            # As if the next event followed from what is lost: should one come, this is the same.
            found = seen("gap", self._previous, last + 1, here.hashes[-1])
            self._found(what, self._writer, self._next, found)
        self._here, self._met = _NO_CLAIMS, 0

    def _found(self, what: str, writer: bytes, sequence: int, found: bytes = b"") -> None:
        covered = self._claims.covering(writer, sequence)
        self._faults.add(Fault(what, writer, sequence, covered, found))
