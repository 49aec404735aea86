"""A key that is drawn while others are wrapped anew, and older versions of the Transit key go."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from tests import rotating
from tests.database import rows
from tests.rotating import EMAIL, OFFICER, check, person, register
from tests.served import serving_process
from vault.dev import Running
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, WrappedKey, transit_version
from vault.keys.officer import TransitOfficer
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service.compartment import ServedCompartment
from vault.service.rotation import Level, begin
from vault.store import tables as t
from vault.store.lookups import Identity

SOMEBODY = person(1)
LEVELS = {
    "kek": (Level.KEK, KeyKind.KEK),
    "index": (Level.INDEX, KeyKind.INDEX),
    "audit": (Level.AUDIT, KeyKind.AUDIT),
    "epoch": (Level.EPOCH, KeyKind.KEK),
}


@pytest.fixture
async def served(
    sqlite_url: str, login_as: Callable[[str], Transit]
) -> AsyncIterator[ServedCompartment]:
    async with AsyncExitStack() as stack:
        transit = login_as(worker("accounts"))
        one = await stack.enter_async_context(serving_process(sqlite_url, transit, 3600.0))
        await one.establish()
        yield one


def trim_after_drawing(
    served: ServedCompartment, running: Running, monkeypatch: pytest.MonkeyPatch, times: int = 1
) -> list[str]:
    """Have an officer wrap all anew and trim, as soon as a key is drawn; return what was drawn."""
    officer, real, drawn = TransitOfficer(running.admin), served.keyring.new_key, []

    async def paused(name: KeyName) -> WrappedKey:
        key = await real(name)
        drawn.append(key.wrapped)
        if len(drawn) <= times:
            transit = served.keyring.transit_keys[name.kind is KeyKind.AUDIT]
            newest = officer.rotate(transit)
            await begin(served, OFFICER, Level.TRANSIT)
            await rotating.finish(served)
            officer.retire(transit, newest)
        return key

    monkeypatch.setattr(served.keyring, "new_key", paused)
    return drawn


@pytest.mark.parametrize(("level", "kind"), LEVELS.values(), ids=LEVELS)
async def test_it_is_drawn_anew(
    served: ServedCompartment,
    running: Running,
    monkeypatch: pytest.MonkeyPatch,
    level: Level,
    kind: KeyKind,
) -> None:
    await register(served, SOMEBODY)
    drawn = trim_after_drawing(served, running, monkeypatch)
    await rotating.start(served, level)
    assert len(drawn) == 2
    newest = served.keyring.versions(kind, EMAIL.uid if kind is KeyKind.INDEX else 0)[-1]
    assert (newest.name.version, newest.wrapped) == (2, drawn[1])
    served.keyring.evict()
    await register(served, person(2))
    await rotating.finish(served)
    served.keyring.evict()
    await check(served, [SOMEBODY, person(2)])


async def test_the_first_index_key_of_a_field_is_drawn_anew(
    served: ServedCompartment, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = trim_after_drawing(served, running, monkeypatch)
    (name,) = await served.index_names(EMAIL.uid)
    assert len(drawn) == 2
    served.keyring.evict()
    await served.keyring.get(name)
    await register(served, SOMEBODY)
    await check(served, [SOMEBODY])


async def test_it_is_not_drawn_for_ever(
    served: ServedCompartment, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was written, and everything goes on."""
    await register(served, person(2))
    drawn = trim_after_drawing(served, running, monkeypatch, times=99)
    with pytest.raises(VaultError, match="older version") as refused:
        await rotating.start(served, Level.KEK)
    assert refused.value.reason is Reason.KEYS_UNAVAILABLE
    assert len(drawn) == 5
    assert [key.name.version for key in served.keyring.versions(KeyKind.KEK)] == [1]
    served.keyring.evict()
    await register(served, SOMEBODY)


async def test_a_key_server_of_another_time_draws_no_key(
    served: ServedCompartment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was restored from a snapshot: the canary is of a version that it doesn't have."""
    await register(served, SOMEBODY)
    (own,) = await rows(served.database, t.compartment)
    version = transit_version(own.canary)
    ahead = own.canary.replace(f":v{version}:", f":v{version + 7}:")
    async with served.database.writes.begin() as connection:
        await connection.execute(t.compartment.update().values(canary=ahead))

    async def drawing(name: KeyName) -> WrappedKey:
        raise AssertionError("drawn")

    monkeypatch.setattr(served.keyring, "new_key", drawing)
    for level in (Level.KEK, Level.INDEX, Level.AUDIT):
        with pytest.raises(VaultError, match="canary") as refused:
            await rotating.start(served, level)
        assert refused.value.reason is Reason.DAMAGED


async def test_a_canary_that_is_wrapped_anew_meanwhile_is_read_again(
    served: ServedCompartment, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = served.lookups.identity
    stale: list[Identity] = []

    async def identity() -> Identity:
        own = await real()
        assert own is not None
        if not stale:
            stale.append(own)
            return replace(own, canary=own.canary[:-4] + "AAAA")
        return own

    monkeypatch.setattr(served.lookups, "identity", identity)
    await rotating.start(served, Level.KEK)
    assert stale
