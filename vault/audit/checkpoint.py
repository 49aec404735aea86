"""Checkpoints: how far the trail of one compartment went at a moment; `signed` has signatures.

What a chain alone can't tell, a checkpoint that lies elsewhere does: that its end, or a whole
writer, was cut off or written anew. One checkpoint is of one compartment, so that whoever reads
what is shipped can't put compartments together by it. `docs/formats.md` has every key.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from vault.audit.chain import HASH_BYTES, WRITER_BYTES
from vault.audit.signed import COMPARTMENT, CONTROL, CheckpointError, canonical, hash_of, tree_of

FORMAT = 1
_UUID_BYTES = 16
_MOST = 2**63 - 1
_NONE = bytes(HASH_BYTES)


@dataclass(frozen=True, slots=True)
class Head:
    """The last event of a writer that a checkpoint covers, and its hash."""

    sequence: int
    hash: bytes


Heads = Mapping[bytes, Head]  # by writer
# A fault that somebody took note of: a writer and a sequence (no writer: a checkpoint's number),
# and a hash of what was found there.
Noted = tuple[bytes, int, bytes]


@dataclass(frozen=True, slots=True)
class Base:
    """An earlier checkpoint: what lies before its heads may be cut off."""

    number: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a compartment's trail went. `at` is in microseconds since 1970, UTC.

    `heads` has every writer that there ever was. They never go back. `accepted` are faults that
    somebody looked at and took note of: they stay, and count no more, as long as they are the same.
    """

    compartment: bytes
    number: int
    previous: bytes
    at: int
    heads: Heads
    base: Base | None = None
    accepted: frozenset[Noted] = frozenset()

    @property
    def events(self) -> int:
        """How many events it covers, from the first one on, whether cut off since or not."""
        return sum(head.sequence + 1 for head in self.heads.values())

    @property
    def body(self) -> bytes:
        """What is signed, and stored."""
        base = None if self.base is None else [self.base.number, self.base.hash.hex()]
        return canonical(
            {
                "accepted": [
                    [writer.hex(), number, found.hex()]
                    for writer, number, found in sorted(self.accepted)
                ],
                "at": self.at,
                "base": base,
                "compartment": self.compartment.hex(),
                "events": self.events,
                "format": FORMAT,
                "heads": [
                    [writer.hex(), head.sequence, head.hash.hex()]
                    for writer, head in sorted(self.heads.items())
                ],
                "kind": COMPARTMENT,
                "number": self.number,
                "previous": self.previous.hex(),
            }
        )

    @property
    def hash(self) -> bytes:
        """What the next one holds."""
        return hash_of(self.body)

    def next(
        self, at: int, heads: Heads, base: Base | None, accepted: Iterable[Noted] = ()
    ) -> Self:
        """Return the checkpoint that follows, unsigned."""
        known = self.accepted | frozenset(accepted)
        return type(self)(self.compartment, self.number + 1, self.hash, at, heads, base, known)

    @classmethod
    def first(cls, compartment: bytes, at: int, heads: Heads) -> Self:
        """Return the first checkpoint of a compartment, unsigned."""
        return cls(compartment, 0, _NONE, at, heads)

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body in its one spelling; raise CheckpointError for anything else."""
        said = _read(body, COMPARTMENT)
        try:
            found = cls(
                _hex(said["compartment"], _UUID_BYTES),
                _count(said["number"]),
                _hex(said["previous"], HASH_BYTES),
                _count(said["at"]),
                dict(_head(entry) for entry in said["heads"]),
                _base(said["base"]),
                frozenset(_noted(entry) for entry in said["accepted"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise CheckpointError("isn't a checkpoint of this format") from None
        if found.body != body:
            raise CheckpointError("isn't written as a checkpoint is")
        return found


@dataclass(frozen=True, slots=True)
class ControlCheckpoint:
    """How far the control chain went: its last entry, and that entry's hash."""

    at: int
    sequence: int
    head: bytes

    @property
    def body(self) -> bytes:
        """What is signed, and shipped."""
        return canonical(
            {
                "at": self.at,
                "format": FORMAT,
                "head": self.head.hex(),
                "kind": CONTROL,
                "sequence": self.sequence,
            }
        )

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read a body in its one spelling; raise CheckpointError for anything else."""
        said = _read(body, CONTROL)
        try:
            sequence, head = _count(said["sequence"]), _hex(said["head"], HASH_BYTES)
            found = cls(_count(said["at"]), sequence, head)
        except (KeyError, TypeError, ValueError):
            raise CheckpointError("isn't a checkpoint of this format") from None
        if found.body != body:
            raise CheckpointError("isn't written as a checkpoint is")
        return found


def _read(body: bytes, kind: str) -> dict[str, Any]:
    said = tree_of(body)
    if said.get("kind") != kind:
        raise CheckpointError(f"isn't a checkpoint of a {kind}")
    if said.get("format") != FORMAT:
        raise CheckpointError("is of a format that this release doesn't know: use a newer one")
    return said


def _head(entry: Any) -> tuple[bytes, Head]:
    writer, sequence, hashed = entry
    return _hex(writer, WRITER_BYTES), Head(_count(sequence), _hex(hashed, HASH_BYTES))


def _noted(entry: Any) -> Noted:
    writer, number, found = entry
    place = _hex(writer, WRITER_BYTES if writer else 0), _count(number)
    return *place, _hex(found, HASH_BYTES)


def _base(entry: Any) -> Base | None:
    if entry is None:
        return None
    number, hashed = entry
    return Base(_count(number), _hex(hashed, HASH_BYTES))


def _hex(text: Any, size: int) -> bytes:
    raw = bytes.fromhex(text)
    if len(raw) != size:
        raise ValueError("wrong length")
    return raw


def _count(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= _MOST:
        raise ValueError("not a count")
    return value
