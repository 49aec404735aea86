"""The canary: is this the key server that wrote the data? And nothing secret is shown."""

import logging

import pytest

from tests.keyrings import KEK, SECRET, STALE, FakeTransit, House, background, refused
from vault.errors import Reason, VaultError
from vault.keys.errors import (
    KeyServerUnavailable,
    WrappedKeyRejected,
)
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import WrongKeyServerError


async def test_the_key_server_that_wrote_the_canary_is_recognised() -> None:
    house = House()
    await house.ring.check_canary(await house.ring.new_canary())


async def test_any_other_key_server_is_refused() -> None:
    """Another server, another compartment's canary, or a ciphertext that isn't the canary."""
    house, other = House(), House(FakeTransit("other"))
    elsewhere = House(house.transit, b"orders:   16 byt")
    wrapped = await house.ring.new_key(KEK)
    for canary in (await other.ring.new_canary(), await elsewhere.ring.new_canary(), "", "x"):
        with pytest.raises(WrongKeyServerError, match="piivault-accounts"):
            await house.ring.check_canary(canary)
    with pytest.raises(WrongKeyServerError):
        await house.ring.check_canary(wrapped.wrapped)


async def test_an_unreachable_key_server_is_not_called_the_wrong_one() -> None:
    house = House()
    canary = await house.ring.new_canary()
    house.transit.failure = KeyServerUnavailable("sealed")
    assert await refused(house.ring.check_canary(canary)) is Reason.KEYS_UNAVAILABLE
    assert await refused(house.ring.new_canary()) is Reason.KEYS_UNAVAILABLE
    assert await refused(house.ring.new_key(KEK)) is Reason.KEYS_UNAVAILABLE


async def test_nothing_secret_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither keys nor what wraps them, in repr, in errors or in the log."""
    house = House()
    with caplog.at_level(logging.DEBUG):
        await house.aged(STALE)
        holding = repr((vars(house.ring), vars(house.ring._cache)))
        row = await house.ring.new_key(KeyName(KeyKind.KEK, 2))
        house.transit.failure = WrappedKeyRejected("unwrap a key: wrong context")
        await house.ring.get(KEK)
        await background()
        with pytest.raises(VaultError) as error:
            await house.ring.get(KEK)
    assert "_Cached" in holding
    for text in (holding, repr(row), str(error.value), repr(error.value), caplog.text):
        assert SECRET.decode() not in text
        assert "vault:v1" not in text
    assert "wrong context" in caplog.text
