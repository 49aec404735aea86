"""What no read notices is found afterwards: `verify` holds rows against their events.

And what no hash in the trail notices, by a checkpoint that the auditor shipped.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.attack.attempts import CONTROL, DETECTED, RESIDUAL, Attempts, Wall
from tests.attack.rows import Row, RowChange, Rows, reading
from tests.people import Registered, raw
from tests.split import SplitHouse
from vault import app
from vault.audit.signed import by_id
from vault.audit.verification import Verdict
from vault.errors import Reason
from vault.keys.provision import AUDIT_KEY
from vault.service.checkpoints import Checkpoints, Pace
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.service.verify import Kind, verify_compartment
from vault.service.verify_chains import ShippedFile, verify_database
from vault.store import tables as t
from vault.store.engine import connect

Databases = Mapping[str, Rows]
Verify = Callable[[], Counter[Kind]]
ACCOUNTS = "accounts"
OF_A_RECORD = (t.records, t.data_keys, t.blind_index)


@pytest.fixture(scope="module")
def verify(split_house: SplitHouse) -> Iterator[Verify]:
    """Verify accounts as the command does: a worker's logins, and the auditor's for the trail."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        worker, auditor = (
            split_house.settings_of(name) for name in (f"worker-{ACCOUNTS}", "auditor")
        )
        served, editions = runner.run(stack.enter_async_context(app.opened(worker, ACCOUNTS)))
        _, trails = runner.run(stack.enter_async_context(app.audited(auditor)))

        def found() -> Counter[Kind]:
            report = runner.run(verify_compartment(served, editions, trails[ACCOUNTS]))
            return Counter(report.counts)

        yield found
        runner.run(stack.aclose())


def _all_of(database: Rows, person: Registered) -> list[RowChange]:
    """Write how to take away all rows under a pseudonym, but for a tombstone."""
    tables = ((table, database.all(table, pseudonym=raw(person))) for table in OF_A_RECORD)
    return [(table, row, None) for table, rows in tables for row in rows]


def _back(changes: Sequence[RowChange]) -> list[RowChange]:
    return [(table, None, row) for table, row, _ in changes]


def test_an_old_row_that_is_read_is_found(
    split_house: SplitHouse, rows: Databases, verify: Verify, attempts: Attempts
) -> None:
    """A consent that was withdrawn is in force again, until somebody runs `verify`."""
    house, database, before = split_house, rows[ACCOUNTS], verify()
    attack = "put an older version back"
    person = house.register()
    old = database.of(t.records, person)
    person.subject.withdraw(ACCOUNTS, ["services"])
    new = database.of(t.records, person)
    with database.changed((t.records, new, old)):
        assert house.phone_of(person) == person.values["phone"]
        attempts.record(Wall.CIPHERTEXT, attack, "a whole row, read", RESIDUAL)
        assert verify() - before == {Kind.ROLLBACK: 1}
    attempts.record(Wall.CIPHERTEXT, attack, "a whole row, by verify", DETECTED)
    assert verify() == before
    attempts.record(Wall.CIPHERTEXT, attack, "the newest row, by verify", CONTROL)


def test_an_erased_record_that_is_read_is_found(
    split_house: SplitHouse, rows: Databases, verify: Verify, attempts: Attempts
) -> None:
    """With the data key it opens; that it was erased is in the trail, whatever tombstones say."""
    house, database, before = split_house, rows[ACCOUNTS], verify()
    attack = "put an erased record back"
    person = house.register()
    whole, stones = _back(_all_of(database, person)), database.all(t.tombstones)
    person.subject.erase(ACCOUNTS)
    (stone,) = [row for row in database.all(t.tombstones) if row not in stones]
    for what, changes in {
        "with its tombstone": whole,
        "without its tombstone": [*whole, (t.tombstones, stone, None)],
    }.items():
        with database.changed(*changes):
            assert reading(house, person) == ""
            attempts.record(Wall.CIPHERTEXT, attack, f"{what}, read", RESIDUAL)
            assert verify() - before == {Kind.ERASED_BACK: 1}, what
        attempts.record(Wall.CIPHERTEXT, attack, f"{what}, by verify", DETECTED)
    assert verify() == before
    attempts.record(Wall.CIPHERTEXT, attack, "not put back, by verify", CONTROL)
    with database.changed((t.tombstones, stone, None)):
        assert verify() == before
    attempts.record(Wall.CIPHERTEXT, "remove a tombstone", "by verify", RESIDUAL)


def _index_moves(
    mine: Row, other: Registered
) -> dict[str, tuple[list[RowChange], dict[Kind, int]]]:
    theirs = {**mine, "pseudonym": raw(other)}
    return {
        "removed": ([(t.blind_index, mine, None)], {Kind.MISSING_INDEX: 1}),
        "of another value": (
            [(t.blind_index, mine, {**mine, "value": bytes(len(mine["value"]))})],
            {Kind.WRONG_INDEX: 1},
        ),
        "pointing elsewhere": (
            [(t.blind_index, mine, theirs)],
            {Kind.MISSING_INDEX: 1, Kind.WRONG_INDEX: 1},
        ),
        "pointing at nobody": (
            [(t.blind_index, mine, {**mine, "pseudonym": bytes(len(mine["pseudonym"]))})],
            {Kind.MISSING_INDEX: 1, Kind.DANGLING_INDEX: 1},
        ),
    }


def test_an_index_row_that_is_gone_or_wrong_is_found(
    split_house: SplitHouse, rows: Databases, verify: Verify, attempts: Attempts
) -> None:
    """Each is computed anew from its record's value."""
    house, database = split_house, rows[ACCOUNTS]
    person, other = house.register(), house.register()
    before = verify()
    for mine in database.all(t.blind_index, pseudonym=raw(person)):
        for what, (changes, expected) in _index_moves(mine, other).items():
            with database.changed(*changes):
                assert verify() - before == expected, f"field {mine['field']} {what}"
            cell = f"field {mine['field']} {what}, by verify"
            attempts.record(Wall.CIPHERTEXT, "move an index row", cell, DETECTED)
    assert verify() == before
    attempts.record(Wall.CIPHERTEXT, "move an index row", "put back, by verify", CONTROL)


def test_what_is_left_of_a_record_is_found(
    split_house: SplitHouse, rows: Databases, verify: Verify, attempts: Attempts
) -> None:
    """Where nothing is left there is nothing to look at."""
    house, database = split_house, rows[ACCOUNTS]
    person = house.register()
    before, whole = verify(), _all_of(database, person)
    record, key, index = (
        [change for change in whole if change[0] is table] for table in OF_A_RECORD
    )
    for what, gone, expected in (
        ("the record", record, {Kind.DANGLING_DATA_KEY: 1, Kind.DANGLING_INDEX: len(index)}),
        ("the data key", key, {Kind.MISSING_DATA_KEY: 1}),
        ("all but the index", [*record, *key], {Kind.DANGLING_INDEX: len(index)}),
    ):
        with database.changed(*gone):
            assert verify() - before == expected, what
        attempts.record(Wall.CIPHERTEXT, "remove rows", f"{what}, by verify", DETECTED)
    with database.changed(*whole):
        assert reading(house, person) == Reason.NOT_FOUND
        assert verify() == before
    attempts.record(Wall.CIPHERTEXT, "remove rows", "all of them, by verify", RESIDUAL)
    assert reading(house, person) == ""
    attempts.record(Wall.CIPHERTEXT, "remove rows", "put back, by verify", CONTROL)


# The trail, and what was shipped of it.


async def _checked(house: SplitHouse, file: Path, *, ship: bool) -> Verdict:
    """Verify the trail, under the auditor's login; before that, ship a checkpoint or don't."""
    login, uuid = house.login("auditor"), house.edition.compartment(ACCOUNTS).uuid
    database = connect(house.urls[f"piivault_{ACCOUNTS}_auditor"])
    try:
        if ship:
            signer, shipping = Signer(login, AUDIT_KEY), Shipping(file)
            made = Checkpoints(ACCOUNTS, uuid, database, signer, shipping, Pace())
            await made.look(now=True)
        keys = by_id(login.public_keys(AUDIT_KEY).values())
        return await verify_database(database, ShippedFile(file), keys)
    finally:
        await database.close()


def test_what_was_shipped_is_missed_when_it_is_cut_off(
    split_house: SplitHouse, rows: Databases, tmp_path: Path, attempts: Attempts
) -> None:
    """With all stored checkpoints too; what came after the last one that was shipped isn't."""
    house, database, file = split_house, rows[ACCOUNTS], tmp_path / "checkpoints.jsonl"
    person = house.register()
    assert asyncio.run(_checked(house, file, ship=True)).holds
    attempts.record(Wall.TRAIL, "cut off what was shipped", "nothing", CONTROL)
    signed: list[RowChange] = [(t.checkpoints, row, None) for row in database.all(t.checkpoints)]
    shipped = database.all(t.audit)
    mine = max((row for row in shipped), key=lambda row: row["sequence"])
    chain = [row for row in shipped if row["writer"] == mine["writer"]]
    for what, gone in {
        "the last event": chain[-1:],
        "the last three": chain[-3:],
        "a whole chain": chain,
    }.items():
        cut: list[RowChange] = [(t.audit, row, None) for row in gone]
        for how, changes in {"": cut, " and every checkpoint": [*cut, *signed]}.items():
            with database.changed(*changes):
                assert not asyncio.run(_checked(house, file, ship=False)).holds, what + how
            attempts.record(Wall.TRAIL, "cut off what was shipped", what + how, DETECTED)
    person.subject.view(ACCOUNTS)
    known = {(row["writer"], row["sequence"]) for row in shipped}
    later: list[RowChange] = [(t.audit, row, None) for row in database.all(t.audit)
                           if (row["writer"], row["sequence"]) not in known]  # fmt: skip
    assert later
    with database.changed(*later):
        assert asyncio.run(_checked(house, file, ship=False)).holds
    attempts.record(Wall.TRAIL, "cut the end off", "behind the last checkpoint", RESIDUAL)
    assert asyncio.run(_checked(house, file, ship=False)).holds
    attempts.record(Wall.TRAIL, "cut off what was shipped", "put back", CONTROL)
