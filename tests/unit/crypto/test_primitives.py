"""The primitives: unambiguous joining, derivation, and what doesn't authenticate."""

from functools import partial
from itertools import pairwise

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.primitives import (
    KEY_BYTES,
    NONCE_BYTES,
    TAG_BYTES,
    DamagedError,
    decrypt,
    derive,
    digest,
    draw_nonces,
    encrypt,
    is_signed,
    join,
    mac,
)

KEY = bytes(range(32))

parts = st.lists(st.binary(max_size=6), max_size=5)


@given(parts, parts)
def test_no_two_lists_of_parts_join_alike(one: list[bytes], other: list[bytes]) -> None:
    assert (join(*one) == join(*other)) == (one == other)


@given(st.binary(max_size=24), st.sets(st.integers(0, 24)), st.sets(st.integers(0, 24)))
def test_the_same_bytes_cut_elsewhere_join_otherwise(
    data: bytes, one: set[int], other: set[int]
) -> None:
    """The case that concatenation gets wrong: ("ab", "c") and ("a", "bc")."""
    first, second = _cut(data, one), _cut(data, other)
    assert b"".join(first) == b"".join(second) == data
    assert (join(*first) == join(*second)) == (first == second)


def _cut(data: bytes, places: set[int]) -> list[bytes]:
    ends = [0, *sorted(p for p in places if p < len(data)), len(data)]
    return [data[start:end] for start, end in pairwise(ends)]


@given(parts)
def test_joined_parts_can_be_told_apart_again(given_parts: list[bytes]) -> None:
    joined, found = join(*given_parts), []
    while joined:
        size = int.from_bytes(joined[:4], "big")
        found.append(joined[4 : 4 + size])
        joined = joined[4 + size :]
    assert found == given_parts


@given(parts, parts)
def test_hashes_and_derived_keys_differ_as_their_parts_do(
    one: list[bytes], other: list[bytes]
) -> None:
    for function in (digest, partial(mac, KEY), partial(derive, KEY)):
        assert len(function(*one)) == 32
        assert (function(*one) == function(*other)) == (one == other)


@given(st.binary(min_size=32, max_size=32), parts)
def test_a_key_is_derived_as_hkdf_expand_does(key: bytes, info: list[bytes]) -> None:
    expand = HKDFExpand(SHA256(), KEY_BYTES, join(b"piivault/v1", *info))
    assert derive(key, *info) == expand.derive(key)


def test_a_derived_key_differs_for_each_key() -> None:
    assert derive(KEY, b"record") != derive(KEY[::-1], b"record")
    assert mac(KEY, b"record") != mac(KEY[::-1], b"record")


@given(st.binary(max_size=64), st.binary(max_size=16))
def test_what_was_encrypted_decrypts(plaintext: bytes, associated: bytes) -> None:
    sealed = encrypt(KEY, plaintext, associated)
    assert decrypt(KEY, sealed, associated) == plaintext
    assert len(sealed) == NONCE_BYTES + len(plaintext) + TAG_BYTES


def test_nonces_that_are_drawn_together_serve_one_message_each() -> None:
    nonces = draw_nonces(3)
    sealed = [encrypt(bytes(32), b"plaintext", b"", nonces) for _ in range(3)]
    assert len({its[:NONCE_BYTES] for its in sealed}) == 3
    assert {decrypt(bytes(32), its, b"") for its in sealed} == {b"plaintext"}
    with pytest.raises(StopIteration):
        encrypt(bytes(32), b"plaintext", b"", nonces)


def test_a_nonce_is_drawn_for_each_encryption() -> None:
    sealed = {encrypt(KEY, b"Aigul", b"") for _ in range(1000)}
    assert len({one[:NONCE_BYTES] for one in sealed}) == 1000


@given(st.binary(max_size=NONCE_BYTES + TAG_BYTES + 8))
def test_anything_else_is_refused(garbage: bytes) -> None:
    with pytest.raises(DamagedError):
        decrypt(KEY, garbage, b"")


@given(st.binary(max_size=64), st.integers(0, 511))
def test_a_signature_holds_for_its_message_and_key_alone(message: bytes, bit: int) -> None:
    signer = Ed25519PrivateKey.from_private_bytes(KEY)
    public_key, signature = signer.public_key().public_bytes_raw(), signer.sign(message)
    assert is_signed(public_key, signature, message)
    assert not is_signed(public_key, signature, message + b"\0")
    forged = bytearray(signature)
    forged[bit // 8] ^= 1 << bit % 8
    assert not is_signed(public_key, bytes(forged), message)
    other = Ed25519PrivateKey.from_private_bytes(KEY[::-1]).public_key().public_bytes_raw()
    assert not is_signed(other, signature, message)
