"""The auditor's checkpoints on a real database: made, shipped, and never over what is broken."""

from pathlib import Path

import pytest
from sqlalchemy import delete, update

from tests.auditing import Clock, Keys, NewAuditor, add_events, holds, lines, numbers, stored, tear
from tests.committing import COMPARTMENT, Commit, asked, committing
from tests.database import put, rows
from tests.trails import KEYS, OTHER, SECRET, new_chain
from vault.audit.signed import CheckpointError, by_id, key_id
from vault.errors import VaultError
from vault.service.control_checkpoints import ControlCheckpoints
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.service.verify_chains import ShippedFile, verify_database
from vault.store import tables as t
from vault.store.engine import Database

# Making them.


async def test_new_events_are_covered_by_the_next_checkpoint(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    checkpoints, one, two = auditor(), new_chain(), new_chain()
    await checkpoints.look()
    assert await stored(database) == []
    await add_events(database, one, 3)
    await checkpoints.look()
    await add_events(database, one, 2)
    await add_events(database, two, 1)
    await checkpoints.look()
    await checkpoints.look()
    first, second = await stored(database)
    assert (first.number, first.events) == (0, 3)
    assert (second.number, second.events, second.previous) == (1, 6, first.hash)
    assert numbers(ship_file) == [0, 1]
    assert await holds(database, ship_file)
    assert checkpoints.newest == second
    assert checkpoints.faults == ()


async def test_one_is_due_after_so_many_events_or_seconds(
    database: Database, auditor: NewAuditor, clock: Clock
) -> None:
    checkpoints, chain = auditor(events=5), new_chain()
    await add_events(database, chain, 4)
    await checkpoints.look()
    assert await stored(database) == []
    await add_events(database, chain, 1)
    await checkpoints.look()
    assert [its.events for its in await stored(database)] == [5]
    await add_events(database, chain, 1)
    await checkpoints.look()
    assert len(await stored(database)) == 1
    assert checkpoints.covered_at == clock.now
    clock.now += 61_000_000
    await checkpoints.look()
    assert [its.events for its in await stored(database)] == [5, 6]


async def test_each_is_read_once_by_whoever_makes_the_next(
    database: Database, auditor: NewAuditor, ship_file: Path, tmp_path: Path
) -> None:
    """Two auditors at once: one chain of checkpoints, and each ships all of it."""
    other_file = tmp_path / "other.jsonl"
    both, chain = (auditor(), auditor(file=other_file)), new_chain()
    for turn in range(6):
        await add_events(database, chain, 2)
        await both[turn % 2].look()
    for its in both:
        await its.look()
    assert [its.number for its in await stored(database)] == list(range(6))
    assert numbers(ship_file) == numbers(other_file) == list(range(6))
    assert await holds(database, ship_file)


async def test_after_a_restart_it_goes_on_where_it_was(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    chain = new_chain()
    await add_events(database, chain, 2)
    await auditor().look()
    await add_events(database, chain, 2)
    await auditor().look()
    assert [its.events for its in await stored(database)] == [2, 4]
    assert numbers(ship_file) == [0, 1]


async def test_what_was_stored_and_not_shipped_is_shipped_later(
    database: Database, auditor: NewAuditor, tmp_path: Path
) -> None:
    """A disk that is full, or a crash in between."""
    folder, chain = tmp_path / "later", new_chain()
    checkpoints = auditor(file=folder / "shipped.jsonl")
    await add_events(database, chain, 2)
    with pytest.raises(FileNotFoundError):
        await checkpoints.look()
    assert len(await stored(database)) == 1
    folder.mkdir()
    await checkpoints.look()
    await add_events(database, chain, 1)
    await checkpoints.look()
    assert numbers(folder / "shipped.jsonl") == [0, 1]


async def test_a_line_that_a_crash_cut_off_hurts_no_other(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    chain = new_chain()
    await add_events(database, chain, 2)
    await auditor().look()
    tear(ship_file)
    await add_events(database, chain, 1)
    await auditor().look()
    assert numbers(ship_file) == [0, 1]
    assert await holds(database, ship_file)


async def test_a_key_that_was_rotated_signs_on(
    database: Database, auditor: NewAuditor, keys: Keys, ship_file: Path
) -> None:
    checkpoints, other, chain = auditor(), auditor(file=ship_file.with_name("other")), new_chain()
    await add_events(database, chain, 1)
    await checkpoints.look()
    await other.look()
    keys.versions.append(OTHER)
    await add_events(database, chain, 1)
    await checkpoints.look()
    await other.look()
    assert other.newest == checkpoints.newest
    assert other.faults == ()
    both = by_id(keys.public_keys("").values())
    await put(database, t.compartment, uuid=COMPARTMENT)
    assert (await verify_database(database, ShippedFile(ship_file), both)).holds
    assert not (await verify_database(database, ShippedFile(ship_file), KEYS)).holds


async def test_a_key_server_that_is_away_delays_it(
    database: Database, auditor: NewAuditor, keys: Keys
) -> None:
    checkpoints = auditor()
    await add_events(database, new_chain(), 1)
    keys.away = True
    with pytest.raises(VaultError):
        await checkpoints.look()
    keys.away = False
    await checkpoints.look()
    assert len(await stored(database)) == 1


# What doesn't hold.


async def test_none_is_made_over_a_broken_chain(
    database: Database, auditor: NewAuditor, caplog: pytest.LogCaptureFixture
) -> None:
    """It stands still there; what others write goes on being covered; it is reported once."""
    checkpoints, broken, whole = auditor(), new_chain(), new_chain()
    await add_events(database, broken, 2)
    await checkpoints.look()
    await add_events(database, broken, 3)
    writer = broken._writer
    async with database.writes.begin() as connection:
        where = (t.audit.c.writer == writer) & (t.audit.c.sequence == 3)
        await connection.execute(update(t.audit).where(where).values(token=bytes(16)))
    await checkpoints.look()
    await add_events(database, whole, 2)
    await checkpoints.look()
    last = (await stored(database))[-1]
    assert last.heads[writer].sequence == 3  # the changed one itself: the next tells
    assert last.heads[whole._writer].sequence == 1
    assert [(its.writer, its.sequence) for its in checkpoints.faults] == [(writer, 4)]
    said = [r.message for r in caplog.records if writer.hex() in r.message]
    assert len(said) == 1
    assert "event 4: doesn't follow from the event before it" in said[0]


async def test_what_was_cut_off_stays_on_record(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    checkpoints, cut, whole = auditor(), new_chain(), new_chain()
    await add_events(database, cut, 3)
    await checkpoints.look()
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.audit).where(t.audit.c.sequence == 2))
    await add_events(database, whole, 1)
    await checkpoints.look()
    assert [its.sequence for its in checkpoints.faults] == [2]
    assert (await stored(database))[-1].heads[cut._writer].sequence == 2
    assert not await holds(database, ship_file)


async def test_checkpoints_that_were_cut_off_are_missed_after_a_restart(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    """By the file; and the next one follows the one that was shipped, so that none forks."""
    chain = new_chain()
    for _ in range(3):
        await add_events(database, chain, 1)
        await auditor().look()
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.checkpoints).where(t.checkpoints.c.number == 2))
        await connection.execute(delete(t.audit).where(t.audit.c.sequence == 2))
    checkpoints = auditor()
    await checkpoints.look()
    assert len(checkpoints.faults) == 2
    assert "checkpoint 2 was shipped, and isn't stored" in str(checkpoints.faults[0])
    await add_events(database, new_chain(), 1)
    await checkpoints.look()
    assert [its.number for its in await stored(database)] == [0, 1, 3]
    assert not await holds(database, ship_file)


FORGED = {
    "unsigned": {"signature": bytes(72)},
    "damaged": {"body": b"{}"},
}


@pytest.mark.parametrize("changed", FORGED.values(), ids=FORGED)
async def test_nothing_follows_a_forged_checkpoint(
    database: Database, auditor: NewAuditor, changed: dict[str, bytes], tmp_path: Path
) -> None:
    chain = new_chain()
    await add_events(database, chain, 1)
    await auditor().look()
    async with database.writes.begin() as connection:
        await connection.execute(update(t.checkpoints).values(changed))
    await add_events(database, chain, 1)
    checkpoints = auditor(file=tmp_path / "new.jsonl")
    await checkpoints.look()
    assert [str(its).startswith("checkpoint 0 is") for its in checkpoints.faults] == [True]
    assert len(await rows(database, t.checkpoints)) == 1
    assert not await holds(database)


async def test_the_way_out_of_a_forged_checkpoint(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    """As docs/audit.md says: the owner deletes it, the auditor follows what it shipped."""
    chain = new_chain()
    for _ in range(2):
        await add_events(database, chain, 1)
        await auditor().look()
    async with database.writes.begin() as connection:
        last = t.checkpoints.c.number == 1
        await connection.execute(update(t.checkpoints).where(last).values(body=b"{}"))
    await add_events(database, chain, 1)
    with pytest.raises(CheckpointError, match="can't be made: checkpoint 1 isn't"):
        await auditor().accept(())
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.checkpoints).where(t.checkpoints.c.number >= 1))
    await auditor().look()
    assert [its.number for its in await stored(database)] == [0, 2]
    await put(database, t.compartment, uuid=COMPARTMENT)
    found = (await verify_database(database, ShippedFile(ship_file), KEYS)).faults
    assert [str(its) for its in found] == ["checkpoint 1 isn't stored"]
    await auditor().accept({fault.noted for fault in found if fault.noted})
    assert await holds(database, ship_file)


# Others.


async def test_a_committers_events_are_covered_and_verified(
    database: Database, committer: Commit, auditor: NewAuditor, ship_file: Path
) -> None:
    async with database.writes.begin() as connection:
        await connection.execute(update(t.compartment).values(uuid=COMPARTMENT))
    other = committing(database)
    for n in range(5):
        await committer.record(asked(n))
        await other.record(asked(n))
    await auditor().look()
    verdict = await verify_database(database, ShippedFile(ship_file), KEYS)
    assert verdict.holds
    assert (verdict.events, verdict.writers, verdict.uncovered) == (10, 2, 0)
    await other.close()


async def test_the_control_chains_end_is_shipped_when_it_went_on(
    keys: Keys, clock: Clock, ship_file: Path
) -> None:
    checkpoints = ControlCheckpoints(Signer(keys, "key"), Shipping(ship_file), clock)
    for sequence in (1, 1, 2):
        await checkpoints.look(sequence, bytes([sequence]) * 32)
    shipped = lines(ship_file)
    assert [line["checkpoint"]["sequence"] for line in shipped] == [1, 2]
    assert {line["key"] for line in shipped} == {
        key_id(SECRET.public_key().public_bytes_raw()).hex()
    }


def test_standard_output_has_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    Shipping(None, stdout=True).ship("{}")
    assert capsys.readouterr().out == "{}\n"
    assert Shipping(None).goes_nowhere
