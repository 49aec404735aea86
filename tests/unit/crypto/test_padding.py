"""Padding: nothing is lost, few lengths are left, and nothing else passes for padded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.crypto.padding import (
    LENGTH_BYTES,
    export_size,
    field_size,
    pad,
    record_size,
    step_size,
    unpad,
)

LARGEST = 64 * 1024  # the largest value, in bytes
MEBIBYTE = 1024 * 1024
STEPS = (256, 1024)


@given(st.binary(max_size=2000))
def test_a_value_comes_back(data: bytes) -> None:
    for size in (field_size(len(data)), *(step_size(len(data), step) for step in STEPS)):
        padded = pad(data, size)
        assert len(padded) == size
        assert unpad(padded) == data


@given(st.binary(max_size=40) | st.binary(max_size=36).map(lambda b: b.ljust(40, b"\0")))
def test_only_what_was_padded_is_unpadded(given: bytes) -> None:
    """Whatever unpad accepts is what pad makes, byte by byte."""
    try:
        data = unpad(given)
    except ValueError:
        return
    assert pad(data, len(given)) == given


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0\0\0",
        b"\0\0\0\1",
        b"\0\0\0\5abcd",
        b"\xff\xff\xff\xff" + bytes(64),
        b"\0\0\0\1a\0\0b",
        b"\0\0\0\0\1",
    ],
    ids=[
        "nothing",
        "half a length",
        "a length alone",
        "longer than it is",
        "4 GiB",
        "something behind the zeros",
        "something for nothing",
    ],
)
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(ValueError, match="not padded data"):
        unpad(garbage)


def test_a_value_that_ends_in_zeros_keeps_them() -> None:
    assert unpad(pad(b"a\0\0", 32)) == b"a\0\0"


# Sizes, for every length that a value can have.


def test_a_size_never_falls_as_values_grow() -> None:
    sizes = [field_size(length) for length in range(LARGEST + 1)]
    assert sizes == sorted(sizes)


def test_a_short_value_has_one_of_four_sizes() -> None:
    sizes = {field_size(length) for length in range(256 - LENGTH_BYTES + 1)}
    assert sizes == {32, 64, 128, 256}
    assert [field_size(n - LENGTH_BYTES) for n in (32, 33, 64, 65, 128, 129)] == [
        32,
        64,
        64,
        128,
        128,
        256,
    ]


def test_a_long_value_grows_by_less_than_an_eighth() -> None:
    """Padmé's bound: under 12 %, and less the longer a value is."""
    for length in range(256 - LENGTH_BYTES + 1, LARGEST + 1):
        total = length + LENGTH_BYTES
        exponent = total.bit_length() - 1
        assert 0 <= field_size(length) - total < 2 ** (exponent - exponent.bit_length())
        assert field_size(length) < 1.12 * total


def test_few_sizes_are_left() -> None:
    """Of a length up to 64 KiB, about seven of its sixteen bits show."""
    sizes = {field_size(length) for length in range(LARGEST + 1)}
    assert len(sizes) < 140
    for size in sizes:
        assert field_size(size - LENGTH_BYTES) == size  # a size is padded to itself


def test_a_record_has_one_of_twelve_sizes() -> None:
    """For all records that are taken: 1 MiB of values, and what is known of them."""
    lengths = {n * 1021 % (2 * MEBIBYTE - LENGTH_BYTES) for n in range(20_000)}
    sizes = {record_size(length) for length in lengths}
    assert sizes == {1024 * 2**doubled for doubled in range(12)}


@pytest.mark.parametrize(
    ("length", "size"), [(0, 1), (1020, 1), (1021, 2), (2044, 2), (2045, 4), (4093, 8)]
)
def test_a_record_is_padded_to_the_next_double(length: int, size: int) -> None:
    assert record_size(length) == size * 1024


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_the_next_multiple(step: int) -> None:
    for length in range(3 * step):
        size = step_size(length, step)
        assert size % step == 0
        assert size - step < length + LENGTH_BYTES <= size


@pytest.mark.parametrize(
    ("length", "kibibytes"),
    [(0, 16), (16 * 1024 - 4, 16), (16 * 1024 - 3, 32), (100_000, 128), (600_000, 1024),
     (MEBIBYTE - 4, 1024), (MEBIBYTE - 3, 2048), (2 * MEBIBYTE, 3072)],
)  # fmt: skip
def test_exports_have_few_sizes(length: int, kibibytes: int) -> None:
    assert export_size(length) == kibibytes * 1024
