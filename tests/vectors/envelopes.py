"""envelope_v1.json: what opens, and what must not."""

from collections.abc import Iterator

from tests.vectors.formats import AUDIT, DATA_KEY, FIELD, RECORD, Place, Vector, draw, number, seal

KEY, KEY_ID = draw("key"), draw("key id", 8)
HERE: Place = {
    "compartment": draw("uuid of accounts", 16),
    "pseudonym": draw("pseudonym of Aigul"),
    "row_version": draw("row version", 16),
    "uid": number(4),
    "type": b"email",
    "writer": draw("writer", 16),
    "sequence": number(7, 8),
    "previous": draw("previous hash"),
    "token": draw("token", 16),
}
ELSEWHERE: Place = {
    "compartment": draw("uuid of orders", 16),
    "pseudonym": draw("pseudonym of Bakyt"),
    "row_version": draw("an older row version", 16),
    "uid": number(5),
    "type": b"phone",
    "writer": draw("another writer", 16),
    "sequence": number(8, 8),
    "previous": draw("another previous hash"),
    "token": draw("another token", 16),
}
PARTS = {
    RECORD: ("compartment", "pseudonym", "row_version"),
    FIELD: ("compartment", "pseudonym", "row_version", "uid", "type"),
    DATA_KEY: ("compartment", "pseudonym"),
    AUDIT: ("compartment", "writer", "sequence", "previous", "token"),
}
PLACES = {kind: {part: HERE[part] for part in parts} for kind, parts in PARTS.items()}


def vectors() -> Vector:
    return {
        "opened": [vector for kind in PLACES for vector in _opened(kind)],
        "refused": [vector for kind in PLACES for vector in _refused(kind)],
    }


def _opened(kind: str) -> Iterator[Vector]:
    texts = {"a value": "Айгүл".encode(), "nothing": b"", "1 KiB": draw("1 KiB", 1024)}
    for what, text in texts.items():
        envelope = seal(KEY, kind, KEY_ID, PLACES[kind], text)
        more = {"key_id": KEY_ID.hex(), "plaintext": text.hex()}
        yield _vector(f"{kind}: {what}", kind, PLACES[kind], envelope) | more


def _refused(kind: str) -> Iterator[Vector]:
    place = PLACES[kind]
    envelope = seal(KEY, kind, KEY_ID, place, b"refused")
    header = ["version", "suite", "flags", *(f"key id, byte {n}," for n in range(8))]
    flipped = dict(enumerate(header)) | {11: "nonce", 23: "ciphertext", len(envelope) - 1: "tag"}
    for position, what in flipped.items():
        yield _vector(f"{kind}: {what} flipped", kind, place, _flip(envelope, position))
    for part in place:
        moved = {**place, part: ELSEWHERE[part]}
        yield _vector(f"{kind}: another {part}", kind, moved, envelope)
    yield _vector(f"{kind}: a byte moved to the next part", kind, _shift(place), envelope)
    for other in (k for k in PLACES if k != kind):
        yield _vector(f"{kind}: opened as {other}", other, place, envelope)
    yield _vector(f"{kind}: another key", kind, place, envelope, draw("another key"))
    for size in (0, 3, 11, 23, 38, len(envelope) - 1):
        yield _vector(f"{kind}: cut to {size} bytes", kind, place, envelope[:size])
    yield _vector(f"{kind}: one byte more", kind, place, envelope + b"\0")
    # These authenticate as what they say they are, and are refused for saying it.
    for start, what in {"020100": "version", "010200": "suite", "010101": "flags"}.items():
        unknown = seal(KEY, kind, KEY_ID, place, b"refused", start)
        yield _vector(f"{kind}: unknown {what}", kind, place, unknown)


def _vector(name: str, kind: str, place: Place, envelope: bytes, key: bytes = KEY) -> Vector:
    where = {part: value.hex() for part, value in place.items()}
    return {
        "name": name,
        "kind": kind,
        "key": key.hex(),
        "place": where,
        "envelope": envelope.hex(),
    }


def _flip(envelope: bytes, position: int) -> bytes:
    changed = bytearray(envelope)
    changed[position] ^= 1
    return bytes(changed)


def _shift(place: Place) -> Place:
    """Cut the same row of bytes elsewhere: told apart by the lengths in front alone."""
    (first, a), (second, b), *rest = place.items()
    return {first: a[:-1], second: a[-1:] + b, **dict(rest)}
