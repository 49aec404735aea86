"""What becomes of a trail later: old events are cut off, and faults taken note of."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, update
from sqlalchemy.ext.asyncio import create_async_engine

from tests.auditing import Clock, NewAuditor, add_events, holds, stored
from tests.committing import COMPARTMENT
from tests.database import put, rows
from tests.trails import DAY, KEYS, new_chain
from vault.audit.chain import Link, hash_of
from vault.audit.checkpoint import Base
from vault.service.prune import PruneError, prune
from vault.service.verify_chains import ShippedFile, verify_database
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.events import read_after

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
    noted = {fault.noted for fault in found if fault.noted}
    made = await auditor().accept(noted)
    assert made.accepted == noted
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
        fourth = (t.audit.c.writer == broken._writer) & (t.audit.c.sequence == 4)
        await connection.execute(delete(t.audit).where(fourth))
    assert not await holds(database, ship_file)


async def test_an_end_that_is_lost_behind_an_accepted_one_is_reported(
    database: Database, auditor: NewAuditor
) -> None:
    """The writer went on; what it wrote then is cut off, too: at the same place."""
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints, chain = auditor(), new_chain()
    await add_events(database, chain, 4)
    await checkpoints.look()
    from_two = t.audit.c.sequence >= 2
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.audit).where(from_two))
    found = (await verify_database(database, None, KEYS)).faults
    await auditor().accept({fault.noted for fault in found if fault.noted})
    await checkpoints.look()
    assert not checkpoints.faults
    await add_events(database, chain, 1)
    await checkpoints.look()
    assert not checkpoints.faults
    assert await holds(database)
    async with database.writes.begin() as connection:
        await connection.execute(delete(t.audit).where(from_two))
    await checkpoints.look()
    assert [its.sequence for its in checkpoints.faults] == [2]
    assert not await holds(database)


async def test_a_tail_written_anew_is_followed_once_it_was_accepted(
    database: Database, auditor: NewAuditor
) -> None:
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints, chain = auditor(), new_chain()
    await add_events(database, chain, 3)
    await checkpoints.look()
    async with database.writes.begin() as connection:
        await connection.execute(
            update(t.audit).where(t.audit.c.sequence == 2).values(token=bytes(16))
        )
    await add_events(database, chain, 2)
    async with database.writes.begin() as connection:  # and one that doesn't follow
        last = t.audit.c.sequence == 4
        await connection.execute(update(t.audit).where(last).values(previous=bytes(32)))
    await checkpoints.look()
    assert [its.sequence for its in checkpoints.faults] == [4]
    found = (await verify_database(database, None, KEYS)).faults
    await auditor().accept({fault.noted for fault in found if fault.noted})
    await checkpoints.look()
    assert not checkpoints.faults
    assert await holds(database)


async def test_what_follows_a_changed_end_is_covered_once_it_was_accepted(
    database: Database, auditor: NewAuditor
) -> None:
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints, chain = auditor(), new_chain()
    await add_events(database, chain, 2)
    await checkpoints.look()
    async with database.writes.begin() as connection:
        last = t.audit.c.sequence == 1
        await connection.execute(update(t.audit).where(last).values(token=bytes(16)))
    changed = Link(*(await read_after(database, chain._writer, 0, 1, 1))[0])
    found = (await verify_database(database, None, KEYS)).faults
    await checkpoints.accept({fault.noted for fault in found if fault.noted})
    chain._next = (2, hash_of(COMPARTMENT, changed))
    await add_events(database, chain, 2)
    await checkpoints.look()
    assert not checkpoints.faults
    assert (await stored(database))[-1].events == 4
    assert await holds(database)


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
    assert [its.trail_begins for its in await rows(database, t.compartment)] == [pruned.at.at]
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


async def test_a_checkpoint_put_in_since_it_was_verified_allows_nothing(
    database: Database, auditor: NewAuditor
) -> None:
    """Unsigned, by a login that may only insert; just as the events were verified."""
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints = auditor()
    await add_events(database, new_chain(), 5)
    await checkpoints.look()
    (newest,) = await stored(database)
    forged = newest.next(newest.at + 1, newest.heads, Base(0, newest.hash))
    keys = _Late(database, forged.body)
    with pytest.raises(PruneError, match="keep_days"):
        await prune(database, None, KEYS, keys.progress)
    assert keys.done
    assert len(await rows(database, t.audit)) == 5


class _Late:
    """Puts a checkpoint in by a connection of its own, while a trail is verified."""

    def __init__(self, database: Database, body: bytes) -> None:
        self._url, self._body = database.writes.url, body
        self.done = False

    def progress(self, what: str, done: int, total: int) -> None:
        if done and not self.done:
            self.done = True
            with ThreadPoolExecutor(1) as pool:
                pool.submit(asyncio.run, self._put_in()).result()

    async def _put_in(self) -> None:
        engine = create_async_engine(self._url)
        values = {"number": 1, "body": self._body, "signature": b"forged"}
        async with engine.begin() as connection:
            await connection.execute(insert(t.checkpoints).values(values))
        await engine.dispose()


async def test_the_chain_of_an_accepted_fault_is_never_cut_off(
    database: Database, auditor: NewAuditor, clock: Clock, ship_file: Path
) -> None:
    await put(database, t.compartment, uuid=COMPARTMENT)
    checkpoints, broken, whole = auditor(keep_days=3), new_chain(), new_chain()
    for day in range(8):
        await add_events(database, broken, 2)
        await add_events(database, whole, 2)
        await checkpoints.look()
        clock.now += DAY
        if day == 1:
            async with database.writes.begin() as connection:
                third = (t.audit.c.writer == broken._writer) & (t.audit.c.sequence == 3)
                await connection.execute(delete(t.audit).where(third))
            found = (await verify_database(database, ShippedFile(ship_file), KEYS)).faults
            await checkpoints.accept({fault.noted for fault in found if fault.noted})
    done = await prune(database, ShippedFile(ship_file), KEYS)
    assert done.events > 0
    left = await rows(database, t.audit)
    assert len([its for its in left if its.writer == broken._writer]) == 15
    assert await holds(database, ship_file)
    assert await holds(database)
