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
SUPPORT = EDITION.services["support"]
CABINET = replace(PORTAL, name="cabinet")
OFFICER = None

ALL, OWN = "All places are taken", "all the places that one service may"


def _held(stack: ExitStack, places: Places, *services: Service) -> None:
    for service in services:
        stack.enter_context(places.take(service))


TAKEN: dict[str, tuple[int, list[Service], Service, int, str]] = {
    # most, taken by, by whom then, how many, and what the next one hears
    "one service alone": (8, [], ORDERS, 6, OWN),
    "rounded down": (7, [], ORDERS, 5, OWN),
    "of one place": (1, [], ORDERS, 1, ALL),
    "of two places": (2, [], ORDERS, 1, OWN),
    "the default": (512, [], ORDERS, 384, OWN),
    "beside a flood": (8, [ORDERS] * 6, SUPPORT, 2, ALL),
    "beside a small one": (8, [ORDERS], SUPPORT, 6, OWN),
    "all taken, by others": (8, [ORDERS] * 6 + [SUPPORT] * 2, ORDERS, 0, ALL),
    "for the subject, alone": (8, [], PORTAL, 6, OWN),
    "for the subject, beside those who read": (8, [ORDERS] * 6 + [SUPPORT] * 2, PORTAL, 1, ALL),
    "an eighth more": (512, [ORDERS] * 384 + [SUPPORT] * 128, PORTAL, 64, ALL),
    "for the subject, beside a flood for another": (8, [PORTAL] * 6, CABINET, 3, ALL),
    "one more at least": (1, [ORDERS], PORTAL, 1, ALL),
}


@pytest.mark.parametrize(("most", "others", "service", "taken", "says"), TAKEN.values(), ids=TAKEN)
def test_so_many_are_taken_at_once_and_the_next_hears_why(
    most: int, others: list[Service], service: Service, taken: int, says: str
) -> None:
    places = Places(most)
    with ExitStack() as stack:
        _held(stack, places, *others, *[service] * taken)
        with pytest.raises(VaultError, match=says) as caught, places.take(service):
            raise AssertionError("taken")
        assert caught.value.reason is Reason.OVERLOADED
        assert RETRY_AFTER <= (caught.value.retry_after or 0) <= 2 * RETRY_AFTER
        assert places.free(service) == 0
    assert places.free(ORDERS) == max(1, most * 3 // 4)  # all came back


FREE: dict[str, tuple[int, list[Service], Service, int]] = {
    # most, taken by, and how many another service may take then
    "one service alone": (8, [], ORDERS, 6),
    "that has some": (8, [ORDERS] * 4, ORDERS, 2),
    "beside a flood": (8, [ORDERS] * 6, SUPPORT, 2),
    "for the subject": (8, [ORDERS] * 6, PORTAL, 3),
    "none": (8, [ORDERS] * 6 + [SUPPORT] * 2, SUPPORT, 0),
    "fewer than none": (1, [ORDERS, PORTAL], SUPPORT, 0),
}


@pytest.mark.parametrize(("most", "others", "service", "free"), FREE.values(), ids=FREE)
def test_whoever_takes_several_knows_how_many_there_are(
    most: int, others: list[Service], service: Service, free: int
) -> None:
    places = Places(most)
    with ExitStack() as stack:
        _held(stack, places, *others)
        assert places.free(service) == free
        if free:
            stack.enter_context(places.take(service, free))
        with pytest.raises(VaultError):
            places.check(service)


def test_officers_always_find_one_and_take_nobodys() -> None:
    places = Places(1)
    with places.take(OFFICER), places.take(OFFICER), places.take(ORDERS), places.take(PORTAL):
        places.check(OFFICER)


def test_whoever_fails_gives_it_back() -> None:
    places = Places(1)
    with pytest.raises(KeyError), places.take(ORDERS):
        raise KeyError
    assert places.free(ORDERS) == 1


def test_room_for_several_is_for_all_of_them() -> None:
    places = Places(4)
    with places.take(SUPPORT, 2):
        places.check(ORDERS, 2)
        with pytest.raises(VaultError, match=ALL), places.take(ORDERS, 3):
            raise AssertionError("taken")
        with places.take(ORDERS, 2), pytest.raises(VaultError, match=ALL):
            places.check(PORTAL, 2)
    with pytest.raises(VaultError, match=OWN):
        places.check(ORDERS, 4)
