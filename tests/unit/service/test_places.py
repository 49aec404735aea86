"""Places: how many there are, for whom, and that they come back."""

from contextlib import ExitStack
from dataclasses import replace

import pytest

from tests.house import POLICY
from vault.errors import Reason, VaultError
from vault.policy import Service, compile_edition
from vault.service.places import RETRY_AFTER, Places

EDITION = compile_edition(POLICY.read_text(encoding="utf-8"))
ORDERS, PORTAL = EDITION.services["orders"], EDITION.services["portal"]
OFFICER = None


@pytest.mark.parametrize(
    ("most", "service", "taken"),
    [(8, ORDERS, 8), (8, PORTAL, 9), (1, PORTAL, 2), (512, PORTAL, 576)],
    ids=["a service", "for the subject", "one more at least", "an eighth more"],
)
def test_so_many_are_taken_at_once(most: int, service: Service, taken: int) -> None:
    places = Places(most)
    with ExitStack() as stack:
        for _ in range(taken):
            stack.enter_context(places.take(service))
        with pytest.raises(VaultError) as caught, places.take(service):
            raise AssertionError("taken")
        assert caught.value.reason is Reason.OVERLOADED
        assert RETRY_AFTER <= (caught.value.retry_after or 0) <= 2 * RETRY_AFTER
        assert places.wait(service) > 0
    assert places.wait(service, taken) == 0


def test_officers_always_find_one_and_take_nobodys() -> None:
    places = Places(1)
    with places.take(OFFICER), places.take(OFFICER), places.take(ORDERS), places.take(PORTAL):
        assert places.wait(OFFICER) == 0


def test_whoever_fails_gives_it_back() -> None:
    places = Places(1)
    with pytest.raises(KeyError), places.take(ORDERS):
        raise KeyError
    assert places.wait(ORDERS) == 0


def test_room_for_several_is_for_all_of_them() -> None:
    places = Places(3)
    with places.take(replace(ORDERS, name="another")):
        places.check(ORDERS, 2)
        with pytest.raises(VaultError):
            places.check(ORDERS, 3)
