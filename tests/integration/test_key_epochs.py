"""Several processes and one compartment's keys: who comes first, who lags, who can't tell."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack

import pytest
from sqlalchemy import update

from tests import rotating
from tests.database import execute, rows
from tests.served import UUID, serving_process
from vault.audit.event import ALLOWED, Event
from vault.crypto.record import (
    Address,
    DataKey,
    Value,
    new_record,
    seal_record,
    unwrap_data_key,
    wrap_data_key,
)
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service.compartment import ServedCompartment
from vault.service.drawing import check_drawn
from vault.service.key_rows import row_of
from vault.service.rotation import Level
from vault.store import changes, keys
from vault.store import tables as t
from vault.store.jobs import KeysChangedError, Transaction
from vault.store.load import StoredRecord

EVENT = Event(1, "orders", "shop", "services", "test", "request", ALLOWED)
PHONE = Value(4, "phone", "+996 555 123456", 0)
KEK1, KEK2 = KeyName(KeyKind.KEK, 1), KeyName(KeyKind.KEK, 2)

_KEK1_BECOMES = "UPDATE keyring SET state = '{}' WHERE kind = 'kek' AND version = 1"

Processes = Sequence[ServedCompartment]


@pytest.fixture
async def processes(
    database_url: str, login_as: Callable[[str], Transit]
) -> AsyncIterator[Processes]:
    """Three that serve one compartment, none of which established it."""
    async with AsyncExitStack() as stack:
        transit = login_as(worker("accounts"))
        opened = [serving_process(database_url, transit) for _ in range(3)]
        yield [await stack.enter_async_context(one) for one in opened]


@pytest.fixture
async def two(processes: Processes) -> Processes:
    for served in processes:
        await served.establish()
    return processes[:2]


async def _register(served: ServedCompartment) -> Address:
    address, data_key = Address(UUID, bytes(32)), DataKey.new()
    sealed = seal_record(address, data_key, new_record(1, 0), [PHONE])
    wrapped = await served.wrap(address, data_key)

    async def change(transaction: Transaction) -> None:
        await changes.insert_record(
            transaction, address.pseudonym, sealed.row_version, sealed.sealed, wrapped
        )

    await served.committer.change(change, lambda _: EVENT)
    return address


async def _alter(served: ServedCompartment, *statements: str) -> None:
    async def change(transaction: Transaction) -> None:
        for statement in statements:
            await transaction.exec_driver_sql(statement)
        await keys.next_epoch(transaction)

    await served.committer.alter(change, lambda _: EVENT)


async def _rotate(served: ServedCompartment) -> None:
    """Draw a second KEK, which writes from now on; this process follows at once."""
    await served.lookups.add_key(row_of(await served.keyring.new_key(KEK2)), check_drawn)
    await _alter(served, _KEK1_BECOMES.format("decrypt-only"))
    await served.look_at_keys()


async def _refused(served: ServedCompartment, address: Address) -> Reason:
    with pytest.raises(VaultError) as refused:
        await served.records.open(address)
    return refused.value.reason


async def _index_key(served: ServedCompartment) -> bytes:
    (name,) = await served.index_names(4)
    return await served.keyring.get(name)


async def test_who_meet_a_new_compartment_together_end_with_one_key_of_each(
    processes: Processes,
) -> None:
    await asyncio.gather(*(served.establish() for served in processes))
    index = await asyncio.gather(*(_index_key(s) for s in processes for _ in range(3)))
    assert len(set(index)) == 1
    for name in (KEK1, KeyName(KeyKind.AUDIT), KeyName(KeyKind.LOOKUP)):
        assert len({await served.keyring.get(name) for served in processes}) == 1
    found = [(row.kind, row.version) for row in await rows(processes[0].database, t.keyring)]
    assert sorted(found) == [("audit", 1), ("index", 1), ("kek", 1), ("lookup", 1)]


async def test_a_key_that_another_process_drew_is_read_before_it_was_heard_of(
    two: Processes,
) -> None:
    one, other = two
    await _rotate(one)
    address = await _register(one)
    (row,) = await rows(one.database, t.data_keys)
    assert row.kek_version == 2
    assert other.keyring.latest(KeyKind.KEK) == KEK1
    record = await other.records.open(address)
    assert record.values()[PHONE.uid].value == PHONE.value


async def test_what_was_sealed_under_keys_of_the_last_epoch_is_not_written(two: Processes) -> None:
    """The process looks anew, and the second try is under the new ones."""
    one, other = two
    await _rotate(one)
    with pytest.raises(KeysChangedError):
        await _register(other)
    assert await rows(one.database, t.records) == []
    await other.look_beyond(other.keyring.standing)
    await _register(other)
    assert [row.kek_version for row in await rows(one.database, t.data_keys)] == [2]


async def test_a_data_key_that_is_wrapped_anew_while_it_is_read_fails_no_read(
    two: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read under the old KEK, which is destroyed before it is asked for."""
    one, other = two
    address = await _register(one)
    await _rotate(one)
    load = other.loader.load_each

    async def rewrap(pseudonyms: Collection[bytes]) -> Mapping[bytes, StoredRecord]:
        monkeypatch.setattr(other.loader, "load_each", load)
        found = await load(pseudonyms)
        (wrapped,) = found[address.pseudonym].data_keys.values()
        old = unwrap_data_key(await one.keyring.get(KEK1), address, wrapped.wrapped)
        new = wrap_data_key(await one.keyring.get(KEK2), address, old)
        async with one.database.writes.begin() as connection:
            await connection.execute(update(t.data_keys).values(kek_version=2, wrapped=new))
        await _alter(one, _KEK1_BECOMES.format("destroyed"))
        await other.look_at_keys()
        return found

    monkeypatch.setattr(other.loader, "load_each", rewrap)
    record = await other.records.open(address)
    assert record.values()[PHONE.uid].value == PHONE.value
    assert {r.state for r in other.keyring.versions(KeyKind.KEK)} == {
        KeyState.ACTIVE,
        KeyState.DESTROYED,
    }


async def test_a_record_whose_first_layer_is_open_gives_no_value_once_it_is_suspended(
    two: Processes,
) -> None:
    """The trail may have taken long to write: what is true now counts."""
    one, other = two
    address = await _register(one)
    record = await other.records.open(address)
    await _alter(one, "UPDATE compartment SET state = 'suspended'")
    await other.look_at_keys()
    with pytest.raises(VaultError) as refused:
        record.values()
    assert refused.value.reason is Reason.KEYS_SUSPENDED
    assert await _refused(other, address) is Reason.KEYS_SUSPENDED
    await _alter(one, "UPDATE compartment SET state = 'serving'")
    await other.look_at_keys()
    assert record.values()


async def test_a_process_that_cannot_tell_serves_nothing_and_heals_by_itself(
    two: Processes, database_url: str, login_as: Callable[[str], Transit]
) -> None:
    one, _ = two
    address = await _register(one)
    async with serving_process(database_url, login_as(worker("accounts")), 0.2) as lagging:
        await lagging.establish()
        record = await lagging.records.open(address)
        await execute(one.database, "ALTER TABLE keyring RENAME TO keyring_away")
        try:
            await asyncio.sleep(0.25)
            assert await _refused(lagging, address) is Reason.KEYS_UNAVAILABLE
            with pytest.raises(VaultError) as refused:
                record.values()
            assert refused.value.reason is Reason.KEYS_UNAVAILABLE
        finally:
            await execute(one.database, "ALTER TABLE keyring_away RENAME TO keyring")
        assert (await lagging.records.open(address)).values()


async def test_a_key_that_was_destroyed_since_it_was_chosen_is_nobodys_error(
    database_url: str, login_as: Callable[[str], Transit], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a process that was stopped in between: it looks up anew, and plans its change anew."""
    somebody, newcomer = rotating.person(1), rotating.person(2)
    async with AsyncExitStack() as stack:
        transit = login_as(worker("accounts"))
        one, stopped = [
            await stack.enter_async_context(serving_process(database_url, transit, 3600.0))
            for _ in range(2)
        ]
        for served in (one, stopped):
            await served.establish()
        await rotating.register(one, somebody)
        await rotating.check(stopped, [somebody])
        for level in (Level.INDEX, Level.EPOCH):
            await rotating.start(one, level)
            await rotating.finish(one)
        index_names, latest = stopped.index_names, stopped.keyring.latest

        async def chosen_before(uid: int) -> Sequence[KeyName]:
            names = await index_names(uid)
            await stopped.look_at_keys()
            return names

        monkeypatch.setattr(stopped, "index_names", chosen_before)
        assert await rotating.find(stopped, somebody.email) == [somebody.address.pseudonym]
        chosen = [KEK1]
        monkeypatch.setattr(
            stopped.keyring, "latest", lambda *key: chosen.pop() if chosen else latest(*key)
        )
        with pytest.raises(KeysChangedError):
            await rotating.register(stopped, newcomer)
        await rotating.register(stopped, newcomer)
        await rotating.check(one, [somebody, newcomer])
