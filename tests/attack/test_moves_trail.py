"""Audit events moved, changed, added and removed by whoever owns the database.

The auditor opens every event and checks every chain, under its own login. What no later hash
covers, the end of a chain and a whole chain, takes a checkpoint kept elsewhere to miss.
"""

from collections.abc import Mapping, Sequence

import pytest

from tests.attack.attempts import CONTROL, DETECTED, RESIDUAL, Attempts, Wall
from tests.attack.forging import flipped
from tests.attack.rows import Row, RowChange, Rows
from tests.people import Registered
from tests.split import SplitHouse
from vault.audit.chain import Link, hash_of
from vault.crypto.primitives import DamagedError
from vault.store import tables as t

Twins = Mapping[str, tuple[Registered, Registered]]
Databases = Mapping[str, Rows]
COMPARTMENT, OTHER = "enterprises", "web"


@pytest.fixture(scope="module")
def links(split_house: SplitHouse, rows: Databases, twins: Twins) -> Sequence[Row]:
    """The longest chain in the compartment."""
    for _ in range(3):
        for person in twins[COMPARTMENT]:
            person.subject.view(COMPARTMENT)
    found = rows[COMPARTMENT].all(t.audit)
    writers = {row["writer"] for row in found}
    chains = [[row for row in found if row["writer"] == writer] for writer in writers]
    return max(chains, key=len)


def noticed(house: SplitHouse) -> bool:
    """Read the whole trail as the auditor does; tell whether something is wrong with it."""
    try:
        return bool(house.trail(COMPARTMENT).breaks)
    except DamagedError:
        return True


def _exchanged(one: Row, other: Row, *columns: str) -> list[RowChange]:
    """Exchange some columns of two events."""
    return [
        (t.audit, one, {**one, **{c: other[c] for c in columns}}),
        (t.audit, other, {**other, **{c: one[c] for c in columns}}),
    ]


def _moves(links: Sequence[Row], foreign: Row) -> dict[str, list[RowChange]]:
    first, one, last = links[0], links[2], links[-1]
    other = next(row for row in links[3:] if row["token"] != one["token"])
    end = last["sequence"] + 1
    place = {k: one[k] for k in ("writer", "sequence")}
    return {
        "two sealed bodies exchanged": _exchanged(one, other, "sealed"),
        "two events exchanged": _exchanged(one, other, "sealed", "token", "previous"),
        "two tokens exchanged": _exchanged(one, other, "token"),
        "two hashes exchanged": _exchanged(one, other, "previous"),
        "the first and the last exchanged": _exchanged(first, last, "sealed", "token", "previous"),
        "one over another": [(t.audit, one, {**other, **place})],
        "one of another compartment": [(t.audit, one, {**foreign, **place})],
        "a sealed body of another compartment": [
            (t.audit, one, {**one, "sealed": foreign["sealed"]})],
        "one of another compartment, whole": [(t.audit, None, foreign)],
        "one again at the end": [(t.audit, None, {**one, "sequence": end})],
        "the last again at the end": [(t.audit, None, {**last, "sequence": end})],
        "one far behind the end": [(t.audit, None, {**one, "sequence": end + 100})],
        "one under another writer": [(t.audit, None, {**one, "writer": bytes(16)})],
        "the first under another writer": [(t.audit, None, {**first, "writer": bytes(16)})],
        "one removed": [(t.audit, one, None)],
        "the first removed": [(t.audit, first, None)],
        "all but the last removed": [(t.audit, row, None) for row in links[:-1]],
        "all moved down over one removed": [
            (t.audit, one, None),
            *((t.audit, row, {**row, "sequence": row["sequence"] - 1}) for row in links[3:])],
    }  # fmt: skip


def test_moved_events_are_noticed(
    split_house: SplitHouse, rows: Databases, links: Sequence[Row], attempts: Attempts
) -> None:
    """Within a chain, between chains and between compartments."""
    foreign = rows[OTHER].all(t.audit)[0]
    assert not noticed(split_house)
    attempts.record(Wall.TRAIL, "move events", "as they are", CONTROL)
    for what, changes in _moves(links, foreign).items():
        with rows[COMPARTMENT].changed(*changes):
            assert noticed(split_house), what
        attempts.record(Wall.TRAIL, "move events", what, DETECTED)
    assert not noticed(split_house)
    attempts.record(Wall.TRAIL, "move events", "put back", CONTROL)


def test_changed_events_are_noticed(
    split_house: SplitHouse, rows: Databases, links: Sequence[Row], attempts: Attempts
) -> None:
    """A bit anywhere in an event, even where all later hashes are written anew."""
    database, uuid = rows[COMPARTMENT], split_house.edition.compartment(COMPARTMENT).uuid
    event = links[2]
    for column in ("sealed", "previous", "token", "writer"):
        size = len(event[column])
        for position in sorted({*range(0, size, max(1, size // 8)), size - 1}):
            changed = {**event, column: flipped(event[column], position, position % 8)}
            with database.changed((t.audit, event, changed)):
                assert noticed(split_house), f"{column}, byte {position}"
            attempts.record(Wall.TRAIL, "change an event", f"{column}, byte {position}", DETECTED)
    changed = {**event, "token": flipped(event["token"], 0)}
    anew: list[RowChange] = [(t.audit, event, changed)]
    previous = hash_of(uuid, Link(**changed))
    for row in links[3:]:
        follows = {**row, "previous": previous}
        anew.append((t.audit, row, follows))
        previous = hash_of(uuid, Link(**follows))
    with database.changed(*anew):
        assert noticed(split_house)
    attempts.record(Wall.TRAIL, "change an event", "all later hashes anew", DETECTED)
    assert not noticed(split_house)
    attempts.record(Wall.TRAIL, "change an event", "put back", CONTROL)


def test_an_end_cut_off_is_missed_by_no_hash(
    split_house: SplitHouse, rows: Databases, links: Sequence[Row], attempts: Attempts
) -> None:
    """Nor a chain that is gone: completeness ends at the last checkpoint kept elsewhere."""
    database = rows[COMPARTMENT]
    for what, gone in {
        "the last event": links[-1:],
        "the last three": links[-3:],
        "a whole chain": links,
    }.items():
        with database.changed(*((t.audit, row, None) for row in gone)):
            assert not noticed(split_house), what
        attempts.record(Wall.TRAIL, "cut the end off", what, RESIDUAL)
