"""What verification finds wrong: kept in words up to a number, and counted beyond it."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from vault.audit.checkpoint import Noted
from vault.crypto.primitives import digest

MOST_FAULTS = 100


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that doesn't hold: at an event, or at a checkpoint if there is no writer.

    `sequence` is the checkpoint's number then. `covered` is the first checkpoint that can't be
    trusted because of it; None if it takes no trust from any. `found` is a hash of what is there
    instead, by `seen`; a fault without it can't be accepted.
    """

    what: str
    writer: bytes = b""
    sequence: int = 0
    covered: int | None = None
    found: bytes = field(default=b"", repr=False)

    @property
    def noted(self) -> Noted | None:
        """What a checkpoint says of it once somebody took note of it; None if nobody may."""
        return (self.writer, self.sequence, self.found) if self.found else None

    def __str__(self) -> str:
        if not self.writer:
            return self.what
        return f"writer {self.writer.hex()}, event {self.sequence}: {self.what}"


@dataclass(slots=True)
class Faults:
    """All that was found. `first` is the first bad event, by the checkpoint that covers it."""

    count: int = 0
    first: Fault | None = None
    kept: list[Fault] = field(default_factory=list)
    covered: int | None = None  # the first checkpoint that can't be trusted
    accepted: Collection[Noted] = ()
    known: list[Fault] = field(default_factory=list)  # those that were accepted

    def add(self, fault: Fault) -> None:
        """Note one more."""
        if fault.noted in self.accepted:
            self.known.append(fault)
            return
        self.count += 1
        if len(self.kept) < MOST_FAULTS:
            self.kept.append(fault)
        if self.first is None or _order(fault) < _order(self.first):
            self.first = fault
        if fault.covered is not None and (self.covered is None or fault.covered < self.covered):
            self.covered = fault.covered

    def accept(self, noted: Collection[Noted]) -> None:
        """Count those no more that somebody took note of, found already or found later."""
        if noted:
            found, self.kept, self.count = self.kept, [], self.count - len(self.kept)
            self.first = self.covered = None
            self.accepted = noted
            for fault in found:
                self.add(fault)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self.kept)


def seen(kind: str, before: bytes, number: int, after: bytes) -> bytes:
    """Return a hash of what a fault found, so that what is changed later is another fault.

    `before` is the hash up to which a chain goes; `number` is where it goes on, or would have to,
    and `after` the previous hash that is held there. Everything before is under the first, and
    what follows holds the last.
    """
    parts = (kind.encode(), before, str(number).encode(), after)
    return digest(b"piivault/v1/accepted-fault", *parts)


def _order(fault: Fault) -> tuple[bool, float, bytes, int]:
    covered = float("inf") if fault.covered is None else fault.covered
    return not fault.writer, covered, fault.writer, fault.sequence
