"""The keyring's cache: how long a key serves, when it is asked for again, when no more."""

import asyncio

import pytest

from tests.keyrings import (
    FRESH,
    HARD,
    KEK,
    SECRET,
    SOFT,
    STALE,
    TOO_OLD,
    House,
    background,
    refused,
)
from vault.errors import Reason, VaultError
from vault.keys.errors import (
    KeyNotFound,
    KeyServerError,
    KeyServerForbidden,
    KeyServerUnavailable,
    WrappedKeyRejected,
)
from vault.keys.key import KeyKind, KeyName, KeyState, WrappedKey


async def test_a_key_is_unwrapped_once_and_served_from_memory() -> None:
    house = House()
    await house.aged(0)
    key = await house.ring.get(KEK)
    house.now += FRESH
    assert await house.ring.get(KEK) == key
    await background()
    assert house.asked == 1


async def test_all_who_meet_a_cold_cache_share_one_question() -> None:
    house = House()
    await house.hold(KEK)
    house.transit.may_answer.clear()
    waiting = [asyncio.create_task(house.ring.get(KEK)) for _ in range(50)]
    await asyncio.sleep(0)
    house.transit.may_answer.set()
    assert len(set(await asyncio.gather(*waiting))) == 1
    assert house.asked == 1


async def test_a_stale_key_serves_at_once_while_one_refresh_runs() -> None:
    house = House()
    await house.aged(STALE)
    house.transit.may_answer.clear()
    for _ in range(50):
        await house.ring.get(KEK)  # doesn't wait for the key server: that one is silent
    house.transit.may_answer.set()
    await background()
    assert house.asked == 2

    house.now += FRESH
    await house.ring.get(KEK)
    await background()
    assert house.asked == 2  # the refresh made it fresh again


async def test_an_unreachable_key_server_is_survived_up_to_the_hard_ttl() -> None:
    house = House()
    await house.aged(STALE)
    house.transit.failure = KeyServerUnavailable("sealed")
    while house.now <= HARD:
        await house.ring.get(KEK)
        await background()
        house.now += SOFT
    house.now = TOO_OLD
    assert await refused(house.ring.get(KEK)) is Reason.KEYS_UNAVAILABLE

    house.transit.failure = None
    assert (await house.ring.get(KEK)).startswith(SECRET)


async def test_the_hard_ttl_holds_whatever_the_soft_one_is() -> None:
    house = House(soft=2 * HARD)
    await house.aged(TOO_OLD)
    house.transit.failure = KeyServerUnavailable("sealed")
    assert await refused(house.ring.get(KEK)) is Reason.KEYS_UNAVAILABLE


async def test_a_key_that_is_too_old_is_asked_for_before_it_serves() -> None:
    house = House()
    await house.aged(TOO_OLD)
    house.transit.may_answer.clear()
    waiting = asyncio.create_task(house.ring.get(KEK))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    house.transit.may_answer.set()
    assert (await waiting).startswith(SECRET)
    assert house.asked == 2


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (KeyServerForbidden("this login may not"), Reason.KEYS_UNAVAILABLE),
        (WrappedKeyRejected("its version is gone"), Reason.DAMAGED),
        (KeyNotFound("no such key"), Reason.KEYS_UNAVAILABLE),
        (KeyServerError("refused as invalid"), Reason.KEYS_UNAVAILABLE),
    ],
    ids=["forbidden", "rejected", "no such key", "invalid"],
)
async def test_a_refusal_evicts_the_key_and_fails_closed(
    failure: KeyServerError, reason: Reason
) -> None:
    """The one that met the stale key is served; after the refusal nobody is."""
    house = House()
    await house.aged(STALE)
    house.transit.failure = failure
    await house.ring.get(KEK)
    await background()
    for _ in range(2):
        assert await refused(house.ring.get(KEK)) is reason
    house.transit.failure = KeyServerUnavailable("sealed")
    assert await refused(house.ring.get(KEK)) is Reason.KEYS_UNAVAILABLE


async def test_a_key_is_cached_by_its_version() -> None:
    """After a rotation the old version opens what it sealed, and the new one is another key."""
    house = House()
    names = [KeyName(KeyKind.KEK, 1), KeyName(KeyKind.KEK, 2)]
    await house.hold(*names)
    keys = [await house.ring.get(name) for name in names * 3]
    assert keys[0] != keys[1]
    assert keys == keys[:2] * 3
    assert house.asked == 2


async def test_each_kind_and_field_has_keys_of_its_own() -> None:
    house = House()
    names = [
        *(KeyName(kind) for kind in (KeyKind.KEK, KeyKind.AUDIT, KeyKind.LOOKUP)),
        *(KeyName(KeyKind.INDEX, field=uid) for uid in (4, 5)),
    ]
    await house.hold(*names)
    assert len({await house.ring.get(name) for name in names}) == 5


async def test_the_newest_version_is_chosen() -> None:
    house = House()
    kek, index = KeyKind.KEK, KeyKind.INDEX
    names = [KeyName(kek, 2), KeyName(kek, 10), KeyName(kek, 1), KeyName(index, 1, field=4)]
    await house.hold(*names)
    assert house.ring.latest(kek) == KeyName(kek, 10)
    assert house.ring.latest(index, 4) == names[-1]
    assert house.ring.latest(index, 5) is None
    assert house.ring.latest(KeyKind.AUDIT) is None


async def test_a_key_that_the_database_lacks_is_named_without_asking() -> None:
    house = House()
    await house.hold(KEK)
    with pytest.raises(VaultError, match="no kek key of version 2") as error:
        await house.ring.get(KeyName(KeyKind.KEK, 2))
    assert error.value.reason is Reason.DAMAGED
    assert house.asked == 0


async def test_a_wrapped_key_opens_under_its_own_name_alone() -> None:
    """Put under another kind, field, version or compartment, it is refused as damage."""
    house, names = House(), [KEK, KeyName(KeyKind.LOOKUP), KeyName(KeyKind.INDEX, field=4)]
    for name in names:
        row = await house.ring.new_key(name)
        assert row.state == KeyState.ACTIVE
        moved = [other for other in (*names, KeyName(KeyKind.KEK, 2)) if other != name]
        house.ring.hold([WrappedKey(other, row.state, row.wrapped) for other in moved])
        for other in moved:
            assert await refused(house.ring.get(other)) is Reason.DAMAGED
    elsewhere = House(house.transit, b"orders:   16 byt")
    elsewhere.ring.hold([await house.ring.new_key(KEK)])
    assert await refused(elsewhere.ring.get(KEK)) is Reason.DAMAGED


async def test_evicting_forgets_all_keys() -> None:
    house = House()
    await house.aged(0)
    house.ring.evict()
    await house.ring.get(KEK)
    assert house.asked == 2


async def test_a_key_on_its_way_while_all_are_evicted_is_not_kept() -> None:
    """Else one would stay that was asked for before a rotation, say. Its waiter gets it, though."""
    house = House()
    await house.hold(KEK)
    house.transit.may_answer.clear()
    waiting = asyncio.create_task(house.ring.get(KEK))
    await asyncio.sleep(0)
    house.ring.evict()
    house.transit.may_answer.set()
    key = await waiting
    assert await house.ring.get(KEK) == key
    assert house.asked == 2


async def test_who_comes_after_an_eviction_asks_anew() -> None:
    house = House()
    await house.hold(KEK)
    house.transit.may_answer.clear()
    before = asyncio.create_task(house.ring.get(KEK))
    await asyncio.sleep(0)
    house.ring.evict()
    after = asyncio.create_task(house.ring.get(KEK))
    await asyncio.sleep(0)
    house.transit.may_answer.set()
    assert await before == await after == await house.ring.get(KEK)
    assert house.asked == 2


async def test_one_who_stops_waiting_takes_the_key_from_nobody() -> None:
    house = House()
    await house.hold(KEK)
    house.transit.may_answer.clear()
    gone, waiting = (asyncio.create_task(house.ring.get(KEK)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    house.transit.may_answer.set()
    assert (await waiting).startswith(SECRET)
    assert gone.cancelled()
    assert house.asked == 1
