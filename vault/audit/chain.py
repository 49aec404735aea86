"""A hash chain a writer: each event holds the hash of the one before.

    hash = SHA-256(label, compartment uuid, writer, sequence, previous hash, token, sealed body)

The chain runs over sealed bytes, so that verifying needs no key. A writer is one run of one
process in one compartment: 16 random bytes. Its first event's previous hash is that of the
writer's name.
"""

import os
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import field

from google.protobuf.message import DecodeError

from vault.audit.event import TOKEN_BYTES, Event, SameSaid
from vault.crypto import padding
from vault.crypto.envelope import KEY_ID_BYTES, OVERHEAD, Kind, key_id, seal, unseal
from vault.crypto.primitives import DamagedError, Key, cipher, digest, draw_nonces
from vault.frozen import dataclass
from vault.sealed.v1 import sealed_pb2

WRITER_BYTES = 16
HASH_BYTES = 32
Place = tuple[bytes, bytes, bytes, bytes, bytes]
"""Compartment, writer, sequence, previous hash and token: what a sealed body is bound to."""

_MOST_SEALED = 2**20  # bytes; an event that names each field of a large edition has some thousands


@dataclass(frozen=True, slots=True)
class Link:
    """A stored event."""

    writer: bytes
    sequence: int
    previous: bytes
    token: bytes
    sealed: bytes = field(repr=False)

    @property
    def key_version(self) -> int:
        """The version of the audit-data key that it is sealed under."""
        return int.from_bytes(key_id(self.sealed), "big")


@dataclass(frozen=True, slots=True)
class Break:
    """Where a chain doesn't hold."""

    writer: bytes
    sequence: int
    what: str


def first(compartment: bytes, writer: bytes) -> bytes:
    """Return what a writer's first event has for its previous hash."""
    return digest(b"piivault/v1/audit-writer", compartment, writer)


def misplaced(link: Link) -> str:
    """Say why no chain can have an event at such a place; empty if one can.

    The table takes any bytes and any number from a worker's login. Such an event has no hash.
    """
    if len(link.writer) != WRITER_BYTES:
        return f"its writer has {len(link.writer)} bytes, and not {WRITER_BYTES}"
    return "" if link.sequence >= 0 else "its sequence is below 0"


def misshapen(link: Link) -> str:
    """Say what no event that a process writes looks like; empty if nothing is wrong."""
    if wrong := misplaced(link):
        return wrong
    for what, raw, size in (
        ("previous hash", link.previous, HASH_BYTES),
        ("token", link.token, TOKEN_BYTES),
    ):
        if len(raw) != size:
            return f"its {what} has {len(raw)} bytes, and not {size}"
    if not OVERHEAD <= len(link.sealed) <= _MOST_SEALED:
        return f"its sealed body has {len(link.sealed)} bytes, which none has"
    return ""


def hash_of(compartment: bytes, link: Link) -> bytes:
    """Return the hash that the next event must hold; the link isn't `misplaced`."""
    return _hash(place_of(compartment, link), link.sealed)


def body_of(event: Event) -> bytes:
    """Return what is sealed of an event, padded."""
    body = event.to_message().SerializeToString()
    return padding.pad(body, padding.step_size(len(body), padding.AUDIT_STEP))


def seal_body(
    key: Key, version: int, place: Place, body: bytes, nonces: Iterator[bytes] | None = None
) -> bytes:
    """Seal an event's body into its place; `nonces` as for `seal`."""
    return seal(key, Kind.AUDIT, version.to_bytes(KEY_ID_BYTES, "big"), place, body, nonces)


def open_event(key: Key, compartment: bytes, link: Link) -> sealed_pb2.AuditEvent:
    """Open a stored event; raise DamagedError if it isn't the one written at its place."""
    if wrong := misshapen(link):
        raise DamagedError(wrong)
    padded = unseal(key, Kind.AUDIT, place_of(compartment, link), link.sealed)
    try:
        return sealed_pb2.AuditEvent.FromString(padding.unpad(padded))
    except (ValueError, DecodeError):
        raise DamagedError("authentic, but no event: written by a newer release?") from None


def verify(compartment: bytes, links: Iterable[Link]) -> Iterator[Break]:
    """Check chains, given their links sorted by writer and sequence; yield each break.

    Finds what was changed, put in, taken out or moved within what is there. What no later hash
    covers takes a shipped checkpoint to notice: a tail that was cut off or written anew (a hash
    needs no key), or a whole writer.
    """
    expected: tuple[bytes, int, bytes] | None = None
    for link in links:
        if wrong := misplaced(link):
            yield Break(link.writer, link.sequence, wrong)
            continue
        if expected is None or link.writer != expected[0]:
            expected = (link.writer, 0, first(compartment, link.writer))
        if link.sequence != expected[1]:
            yield Break(link.writer, expected[1], "events are missing before this one")
        elif link.previous != expected[2]:
            yield Break(link.writer, link.sequence, "doesn't follow from the event before it")
        expected = (link.writer, link.sequence + 1, hash_of(compartment, link))


class Chain:
    """This process's chain in one compartment, as `store.commit` extends it.

    `key` returns the audit-data key and its version.
    """

    def __init__(self, compartment: bytes, key: Callable[[], Awaitable[tuple[bytes, int]]]) -> None:
        self._compartment = compartment
        self._ask = key
        self._key: tuple[Key, int] = (b"", 0)
        self._next: tuple[int, bytes]  # sequence and previous hash of the next event
        self._begin()

    async def ready(self) -> None:
        """Have the audit-data key at hand."""
        key, version = await self._ask()
        self._key = cipher(key), version

    def extend(self, events: Sequence[Event | SameSaid]) -> list[dict[str, object]]:
        """Seal events into their places behind the last settled one; return their rows."""
        sequence, previous = self._next
        rows: list[dict[str, object]] = []
        nonces = draw_nonces(len(events))
        said, body = None, b""
        for event in events:
            if event.said is not said:  # as a rule a batch's are: written once for all of them
                said, body = event.said, body_of(event.said)
            place = _place(self._compartment, self._writer, sequence, previous, event.token)
            sealed = seal_body(*self._key, place, body, nonces)
            rows.append(
                {
                    "writer": self._writer,
                    "sequence": sequence,
                    "previous": previous,
                    "token": event.token,
                    "sealed": sealed,
                }
            )
            sequence, previous = sequence + 1, _hash(place, sealed)
        self._proposed = (sequence, previous)
        return rows

    def settle(self) -> None:
        """The last rows are durable: go on from them."""
        self._next = self._proposed

    def abandon(self) -> None:
        """Nobody knows whether the last rows are durable: begin a new writer's chain."""
        self._begin()

    def _begin(self) -> None:
        self._writer = os.urandom(WRITER_BYTES)
        self._next = self._proposed = (0, first(self._compartment, self._writer))


def place_of(compartment: bytes, link: Link) -> Place:
    """Return what a link's body is bound to."""
    return _place(compartment, link.writer, link.sequence, link.previous, link.token)


def _place(
    compartment: bytes, writer: bytes, sequence: int, previous: bytes, token: bytes
) -> Place:
    # The previous hash and the token too: who can write the table can compute hashes, but can't
    # give a sealed event another past, or another subject.
    return compartment, writer, sequence.to_bytes(8, "big"), previous, token


def _hash(place: Place, sealed: bytes) -> bytes:
    return digest(b"piivault/v1/audit-event", *place, sealed)
