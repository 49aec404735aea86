"""What signed checkpoints say of each writer, and whether they agree among themselves."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vault.audit.checkpoint import Checkpoint
from vault.audit.faults import Fault, Faults, seen
from vault.audit.signed import CheckpointError, Signed


@dataclass(frozen=True, slots=True)
class Mark:
    """A checkpoint without its heads. `at` is in microseconds since 1970, UTC."""

    number: int
    at: int
    events: int
    hash: bytes = field(repr=False)


@dataclass(slots=True)
class WriterClaims:
    """Which event of a writer has which hash, and which checkpoint says so first; ascending."""

    sequences: list[int] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    def add(self, sequence: int, hashed: bytes, number: int) -> bool:
        """Note one; return False if another checkpoint says otherwise."""
        at = bisect_left(self.sequences, sequence)
        if at < len(self.sequences) and self.sequences[at] == sequence:
            self.numbers[at] = min(self.numbers[at], number)
            return self.hashes[at] == hashed
        self.sequences.insert(at, sequence)
        self.hashes.insert(at, hashed)
        self.numbers.insert(at, number)
        before_and_after = self.numbers[max(at - 1, 0) : at + 2]
        return before_and_after == sorted(before_and_after)

    def covering(self, sequence: int) -> int | None:
        """Return the first checkpoint that covers an event."""
        at = bisect_left(self.sequences, sequence)
        return self.numbers[at] if at < len(self.numbers) else None


class Claims:
    """What is known from all checkpoints that are signed, be they stored, shipped or both."""

    def __init__(self, compartment: bytes, keys: Mapping[bytes, bytes], faults: Faults) -> None:
        self._compartment, self._keys, self._faults = compartment, keys, faults
        self.of: dict[bytes, WriterClaims] = {}
        self.marks: dict[int, Mark] = {}
        self.newest: Checkpoint | None = None
        self.stored = 0
        self.begins_at: Mapping[bytes, int] = {}  # by writer: the trail may begin here
        self.expects_shipped = False  # whether there should be some
        self._shipped: set[int] = set()
        self._earliest: Checkpoint | None = None  # stored, and signed
        self._last: tuple[int, bytes] | None = None  # number and hash of the last stored

    def ship(self, where: str, signed: Signed) -> None:
        """Take a checkpoint that was shipped, read at `where`."""
        checkpoint = self._read(where, signed, 0)
        if checkpoint is not None:
            self._shipped.add(checkpoint.number)
            self._claim(where, checkpoint)

    def store(self, number: int, signed: Signed) -> None:
        """Take the next checkpoint that is stored, by its number."""
        self.stored += 1
        checkpoint = self._read(f"checkpoint {number}", signed, number)
        if checkpoint is not None:
            if checkpoint.number != number:
                what = f"checkpoint {number} says that it is checkpoint {checkpoint.number}"
                self._wrong(what, number, seen("number", b"", number, signed.hash))
            self._claim(f"checkpoint {number}", checkpoint)
            self._earliest = self._earliest or checkpoint
        previous = checkpoint.previous if checkpoint else b""
        before, self._last = self._last, (number, signed.hash)
        if before is None:
            before = (-1, bytes(32)) if number == 0 else None
        elif number != before[0] + 1:
            found = seen("gap", before[1], number, previous)
            self._wrong(f"checkpoint {before[0] + 1} isn't stored", before[0] + 1, found)
            before = None
        if before and previous and previous != before[1]:
            what = f"checkpoint {number} doesn't follow from the one before it"
            self._wrong(what, number, seen("link", before[1], number, previous))

    def settle(self) -> None:
        """All were taken: see whether the trail begins and ends where they say."""
        last, end = self._last or (-1, bytes(32))
        lost = sorted(number for number in self._shipped if number > last)
        if lost:
            self._wrong(
                f"checkpoint {lost[-1]} was shipped, and the last one stored is {last}: the "
                "trail's end was cut off, or the database was restored from an older backup"
                if self._last
                else "checkpoints were shipped, and none is stored",
                last + 1,
                seen("gap", end, lost[-1] + 1, self.marks[lost[-1]].hash),
            )
        if self.expects_shipped and not self._shipped:  # not to be accepted: another file is
            self._wrong(
                "none of the shipped checkpoints is of this compartment: the wrong file, or the "
                "wrong trail?",
                0,
            )
        if self.newest is not None:
            self._faults.accept(self.newest.accepted)
        earliest, base = self._earliest, self.newest.base if self.newest else None
        if earliest is None or self.newest is None:
            return
        if base and (there := self.marks.get(base.number, base).hash) != base.hash:
            self._wrong(
                f"checkpoint {base.number} isn't the one that the trail was cut off at",
                base.number,
                seen("base", there, base.number, base.hash),
            )
        elif base and earliest.number <= base.number:
            self.begins_at = {w: head.sequence for w, head in earliest.heads.items()}
        elif earliest.number > 0:
            self._wrong(
                f"the checkpoints before {earliest.number} aren't stored, and none says that the "
                "trail may be cut off there",
                0,
                seen("gap", bytes(32), earliest.number, earliest.previous),
            )

    @property
    def shipped(self) -> int:
        """How many were shipped."""
        return len(self._shipped)

    def covering(self, writer: bytes, sequence: int) -> int | None:
        """Return the first checkpoint that covers an event."""
        claims = self.of.get(writer)
        return claims.covering(sequence) if claims else None

    def _read(self, where: str, signed: Signed, number: int) -> Checkpoint | None:
        try:
            signed.check(self._keys)
            checkpoint = Checkpoint.read(signed.body)
        except CheckpointError as e:
            self._wrong(f"{where} {e}", number, _unread(signed))
            return None
        if checkpoint.compartment != self._compartment:
            self._wrong(f"{where} is of another compartment", number, _unread(signed))
            return None
        return checkpoint

    def _claim(self, where: str, checkpoint: Checkpoint) -> None:
        number, hashed = checkpoint.number, checkpoint.hash
        known = self.marks.get(number)
        if known is not None:
            if known.hash != hashed:
                self._faults.add(
                    Fault(
                        f"{where}: there is another checkpoint {number} that the auditor signed: "
                        "the trail was cut off, and went on otherwise",
                        sequence=number,
                        covered=number,
                        found=seen(
                            "other", min(known.hash, hashed), number, max(known.hash, hashed)
                        ),
                    )
                )
            return
        self.marks[number] = Mark(number, checkpoint.at, checkpoint.events, hashed)
        if self.newest is None or number > self.newest.number:
            self.newest = checkpoint
        for writer, head in checkpoint.heads.items():
            claims = self.of.setdefault(writer, WriterClaims())
            if not claims.add(head.sequence, head.hash, number):
                what = f"{where} contradicts another checkpoint"
                found = seen("head", hashed, head.sequence, head.hash)
                self._faults.add(Fault(what, writer, head.sequence, number, found))

    def _wrong(self, what: str, number: int, found: bytes = b"") -> None:
        self._faults.add(Fault(what, sequence=number, found=found))


def _unread(signed: Signed) -> bytes:
    """Return what a fault found that is a checkpoint nobody may go by, wherever it stands."""
    return seen("unread", signed.hash, 0, signed.signature)


def claims_of(
    compartment: bytes,
    keys: Mapping[bytes, bytes],
    stored: Iterable[tuple[int, Signed]],
    shipped: Iterable[tuple[str, Signed]],
    faults: Faults,
) -> Claims:
    """Take all checkpoints: those stored by number, in order; those shipped by where they stood."""
    claims = Claims(compartment, keys, faults)
    for where, signed in shipped:
        claims.ship(where, signed)
    for number, signed in stored:
        claims.store(number, signed)
    claims.settle()
    return claims
