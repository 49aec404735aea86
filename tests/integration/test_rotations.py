"""Rotation of each level of keys, without a server in front: what becomes of rows and keys."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests import rotating
from tests.database import rows
from tests.rotating import EMAIL, OFFICER, check, erase, find, person, put, register
from tests.served import UUID, serving_process
from vault.dev import Running
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, transit_version
from vault.keys.officer import TransitOfficer
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service import keys as acts
from vault.service import rotation_index, rotation_keys, rotation_records
from vault.service.compartment import ServedCompartment
from vault.service.rotation import Level
from vault.service.rotation_run import run
from vault.service.rotation_steps import Did
from vault.store import schema
from vault.store import tables as t
from vault.store.backup import back_up
from vault.store.backup_format import Contents
from vault.store.engine import connect
from vault.store.restore import restore_compartment
from vault.store.rotations import DONE, FAILED, RUNNING
from vault.store.schema import Schema

PEOPLE = [person(n) for n in range(1001, 1013)]


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (rotation_index, rotation_keys, rotation_records):
        monkeypatch.setattr(module, "_PAGE", 5)
        if module is not rotation_keys:
            monkeypatch.setattr(module, "_DROPPED", 7)


@pytest.fixture
async def two(
    database_url: str, login_as: Callable[[str], Transit]
) -> AsyncIterator[Sequence[ServedCompartment]]:
    """Two processes of one compartment with some people; the second never polls by itself."""
    async with AsyncExitStack() as stack:
        transit = login_as(worker("accounts"))
        opened = [
            await stack.enter_async_context(serving_process(database_url, transit, 3600.0))
            for _ in range(2)
        ]
        for served in opened:
            await served.establish()
        for who in PEOPLE:
            await register(opened[0], who)
        await check(opened[1], PEOPLE)
        yield opened


Two = Sequence[ServedCompartment]


async def _keyring(served: ServedCompartment, kind: KeyKind) -> dict[int, tuple[str, bool]]:
    """Return the state of each version, and whether it is still wrapped there."""
    found = [row for row in await rows(served.database, t.keyring) if row.kind == kind]
    return {
        row.version: (row.state, bool(row.wrapped)) for row in found if row.field in (0, EMAIL.uid)
    }


async def _rotation(served: ServedCompartment) -> tuple[str, int, int, str]:
    (row,) = await rows(served.database, t.rotations)
    return row.state, row.done, row.total, row.error


async def test_a_new_kek_writes_at_once_and_all_data_keys_are_wrapped_anew(two: Two) -> None:
    one, other = two
    await rotating.start(one, Level.KEK)
    newcomer = person(99)
    await register(one, newcomer)
    versions = [row.kek_version for row in await rows(one.database, t.data_keys)]
    assert sorted(versions) == [1] * len(PEOPLE) + [2]
    await check(other, [*PEOPLE, newcomer])
    done = await rotating.finish(one)
    assert [step.did for step in done] == [Did.WENT_ON] * 3 + [Did.ENDED]
    assert {row.kek_version for row in await rows(one.database, t.data_keys)} == {2}
    assert await _keyring(one, KeyKind.KEK) == {1: ("decrypt-only", True), 2: ("active", True)}
    assert await _rotation(one) == (DONE, len(PEOPLE), len(PEOPLE), "")
    await check(other, [*PEOPLE, newcomer])


async def test_a_record_that_was_read_under_an_old_kek_is_read_to_the_end(two: Two) -> None:
    """Its KEK is destroyed between its two layers."""
    one, other = two
    record = await other.records.open(PEOPLE[0].address)
    await rotating.start(one, Level.EPOCH)
    await rotating.finish(one)
    await other.look_at_keys()
    assert await _keyring(one, KeyKind.KEK) == {1: ("destroyed", False), 2: ("active", True)}
    assert record.values()[EMAIL.uid].value == PEOPLE[0].email
    await check(other, PEOPLE)


async def test_every_record_gets_a_data_key_of_its_own_and_old_ones_stay(two: Two) -> None:
    one, other = two
    before = {row.pseudonym: row.id for row in await rows(one.database, t.data_keys)}
    await rotating.start(one, Level.DATA_KEY)
    await rotating.finish(one)
    after = await rows(one.database, t.data_keys)
    assert len(after) == 2 * len(PEOPLE)
    sealed = {row.pseudonym: row.sealed for row in await rows(one.database, t.records)}
    assert all(sealed[raw][3:11] != id_ for raw, id_ in before.items())
    await check(other, PEOPLE)
    await rotating.start(one, Level.SUPERSEDED)
    await rotating.finish(one)
    left = {row.pseudonym: row.id for row in await rows(one.database, t.data_keys)}
    assert {raw: sealed[raw][3:11] for raw in sealed} == left
    await check(other, PEOPLE)


async def test_an_index_is_built_beside_the_old_one_and_look_ups_are_right_throughout(
    two: Two,
) -> None:
    """After every step, in the process that does it and in one that never polls."""
    one, other = two
    await rotating.start(one, Level.INDEX)
    people, seen = list(PEOPLE), []
    async for step in rotating.steps(one):
        seen.append(step.did)
        await check(one, people)
        newcomer = person(100 + len(seen))
        await register(one, newcomer)
        moved = replace(people[0], values=person(200 + len(seen)).values)
        await put(one, people[0], moved)
        await erase(one, people[-1])
        gone = people.pop()
        people = [*people[1:], moved, newcomer]
        await check(other, people)
        assert not await find(other, gone.email)
    assert seen.index(Did.SWITCHED) == seen.count(Did.WENT_ON)
    assert set(seen) == set(Did)
    assert await _keyring(one, KeyKind.INDEX) == {1: ("destroyed", False), 2: ("active", True)}
    held = [row for row in await rows(one.database, t.blind_index) if row.field == EMAIL.uid]
    assert {row.version for row in held} == {2}
    assert sorted(row.pseudonym for row in held) == sorted(p.address.pseudonym for p in people)


async def test_a_value_is_taken_while_its_index_is_built(two: Two) -> None:
    """Whether its holder's row was built already or not."""
    one, _ = two
    await rotating.start(one, Level.INDEX)
    async for _ in rotating.steps(one):
        for who in (PEOPLE[0], PEOPLE[-1]):
            with pytest.raises(VaultError) as refused:
                await register(one, person(77, who.email))
            assert refused.value.reason is Reason.VALUE_TAKEN
    await check(one, PEOPLE)


async def test_a_record_that_is_erased_while_it_is_built_leaves_no_row(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read before, written after."""
    one, other = two
    add = rotation_index._add_rows

    async def late(*args: object) -> list[bytes]:
        if PEOPLE[2] in people:
            people.remove(PEOPLE[2])
            await other.look_at_keys()
            await erase(other, PEOPLE[2])
        return await add(*args)  # type: ignore[arg-type]

    people = list(PEOPLE)
    monkeypatch.setattr(rotation_index, "_add_rows", late)
    await rotating.start(one, Level.INDEX)
    await rotating.finish(one)
    await check(one, people)
    gone = PEOPLE[2].address.pseudonym
    assert not [row for row in await rows(one.database, t.blind_index) if row.pseudonym == gone]


async def test_a_value_that_changes_while_it_is_built_is_found_by_the_new_one(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = two
    add, moved = rotation_index._add_rows, replace(PEOPLE[2], values=person(55).values)

    async def late(*args: object) -> list[bytes]:
        if moved not in people:
            people[2] = moved
            await other.look_at_keys()
            await put(other, PEOPLE[2], moved)
        return await add(*args)  # type: ignore[arg-type]

    people = list(PEOPLE)
    monkeypatch.setattr(rotation_index, "_add_rows", late)
    await rotating.start(one, Level.INDEX)
    await rotating.finish(one)
    await check(other, people)
    assert not await find(other, PEOPLE[2].email)


async def test_the_trail_goes_on_under_a_new_audit_key(two: Two) -> None:
    one, other = two
    await rotating.start(one, Level.AUDIT)
    assert await _keyring(one, KeyKind.AUDIT) == {1: ("decrypt-only", True), 2: ("active", True)}
    await register(one, person(99))
    await other.look_at_keys()
    await register(other, person(98))
    sealed_under = [
        int.from_bytes(row.sealed[3:11], "big") for row in await rows(one.database, t.audit)
    ]
    assert sealed_under.count(2) >= 2
    assert (await rows(one.database, t.rotations))[0].state == DONE


async def test_all_keys_are_wrapped_anew_by_the_key_server(two: Two, running: Running) -> None:
    one, other = two
    newest = TransitOfficer(running.admin).rotate("piivault-accounts")
    await rotating.start(one, Level.TRANSIT)
    await rotating.finish(one)
    found = await rows(one.database, t.keyring)
    (own,) = await rows(one.database, t.compartment)
    data = [row.wrapped for row in found if row.kind != "audit"]
    assert {transit_version(wrapped) for wrapped in (own.canary, *data)} == {newest}
    for served in two:
        served.keyring.evict()
        await served.establish()
    await check(other, PEOPLE)


async def test_an_index_that_was_rotated_since_the_data_was_written_is_built_after_a_restore(
    two: Two, tmp_path: Path, bare_sqlite_url: str, login_as: Callable[[str], Transit]
) -> None:
    """Nothing is looked up in it before, and nobody takes a value that others may have."""
    one, _ = two
    data, keys = tmp_path / "data", tmp_path / "keys"
    await back_up(one.database, {Contents.DATA: data})
    await rotating.start(one, Level.INDEX)
    await rotating.finish(one)
    await erase(one, PEOPLE[0])
    await back_up(one.database, {Contents.KEYS: keys})
    scratch = connect(bare_sqlite_url)
    await schema.upgrade(scratch, Schema.COMPARTMENT)
    restored = await restore_compartment(scratch, UUID, data, keys)
    assert (restored.rebuilt, restored.erased) == (1, 1)
    await scratch.close()
    async with serving_process(bare_sqlite_url, login_as(worker("accounts"))) as served:
        await served.establish()
        for ask in (find(served, PEOPLE[1].email), register(served, person(1, PEOPLE[1].email))):
            with pytest.raises(VaultError) as refused:
                await ask
            assert refused.value.reason is Reason.KEYS_UNAVAILABLE
        assert (await served.records.open(PEOPLE[1].address)).values()
        await rotating.finish(served)
        await check(served, PEOPLE[1:])
        with pytest.raises(VaultError) as refused:
            await register(served, person(1, PEOPLE[1].email))
        assert refused.value.reason is Reason.VALUE_TAKEN
        held = {row.version for row in await rows(served.database, t.blind_index)}
        assert held == {1, 2}  # that of the phone was never rotated


async def test_an_index_that_was_being_built_when_keys_were_written_is_built_after_a_restore(
    two: Two, tmp_path: Path, bare_sqlite_url: str, login_as: Callable[[str], Transit]
) -> None:
    """By the old one it is looked up meanwhile."""
    one, _ = two
    files = {Contents.DATA: tmp_path / "data", Contents.KEYS: tmp_path / "keys"}
    await rotating.start(one, Level.INDEX)
    async for _ in rotating.steps(one):
        break
    await back_up(one.database, files)
    scratch = connect(bare_sqlite_url)
    await schema.upgrade(scratch, Schema.COMPARTMENT)
    restored = await restore_compartment(scratch, UUID, files[Contents.DATA], files[Contents.KEYS])
    assert restored.rebuilt == 1
    await scratch.close()
    async with serving_process(bare_sqlite_url, login_as(worker("accounts"))) as served:
        await served.establish()
        await check(served, PEOPLE)
        await rotating.finish(served)
        await check(served, PEOPLE)
        assert await _keyring(served, KeyKind.INDEX) == {
            1: ("destroyed", False),
            2: ("active", True),
        }


LEVELS = [level for level in Level if level is not Level.AUDIT]


@pytest.mark.parametrize("level", LEVELS)
async def test_two_workers_that_carry_out_one_rotation_do_no_harm(two: Two, level: Level) -> None:
    one, other = two
    first = await rotating.start(one, level)
    again = await rotating.start(other, level)
    assert again.id == first.id
    await asyncio.gather(rotating.finish(one), rotating.finish(other))
    await check(one, PEOPLE)
    await check(other, PEOPLE)
    (row,) = await rows(one.database, t.rotations)
    assert row.state == (RUNNING if level is Level.EPOCH else DONE)
    assert row.error == ""


async def test_what_cannot_be_opened_fails_a_rotation_and_stops_no_other(two: Two) -> None:
    """It is said, and the KEK that it needs stays."""
    one, other = two
    damage = t.data_keys.update().where(t.data_keys.c.pseudonym == PEOPLE[3].address.pseudonym)
    async with one.database.writes.begin() as connection:
        await connection.execute(damage.values(wrapped=bytes(71)))
    await rotating.start(one, Level.EPOCH)
    await rotating.finish(one)
    state, *_, error = await _rotation(one)
    assert state == FAILED
    assert "verify" in error
    assert (await _keyring(one, KeyKind.KEK))[1] == ("decrypt-only", True)
    assert [r.kek_version for r in await rows(one.database, t.data_keys)].count(1) == 1
    await check(other, [p for p in PEOPLE if p is not PEOPLE[3]])


OPENING = [Level.KEK, Level.EPOCH, Level.DATA_KEY, Level.INDEX]


@pytest.mark.parametrize("level", OPENING)
async def test_a_rotation_that_met_damage_and_then_waited_fails_and_counts(
    two: Two, level: Level
) -> None:
    """By another process than the one that met it, and after a second damage."""
    one, other = two
    for who in (PEOPLE[1], PEOPLE[11]):
        damage = t.data_keys.update().where(t.data_keys.c.pseudonym == who.address.pseudonym)
        async with one.database.writes.begin() as connection:
            await connection.execute(damage.values(wrapped=bytes(71)))
    await rotating.start(one, level)
    async for _ in rotating.steps(one):
        break
    kek = KeyName(KeyKind.KEK, 1)
    await acts.suspend(one, OFFICER, kek)
    await run(other, rotating.policy, 1e6)
    state, done, _, error = await _rotation(one)
    assert (state, done > 0) == (RUNNING, True)
    assert "suspended" in error
    await acts.resume(one, OFFICER, kek)
    await run(other, rotating.policy, 1e6)
    state, done, total, error = await _rotation(one)
    assert (state, done, total) == (FAILED, len(PEOPLE) - 2, len(PEOPLE))
    assert error.startswith("2 can't be opened")
    await check(other, [who for who in PEOPLE if who not in (PEOPLE[1], PEOPLE[11])])


async def test_what_has_to_be_waited_for_is_noted_and_goes_on(two: Two) -> None:
    one, _ = two
    kek = KeyName(KeyKind.KEK, 1)
    await acts.suspend(one, OFFICER, kek)
    await rotating.start(one, Level.KEK)
    await run(one, rotating.policy, 1e6)
    state, done, _, error = await _rotation(one)
    assert (state, done) == (RUNNING, 0)
    assert "suspended" in error
    await acts.resume(one, OFFICER, kek)
    await run(one, rotating.policy, 1e6)
    assert await _rotation(one) == (DONE, len(PEOPLE), len(PEOPLE), "")


async def test_an_index_that_is_built_is_not_suspended_alone(two: Two) -> None:
    one, _ = two
    await rotating.start(one, Level.INDEX)
    with pytest.raises(VaultError, match="being built"):
        await acts.suspend(one, OFFICER, KeyName(KeyKind.INDEX, 2, EMAIL.uid))
    active = KeyName(KeyKind.INDEX, 1, EMAIL.uid)
    await acts.suspend(one, OFFICER, active)
    await acts.resume(one, OFFICER, active)
    await check(one, PEOPLE)
