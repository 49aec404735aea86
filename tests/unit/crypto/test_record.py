"""Records: nothing moves between fields, rows, subjects, compartments or versions of a row."""

from dataclasses import dataclass
from itertools import permutations, product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.crypto import padding
from vault.crypto.envelope import OVERHEAD, Kind, seal
from vault.crypto.primitives import DamagedError, derive
from vault.crypto.record import (
    Address,
    DataKey,
    SealedRecord,
    Value,
    new_record,
    open_fields,
    open_record,
    seal_record,
    unwrap_data_key,
    wrap_data_key,
)
from vault.sealed.v1 import sealed_pb2

KEK = bytes(range(32))
COMPARTMENTS = (b"accounts: 16 byt", b"orders:   16 byt")
SUBJECTS = (b"A" * 32, b"B" * 32)
FIELDS = ((4, "email"), (5, "phone"))
NOW = 1_763_800_000

# One data key for all of them: the worst case, where a place is all that keeps values apart.
SHARED = DataKey.new()

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)


@dataclass(frozen=True, slots=True)
class Stored:
    """A row, and where it lies."""

    address: Address
    row: SealedRecord

    def opened(self) -> sealed_pb2.Record:
        return open_record(self.address, SHARED, self.row)


def _about() -> sealed_pb2.Record:
    return new_record(1, NOW)


def _seal(address: Address) -> Stored:
    given = [Value(uid, type_, f"value of {uid}", NOW) for uid, type_ in FIELDS]
    return Stored(address, seal_record(address, SHARED, _about(), given))


ROWS = [
    _seal(Address(compartment, subject))
    for compartment, subject, _version in product(COMPARTMENTS, SUBJECTS, ("before", "now"))
]


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.integers(1, 2**32 - 1), st.sampled_from(["text", "email"]), texts),
        max_size=5,
        unique_by=lambda value: value[0],
    ),
    st.booleans(),
)
def test_a_record_comes_back(given_values: list[tuple[int, str, str]], restricted: bool) -> None:
    """All about it, and its values sorted by uid whatever the order they were given in."""
    address, data_key, about = Address(COMPARTMENTS[0], SUBJECTS[0]), DataKey.new(), _about()
    about.restricted = restricted
    about.consents.add(purpose="account", edition=1, language="ky", given_at=NOW)
    expected = {uid: Value(uid, type_, text, NOW) for uid, type_, text in given_values}
    row = seal_record(address, data_key, about, expected.values())

    record = open_record(address, data_key, row)
    assert open_fields(address, data_key, row, record) == expected
    assert [field.uid for field in record.fields] == sorted(expected)
    del record.fields[:]
    assert record == about
    assert (len(row.sealed) - OVERHEAD).bit_count() == 1  # a double of the smallest


def test_a_change_seals_everything_anew() -> None:
    """No envelope of one version stands in another: a new row version, and new nonces."""
    before, now = ROWS[0], ROWS[1]
    assert before.address == now.address
    assert before.row.row_version != now.row.row_version
    envelopes = [{f.envelope for f in row.opened().fields} for row in (before, now)]
    assert not envelopes[0] & envelopes[1]


def test_a_row_opens_at_its_own_address_alone() -> None:
    """Both layers, whichever of compartment, subject and version differs: the key is the same."""
    for here, there in permutations(ROWS, 2):
        record = here.opened()
        row = SealedRecord(there.row.row_version, here.row.sealed)
        with pytest.raises(DamagedError):
            open_record(there.address, SHARED, row)
        with pytest.raises(DamagedError):
            open_fields(there.address, SHARED, row, record)


def test_no_two_field_envelopes_can_be_swapped() -> None:
    """Between fields, versions of a row, subjects and compartments: 240 ways, none opens."""
    places = [(stored, index) for stored in ROWS for index in range(len(FIELDS))]
    for (here, at), (there, from_) in permutations(places, 2):
        record = here.opened()
        record.fields[at].envelope = there.opened().fields[from_].envelope
        with pytest.raises(DamagedError):
            open_fields(here.address, SHARED, here.row, record, [FIELDS[at][0]])


def test_a_field_is_what_it_was_sealed_as() -> None:
    """Neither its type nor its uid can be exchanged around it."""
    for change in ({"type": "text"}, {"uid": 6}, {"uid": FIELDS[1][0]}):
        record = ROWS[0].opened()
        for name, value in change.items():
            setattr(record.fields[0], name, value)
        with pytest.raises(DamagedError):
            open_fields(ROWS[0].address, SHARED, ROWS[0].row, record)


def test_a_value_is_opened_only_if_it_was_asked_for() -> None:
    """So a worker that decided on one field has no plaintext of the others."""
    stored = ROWS[0]
    record = stored.opened()
    record.fields[1].envelope = b"never looked at"
    opened = open_fields(stored.address, SHARED, stored.row, record, [FIELDS[0][0], 99])
    assert [value.value for value in opened.values()] == ["value of 4"]


def test_every_single_bit_of_a_row_counts() -> None:
    stored = ROWS[0]
    for name in ("row_version", "sealed"):
        for bit in range(8 * len(getattr(stored.row, name))):
            parts = {"row_version": stored.row.row_version, "sealed": stored.row.sealed}
            parts[name] = _flip(parts[name], bit)
            with pytest.raises(DamagedError):
                open_record(stored.address, SHARED, SealedRecord(**parts))


@pytest.mark.parametrize(
    "plaintext",
    [b"\xff" * 32, padding.pad(b"\xff\xfe", 32)],
    ids=["not padded", "neither a message nor UTF-8"],
)
def test_authentic_bytes_that_mean_nothing_are_damage(plaintext: bytes) -> None:
    """Written by a newer release, perhaps: named as damage, and nothing of them is shown."""
    address, row_version = ROWS[0].address, ROWS[0].row.row_version
    place = (address.compartment, address.pseudonym, row_version)
    sealed = seal(derive(SHARED.key, b"record"), Kind.RECORD, SHARED.id, place, plaintext)
    with pytest.raises(DamagedError, match="authentic, but no record"):
        open_record(address, SHARED, SealedRecord(row_version, sealed))

    uid = (4).to_bytes(4, "big")
    key, place_of_field = derive(SHARED.key, b"field", uid), (*place, uid, b"email")
    record = ROWS[0].opened()
    record.fields[0].envelope = seal(key, Kind.FIELD, SHARED.id, place_of_field, plaintext)
    with pytest.raises(DamagedError, match="authentic, but no value"):
        open_fields(address, SHARED, ROWS[0].row, record)


# Data keys.


def test_a_wrapped_data_key_opens_for_its_record_alone() -> None:
    addresses = [Address(c, s) for c, s in product(COMPARTMENTS, SUBJECTS)]
    for here, there in product(addresses, addresses):
        wrapped = wrap_data_key(KEK, here, SHARED)
        if here == there:
            assert unwrap_data_key(KEK, there, wrapped) == SHARED
        else:
            with pytest.raises(DamagedError):
                unwrap_data_key(KEK, there, wrapped)
    with pytest.raises(DamagedError):
        unwrap_data_key(KEK[::-1], here, wrapped)


def test_every_single_bit_of_a_wrapped_data_key_counts() -> None:
    address = ROWS[0].address
    wrapped = wrap_data_key(KEK, address, SHARED)
    for bit in range(8 * len(wrapped)):
        with pytest.raises(DamagedError):
            unwrap_data_key(KEK, address, _flip(wrapped, bit))


def test_a_record_names_its_data_key() -> None:
    assert ROWS[0].row.data_key_id == SHARED.id
    with pytest.raises(DamagedError):
        _ = SealedRecord(b"", b"no envelope").data_key_id


def test_nothing_secret_is_shown() -> None:
    """Keys, values, pseudonyms and sealed bytes stay out of repr."""
    value = Value(4, "email", "aigul@example.kg", NOW)
    address = Address(COMPARTMENTS[0], b"pseudonym of Aigul".ljust(32))
    shown = repr([SHARED, value, address, seal_record(address, SHARED, _about(), [value])])
    assert "aigul" not in shown
    assert "Aigul" not in shown
    assert repr(SHARED.key)[2:10] not in shown
    assert "sealed=" not in shown


def _flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
