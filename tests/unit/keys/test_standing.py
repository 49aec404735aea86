"""What the database says of keys: adopted whole, never older than before, and not for ever."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from tests.keyrings import KEK, House, background, refused
from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerUnavailable, WrappedKeyRejected
from vault.keys.key import KeyKind, KeyName, KeyState, Standing, WrappedKey

BOUND = 10.0
KEK2 = KeyName(KeyKind.KEK, 2)
AUDIT = KeyName(KeyKind.AUDIT)


@dataclass(slots=True)
class Database:
    """What it says; `away` raises instead."""

    house: House
    rows: list[WrappedKey] = field(default_factory=list)
    epoch: int = 1
    suspended: bool = False
    evicted: int = 0
    away: bool = False
    looks: int = 0

    async def look(self, known: Standing) -> None:
        self.looks += 1
        at = self.house.now
        await asyncio.sleep(0)
        if self.away:
            raise VaultError(Reason.STORAGE_UNAVAILABLE, "It can't be asked.")
        said = Standing(self.epoch, self.suspended, tuple(self.rows), at, self.evicted)
        self.house.ring.adopt(said)

    async def poll(self) -> None:
        await self.look(self.house.ring.standing)


async def watched(*names: KeyName) -> tuple[House, Database]:
    """A keyring that holds these keys, in clear, and the database that it watches."""
    house = House()
    database = Database(house, [await house.ring.new_key(name) for name in names or (KEK,)])
    house.ring.watch(database.look, BOUND)
    await database.poll()
    for name in names or (KEK,):
        await house.ring.get(name)
    return house, database


async def test_up_to_the_bound_nobody_looks_and_at_it_who_asks_does() -> None:
    house, database = await watched()
    house.now += BOUND - 0.1
    await house.ring.get(KEK)
    assert database.looks == 1
    house.now += 0.1
    await house.ring.get(KEK)
    assert database.looks == 2
    assert house.asked == 1  # the key itself is still in memory: nothing changed


async def test_a_keyring_that_cannot_tell_serves_nothing_until_it_can() -> None:
    house, database = await watched(KEK, AUDIT)
    database.away = True
    house.now += BOUND
    for name in (KEK, AUDIT):
        assert await refused(house.ring.get(name)) is Reason.KEYS_UNAVAILABLE
        with pytest.raises(VaultError, match="couldn't read for too long"):
            house.ring.check(name)
    database.away = False
    assert await house.ring.get(KEK)
    house.ring.check(KEK)


async def test_a_look_counts_from_when_it_began() -> None:
    """What it found may have changed while it was on its way."""
    house, database = await watched()
    house.now += 1
    looking = asyncio.create_task(database.poll())
    await asyncio.sleep(0)
    house.now += BOUND
    await looking
    assert not house.ring.is_current


EPOCHS: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    # what becomes of the row, of all else that the database says, and whether the key stays
    "nothing of this key": ({}, {"epoch": 2}, True),
    "it writes no more": ({"state": KeyState.DECRYPT_ONLY}, {"epoch": 2}, True),
    "its index was switched to": ({"state": KeyState.BUILDING}, {"epoch": 2}, True),
    "suspended": ({"state": KeyState.SUSPENDED}, {"epoch": 2}, False),
    "destroyed": ({"state": KeyState.DESTROYED, "wrapped": ""}, {"epoch": 2}, False),
    "a state that nobody knows": ({"state": "resting"}, {"epoch": 2}, False),
    "another key in its row": ({"wrapped": "vault:v1:other"}, {"epoch": 2}, False),
    "the compartment was suspended": ({}, {"epoch": 2, "suspended": True}, False),
    "evicted": ({}, {"epoch": 2, "evicted": 2}, False),
    "evicted, and more since": ({}, {"epoch": 5, "evicted": 3}, False),
    "restored to before an eviction": ({}, {"epoch": 1, "evicted": 7}, False),
}


@pytest.mark.parametrize(("row", "says", "stays"), EPOCHS.values(), ids=EPOCHS)
async def test_another_epoch_forgets_what_may_serve_no_more(
    row: dict[str, Any], says: dict[str, Any], *, stays: bool
) -> None:
    """The rest needs no key server, which may be away just then."""
    house, database = await watched()
    (before,) = database.rows
    database.rows = [replace(before, **row)]
    for name, value in says.items():
        setattr(database, name, value)
    await database.poll()
    assert house.ring.epoch == database.epoch
    database.rows, database.suspended, database.epoch = [before], False, database.epoch + 1
    await database.poll()  # all is as it was: what was forgotten is asked for anew
    house.transit.failure = KeyServerUnavailable("sealed")
    if stays:
        assert await house.ring.get(KEK)
        assert house.asked == 1
    else:
        assert await refused(house.ring.get(KEK)) is Reason.KEYS_UNAVAILABLE


async def test_a_suspended_compartment_keeps_the_key_of_its_trail() -> None:
    """The trail goes on while the key server is away."""
    house, database = await watched(KEK, AUDIT)
    database.epoch, database.suspended = 2, True
    await database.poll()
    house.transit.failure = KeyServerUnavailable("sealed")
    assert await house.ring.get(AUDIT)
    assert house.asked == 2


async def test_a_key_on_its_way_when_an_epoch_begins_is_not_kept() -> None:
    """It was asked for by what the database said before."""
    house, database = await watched()
    house.ring.evict()
    house.transit.may_answer.clear()
    waiting = asyncio.create_task(house.ring.get(KEK))
    await asyncio.sleep(0)
    database.epoch = 2
    await database.poll()
    house.transit.may_answer.set()
    assert await waiting == await house.ring.get(KEK)
    assert house.asked == 3


async def test_a_look_that_was_overtaken_is_not_adopted() -> None:
    house, database = await watched()
    old = house.ring.standing
    house.now += 1
    database.epoch, database.suspended = 2, True
    await database.poll()
    house.ring.adopt(old)
    assert (house.ring.epoch, house.ring.suspended) == (2, True)


async def test_a_suspended_compartment_has_the_keys_of_its_trail_alone() -> None:
    house, database = await watched(KEK, AUDIT)
    database.epoch, database.suspended = 2, True
    await database.poll()
    assert await refused(house.ring.get(KEK)) is Reason.KEYS_SUSPENDED
    assert await house.ring.get(AUDIT)
    database.epoch, database.suspended = 3, False
    await database.poll()
    assert await house.ring.get(KEK)


async def test_a_key_on_its_way_while_it_is_suspended_reaches_nobody() -> None:
    house, database = await watched()
    house.ring.evict()
    house.transit.may_answer.clear()
    waiting = asyncio.create_task(house.ring.get(KEK))
    await asyncio.sleep(0)
    database.epoch, database.suspended = 2, True
    await database.poll()
    house.transit.may_answer.set()
    assert await refused(waiting) is Reason.KEYS_SUSPENDED
    await background()


async def test_a_version_that_nobody_heard_of_is_looked_for() -> None:
    house, database = await watched()
    database.rows.append(await house.ring.new_key(KEK2))
    assert await house.ring.get(KEK2)
    assert database.looks == 2
    assert await refused(house.ring.get(KeyName(KeyKind.KEK, 3))) is Reason.DAMAGED


async def test_a_wrapped_key_that_is_refused_is_looked_at_anew_once() -> None:
    house, database = await watched()
    anew = await house.ring.new_key(KEK)
    database.rows = [anew]
    house.ring.evict()
    opened = house.transit.opened
    old = house.ring.standing.keys[0].wrapped
    opened[old] = ("", b"", b"")  # the key server lets go of the version that wrapped it
    assert await house.ring.get(KEK)
    house.ring.evict()
    house.transit.failure = WrappedKeyRejected("its version is gone")
    assert await refused(house.ring.get(KEK)) is Reason.DAMAGED


async def test_the_last_use_is_known_of_keys_that_were_used() -> None:
    house, _ = await watched()
    assert house.ring.last_use(KEK) > 0
    assert house.ring.last_use(KEK2) == 0


WRITES: dict[str, tuple[tuple[KeyState, ...], int | None]] = {
    "the newest": ((KeyState.ACTIVE, KeyState.ACTIVE), 2),
    "the newest active one": ((KeyState.ACTIVE, KeyState.SUSPENDED), 1),
    "none that only reads": ((KeyState.DECRYPT_ONLY, KeyState.SUSPENDED), None),
    "none that is gone": ((KeyState.DESTROYED,), None),
    "none of none": ((), None),
}


@pytest.mark.parametrize(("states", "version"), WRITES.values(), ids=WRITES)
def test_which_version_writes(states: tuple[KeyState, ...], version: int | None) -> None:
    names = [KeyName(KeyKind.KEK, n) for n in range(1, len(states) + 1)]
    rows = [WrappedKey(n, state, "wrapped") for n, state in zip(names, states, strict=True)]
    ring = House().ring
    ring.hold([*reversed(rows), WrappedKey(AUDIT, KeyState.ACTIVE, "wrapped")])
    found = ring.latest(KeyKind.KEK)
    assert (found.version if found else None) == version
    assert list(ring.versions(KeyKind.KEK)) == rows


async def test_a_state_that_nobody_knows_serves_nothing() -> None:
    """A newer release may have written it."""
    house, database = await watched()
    database.rows = [replace(database.rows[0], state="resting")]
    await database.poll()
    assert await refused(house.ring.get(KEK)) is Reason.KEYS_SUSPENDED
