"""Sealed rows moved by whoever owns the database: between subjects, compartments and versions.

What is detected is detected by the next read. What isn't is noted as residual: it takes `verify`,
which holds rows against the digests in the trail.
"""

import random
from collections.abc import Mapping

import pytest
from piivault import errors

from tests.attack.attempts import CONTROL, DETECTED, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.forging import flipped
from tests.attack.rows import Row, RowChange, Rows, reading
from tests.people import Registered
from tests.split import SplitHouse
from vault.crypto.envelope import OVERHEAD
from vault.errors import Reason
from vault.store import tables as t

Twins = Mapping[str, tuple[Registered, Registered]]
Databases = Mapping[str, Rows]
HEADER_BYTES = 11


def _moves(source: tuple[Row, Row], target: tuple[Row, Row]) -> dict[str, list[RowChange]]:
    """Write every way to put one subject's record and data key in the place of another's."""
    (record, key), (old, old_key) = source, target
    place = {"pseudonym": old["pseudonym"]}
    whole: RowChange = (t.records, old, {**record, **place})
    its_key: RowChange = (t.data_keys, old_key, {**key, **place})
    sealed = {**old, "sealed": record["sealed"]}
    return {
        "the sealed bytes": [(t.records, old, sealed)],
        "the row": [whole],
        "the row beside its key": [whole, (t.data_keys, None, {**key, **place})],
        "the row in the place of its key": [whole, its_key],
        "all but the row version": [(t.records, old, sealed), its_key],
        "the row version": [(t.records, old, {**old, "row_version": record["row_version"]})],
        "the key": [its_key],
        "the key under the old id": [
            (t.data_keys, old_key, {**old_key, "wrapped": key["wrapped"]})
        ],
        "the key's id": [(t.data_keys, old_key, {**old_key, "id": key["id"]})],
    }


@pytest.mark.parametrize("compartment", ["accounts", "enterprises", "orders", "web"])
def test_a_record_moved_to_another_subject_or_compartment_is_noticed(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts, compartment: str
) -> None:
    """From every other row, that of the same subject in another compartment among them."""
    held = {
        (name, who): (rows[name].of(t.records, p), rows[name].of(t.data_keys, p))
        for name, pair in twins.items()
        for who, p in enumerate(pair)
    }
    person, target = twins[compartment][0], (compartment, 0)
    for source in (place for place in held if place != target):
        for what, changes in _moves(held[source], held[target]).items():
            with rows[compartment].changed(*changes):
                found = reading(split_house, person)
            cell = f"{what} of {source} to {target}"
            assert found == Reason.DAMAGED, f"{cell}: {found or 'read'}"
            attempts.record(Wall.CIPHERTEXT, "move a record", cell, DETECTED)
        assert reading(split_house, person) == ""
        attempts.record(Wall.CIPHERTEXT, "move a record", f"{target} put back", CONTROL)


def test_changed_bytes_are_noticed(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts
) -> None:
    """A bit anywhere in what is sealed or names it: header, nonce, ciphertext, tag, ids."""
    person, database = twins["accounts"][0], rows["accounts"]
    for table, column in (
        (t.records, "sealed"),
        (t.records, "row_version"),
        (t.data_keys, "wrapped"),
        (t.data_keys, "id"),
    ):
        row = database.of(table, person)
        value = bytes(row[column])
        ends = (*range(min(HEADER_BYTES, len(value))), *range(-min(16, len(value)), 0))
        inside = random.sample(range(len(value)), min(16, len(value)))
        broken = {f"bit of byte {p}": flipped(value, p, p % 8) for p in {*ends, *inside}}
        broken |= {
            "cut short": value[:-1],
            "longer": value + b"\0",
            "empty": b"",
            "turned round": value[::-1],
            "a header alone": value[:OVERHEAD],
        }
        for what, other in broken.items():
            if other == value:
                continue
            with database.changed((table, row, {**row, column: other})):
                found = reading(split_house, person)
            cell = f"{table.name}.{column}: {what}"
            assert found == Reason.DAMAGED, f"{cell}: {found or 'read'}"
            attempts.record(Wall.CIPHERTEXT, "change bytes", cell, DETECTED)
        with database.changed((table, row, {**row, column: value})):
            assert reading(split_house, person) == ""
        attempts.record(Wall.CIPHERTEXT, "change bytes", f"{column} as it was", CONTROL)
    key = database.of(t.data_keys, person)
    for version in (0, 2, -1, 2**40):
        with database.changed((t.data_keys, key, {**key, "kek_version": version})):
            assert reading(split_house, person) == Reason.DAMAGED
        attempts.record(Wall.CIPHERTEXT, "change bytes", f"KEK version {version}", DETECTED)


# Versions.


def test_parts_of_an_older_row_are_noticed_and_a_whole_one_is_not(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """A whole old row is genuine: what was withdrawn since is in force again until `verify`."""
    house, database = split_house, rows["accounts"]
    person = house.register()
    old = database.of(t.records, person)
    person.subject.withdraw("accounts", ["services"])
    new = database.of(t.records, person)
    for what, mixed in {
        "old bytes, new version": {**old, "row_version": new["row_version"]},
        "new bytes, old version": {**new, "row_version": old["row_version"]},
    }.items():
        with database.changed((t.records, new, mixed)):
            assert reading(house, person) == Reason.DAMAGED, what
        attempts.record(Wall.CIPHERTEXT, "put an older version back", what, DETECTED)
    with pytest.raises(errors.ConsentRequired):
        house.phone_of(person)
    attempts.record(Wall.CIPHERTEXT, "put an older version back", "as it is", CONTROL)
    with database.changed((t.records, new, old)):
        assert house.phone_of(person) == person.values["phone"]
    attempts.record(Wall.CIPHERTEXT, "put an older version back", "a whole row", RESIDUAL)
    with pytest.raises(errors.ConsentRequired):
        house.phone_of(person)


def test_an_erased_record_needs_its_data_key(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """The row alone opens no more. With the data key, kept aside, it does until the KEK is gone."""
    house, database = split_house, rows["accounts"]
    person = house.register()
    record, key = database.of(t.records, person), database.of(t.data_keys, person)
    attack = "put an erased record back"
    person.subject.erase("accounts")
    assert reading(house, person) == Reason.ERASED
    attempts.record(Wall.CIPHERTEXT, attack, "not put back", CONTROL)
    with database.changed((t.records, None, record)):
        assert reading(house, person) == Reason.DAMAGED
    attempts.record(Wall.CIPHERTEXT, attack, "the row", DETECTED)
    with database.changed((t.records, None, record), (t.data_keys, None, key)):
        assert reading(house, person) == ""
    attempts.record(Wall.CIPHERTEXT, attack, "the row and the data key", RESIDUAL)
    anew = house.register(root=person.root)
    with database.changed((t.records, None, record)):
        assert reading(house, anew) == Reason.DAMAGED
    attempts.record(Wall.CIPHERTEXT, attack, "the row, over a new one", DETECTED)


def test_a_removed_row_looks_like_nothing_registered(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """A read can't miss what it never saw; without the data key alone it is damaged."""
    house, database = split_house, rows["accounts"]
    person = house.register()
    record, key = database.of(t.records, person), database.of(t.data_keys, person)
    with database.changed((t.data_keys, key, None)):
        assert reading(house, person) == Reason.DAMAGED
    attempts.record(Wall.CIPHERTEXT, "remove rows", "the data key", DETECTED)
    with database.changed((t.records, record, None)):
        assert reading(house, person) == Reason.NOT_FOUND
    attempts.record(Wall.CIPHERTEXT, "remove rows", "the record", RESIDUAL)
    assert reading(house, person) == ""
    attempts.record(Wall.CIPHERTEXT, "remove rows", "put back", CONTROL)


# Tombstones.


def _register_without_consents(house: SplitHouse, person: Registered) -> str:
    return house.told("portal", house.registration(root=person.root))


def test_a_tombstone_is_its_subjects_own(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """Moved or copied it says nothing; removed, an erasure is forgotten."""
    house, database = split_house, rows["accounts"]
    erased, living = house.register(), house.register()
    before = database.all(t.tombstones)
    erased.subject.erase("accounts")
    (stone,) = [row for row in database.all(t.tombstones) if row not in before]
    assert _register_without_consents(house, erased) == Reason.ERASED
    attempts.record(Wall.CIPHERTEXT, "move a tombstone", "as it is", CONTROL)
    for name in ("orders", "web", "enterprises"):
        other = house.register(name, root=erased.root)
        with rows[name].changed((t.tombstones, None, stone)):
            assert reading(house, other) == ""
            other.subject.erase(name)
            assert reading(house, other) == Reason.ERASED
        assert reading(house, other) == Reason.ERASED  # by its own
        attempts.record(Wall.CIPHERTEXT, "move a tombstone", f"to {name}", REFUSED)
    assert reading(house, living) == ""
    attempts.record(Wall.CIPHERTEXT, "move a tombstone", "to a living record", REFUSED)
    for position in range(0, len(stone["token"]), 4):
        moved = {"token": flipped(stone["token"], position)}
        with database.changed((t.tombstones, stone, moved)):
            assert reading(house, erased) == Reason.NOT_FOUND
        attempts.record(Wall.CIPHERTEXT, "remove a tombstone", "a bit of it", RESIDUAL)
    with database.changed((t.tombstones, stone, None)):
        assert _register_without_consents(house, erased) == ""
        house.client("portal").subject(erased.root).erase("accounts")
    attempts.record(Wall.CIPHERTEXT, "remove a tombstone", "and register again", RESIDUAL)
