"""Envelopes: every bit counts, and an envelope opens at its own place alone."""

from itertools import combinations_with_replacement, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.envelope import KEY_ID_BYTES, OVERHEAD, Kind, key_id, seal, unseal
from vault.crypto.primitives import DamagedError

KEY = bytes(range(32))
KEY_ID = b"key id 8"
PLACE = (b"compart", b"pseudo", b"row", b"\0\4", b"email")

kinds = st.sampled_from(Kind)
places = st.lists(st.binary(max_size=4), max_size=4).map(tuple)


@given(kinds, st.binary(min_size=KEY_ID_BYTES, max_size=KEY_ID_BYTES), places, st.binary())
def test_what_was_sealed_opens_at_its_place(
    kind: Kind, its_key_id: bytes, place: tuple[bytes, ...], plaintext: bytes
) -> None:
    envelope = seal(KEY, kind, its_key_id, place, plaintext)
    assert unseal(KEY, kind, place, envelope) == plaintext
    assert key_id(envelope) == its_key_id
    assert len(envelope) == len(plaintext) + OVERHEAD


@given(kinds, places, kinds, places)
def test_it_opens_at_no_other_place_and_as_no_other_kind(
    kind: Kind, place: tuple[bytes, ...], other_kind: Kind, other_place: tuple[bytes, ...]
) -> None:
    envelope = seal(KEY, kind, KEY_ID, place, b"Aigul")
    if (kind, place) == (other_kind, other_place):
        assert unseal(KEY, other_kind, other_place, envelope) == b"Aigul"
    else:
        with pytest.raises(DamagedError):
            unseal(KEY, other_kind, other_place, envelope)


@pytest.mark.parametrize("kind", Kind)
def test_every_single_bit_of_an_envelope_counts(kind: Kind) -> None:
    """Version, suite, flags, key id, nonce, ciphertext and tag: each bit flipped is refused."""
    envelope = seal(KEY, kind, KEY_ID, PLACE, "Айгүл Асанова".encode())
    opened = [bit for bit in range(8 * len(envelope)) if _opens(kind, PLACE, _flip(envelope, bit))]
    assert not opened


@pytest.mark.parametrize("kind", Kind)
def test_every_single_bit_of_its_place_counts(kind: Kind) -> None:
    envelope = seal(KEY, kind, KEY_ID, PLACE, b"Aigul")
    for index, part in enumerate(PLACE):
        for bit in range(8 * len(part)):
            moved = (*PLACE[:index], _flip(part, bit), *PLACE[index + 1 :])
            assert not _opens(kind, moved, envelope), f"bit {bit} of part {index}"


def test_no_byte_may_move_between_parts() -> None:
    """Five parts cut out of the same row of bytes in every other way: none opens."""
    envelope = seal(KEY, Kind.FIELD, KEY_ID, PLACE, b"Aigul")
    row = b"".join(PLACE)
    for cuts in combinations_with_replacement(range(len(row) + 1), len(PLACE) - 1):
        place = tuple(row[start:end] for start, end in pairwise([0, *cuts, len(row)]))
        assert place == PLACE or not _opens(Kind.FIELD, place, envelope)


@pytest.mark.parametrize("size", range(OVERHEAD))
def test_what_is_too_short_is_refused_before_anything_else(size: int) -> None:
    envelope = seal(KEY, Kind.AUDIT, KEY_ID, PLACE, b"")
    for open_ in (lambda e: unseal(KEY, Kind.AUDIT, PLACE, e), key_id):
        with pytest.raises(DamagedError, match="too short"):
            open_(envelope[:size])


def test_two_envelopes_of_one_value_have_nothing_in_common() -> None:
    """Who holds two dumps can't tell by an envelope that a value stayed the same."""
    one, other = (seal(KEY, Kind.FIELD, KEY_ID, PLACE, bytes(32)) for _ in range(2))
    header = 3 + KEY_ID_BYTES
    assert one[:header] == other[:header]
    assert one[header:] != other[header:]


def _opens(kind: Kind, place: tuple[bytes, ...], envelope: bytes) -> bool:
    try:
        unseal(KEY, kind, place, envelope)
    except DamagedError:
        return False
    return True


def _flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
