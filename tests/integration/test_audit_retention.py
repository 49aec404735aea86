"""What becomes of a trail later: old events are cut off, and faults taken note of."""

from pathlib import Path

import pytest
from sqlalchemy import delete, update

from tests.auditing import Clock, NewAuditor, add_events, holds, stored
from tests.committing import COMPARTMENT
from tests.database import put, rows
from tests.trails import DAY, KEYS, new_chain
from vault.service.prune import PruneError, prune
from vault.service.verify_chains import ShippedFile, verify_database
from vault.store import tables as t
from vault.store.engine import Database

# What somebody took note of.


async def test_faults_that_were_accepted_count_no_more(
    database: Database, auditor: NewAuditor, ship_file: Path
) -> None:
    """A chain that is broken, one whose end is lost, and a checkpoint: as after a restore."""
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints, broken, cut = auditor(), new_chain(), new_chain()
    await add_events(database, broken, 2)
    await add_events(database, cut, 2)
    await checkpoints.look()
    await add_events(database, cut, 2)
    await checkpoints.look()
    await add_events(database, broken, 4)
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.checkpoints).where(t.checkpoints.c.number == 1))
        last = (t.audit.c.writer == cut._writer) & (t.audit.c.sequence > 1)
        await connection.execute(delete(t.audit).where(last))
        third = (t.audit.c.writer == broken._writer) & (t.audit.c.sequence == 3)
        await connection.execute(delete(t.audit).where(third))
    await checkpoints.look()
    await checkpoints.look()
    assert len(checkpoints.faults) == 3
    shipped = ShippedFile(ship_file)
    found = (await verify_database(database, shipped, KEYS)).faults
    places = {(fault.writer, fault.sequence) for fault in found}
    assert places == {(broken._writer, 3), (cut._writer, 2), (b"", 1)}
    made = await auditor().accept(places)
    assert made.accepted == places
    assert made.heads[broken._writer].sequence == 5
    await checkpoints.look()
    assert not checkpoints.faults
    await add_events(database, broken, 1)
    await checkpoints.look()
    verdict = await verify_database(database, shipped, KEYS)
    assert verdict.holds
    assert {(fault.writer, fault.sequence) for fault in verdict.faults.known} == places
    assert verdict.trusted == verdict.newest
    async with database.writes.begin() as connection:
        fifth = (t.audit.c.writer == broken._writer) & (t.audit.c.sequence == 5)
        await connection.execute(update(t.audit).where(fifth).values(token=bytes(16)))
    assert not await holds(database, ship_file)


# Retention.


async def test_what_is_old_enough_is_cut_off_and_the_rest_still_verifies(
    database: Database, auditor: NewAuditor, clock: Clock, ship_file: Path
) -> None:
    checkpoints, one, two = auditor(keep_days=3), new_chain(), new_chain()
    await put(database, t.compartment, uuid=COMPARTMENT)
    for _ in range(10):
        await add_events(database, one, 2)
        if clock.now < 4 * DAY:
            await add_events(database, two, 1)
        await checkpoints.look()
        clock.now += DAY
    made = await stored(database)
    assert [its.base.number if its.base else None for its in made] == [
        None, None, None, 0, 1, 2, 3, 4, 5, 6]  # fmt: skip
    shipped = ShippedFile(ship_file)
    pruned = await prune(database, shipped, KEYS)
    assert pruned.at.number == 6
    left = await rows(database, t.audit)
    assert pruned.events == pruned.before.events - len(left) == 15
    assert {its.writer for its in left} == {one._writer, two._writer}
    assert [its.number for its in await stored(database)] == [6, 7, 8, 9]
    assert await holds(database, ship_file)
    assert await holds(database)
    assert (await prune(database, shipped, KEYS)).events == 0
    await add_events(database, two, 1)
    await auditor(keep_days=3).look()
    assert await holds(database, ship_file)


async def test_nothing_goes_unless_a_checkpoint_says_so(
    database: Database, auditor: NewAuditor
) -> None:
    await put(database, t.compartment, uuid=COMPARTMENT)
    await add_events(database, new_chain(), 2)
    await auditor().look()
    with pytest.raises(PruneError, match="keep_days"):
        await prune(database, None, KEYS)


async def test_a_trail_that_does_not_hold_is_evidence(
    database: Database, auditor: NewAuditor, clock: Clock
) -> None:
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints, chain = auditor(keep_days=1), new_chain()
    for _ in range(4):
        await add_events(database, chain, 2)
        await checkpoints.look()
        clock.now += DAY
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.audit).where(t.audit.c.sequence == 1))
    with pytest.raises(PruneError, match=r"event 1: events are missing"):
        await prune(database, None, KEYS)
    assert len(await rows(database, t.audit)) == 7
