"""A record's life: consent given, withdrawn and given again; erased; begun anew."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import piivault
import pytest
from piivault import errors
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.house import House
from tests.people import Registered
from tests.wire import PATIENCE
from vault.errors import Reason

READERS = 6
ROUNDS = 3
AFTERWARDS = 5  # reveals of each reader that begin after the withdrawal


def test_what_rests_on_consent_stays_closed_without_it(house: House) -> None:
    """Other purposes are as open as they were, and consenting later opens it."""
    person = house.register(consents=["account"])
    with pytest.raises(errors.ConsentRequired, match="Ask the subject, with the notice"):
        house.phone_of(person)
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.reveal(person.pseudonym, ["city"]).present("city") is False
    person.subject.grant("accounts", house.consents("accounts", ["services"]))
    assert house.phone_of(person) == person.values["phone"]


def test_consent_can_be_withdrawn_and_given_again(house: House) -> None:
    person = house.register()
    person.subject.withdraw("accounts", ["services"])
    with pytest.raises(errors.ConsentRequired):
        house.phone_of(person)
    states = {c.purpose: c for c in person.subject.view("accounts").consents}
    assert [states["services"].stands, states["account"].stands] == [False, True]
    person.subject.grant("accounts", house.consents("accounts", ["services"]))
    assert house.phone_of(person) == person.values["phone"]


CONSENTS: dict[str, tuple[Callable[[Registered], Any], Reason]] = {
    "withdrawing from nothing": (
        lambda p: subjects.WithdrawConsentRequest(), Reason.MALFORMED_REQUEST),
    "withdrawing from an unknown purpose": (
        lambda p: subjects.WithdrawConsentRequest(purposes=["services", "шаар"]),
        Reason.UNKNOWN_PURPOSE),
    "consenting to nothing": (
        lambda p: subjects.GrantConsentRequest(), Reason.MALFORMED_REQUEST),
    "consenting to a text never shown": (
        lambda p: subjects.GrantConsentRequest(
            consents=[types_pb2.Consent(purpose="services", edition=1, language="ky")]),
        Reason.NOTICE_MISMATCH),
}  # fmt: skip


@pytest.mark.parametrize(("make", "reason"), CONSENTS.values(), ids=CONSENTS)
def test_a_bad_consent_changes_nothing(
    house: House, make: Callable[[Registered], Any], reason: Reason
) -> None:
    person = house.register()
    request = make(person)
    request.compartment, request.capability = "accounts", person.capability
    assert house.refused("portal", request).reason == reason
    assert person.subject.view("accounts").etag == person.etag
    assert house.phone_of(person) == person.values["phone"]


def test_no_reveal_that_begins_after_a_withdrawal_sees_the_value(house: House) -> None:
    """Many readers, all the time: whoever begins after the answer to the portal is refused."""
    accounts = house.client("orders").compartment("accounts", purpose="services")

    def read(pseudonym: str, withdrawn: Event) -> list[bool]:
        """Reveal until the withdrawal, and some more; return what was seen after it."""
        seen: list[bool] = []
        while len(seen) < AFTERWARDS:
            began_after = withdrawn.is_set()
            try:
                accounts.reveal(pseudonym, ["phone"])
                saw = True
            except errors.ConsentRequired:
                saw = False
            if began_after:
                seen.append(saw)
        return seen

    with ThreadPoolExecutor(READERS) as pool:
        for _ in range(ROUNDS):
            person, withdrawn = house.register(), Event()
            readers = [pool.submit(read, person.pseudonym, withdrawn) for _ in range(READERS)]
            person.subject.withdraw("accounts", ["services"])
            withdrawn.set()
            seen = itertools.chain.from_iterable(r.result(PATIENCE) for r in readers)
            assert list(seen) == [False] * AFTERWARDS * READERS


def test_what_is_erased_is_gone_and_services_are_told(house: House) -> None:
    """In that compartment alone; asking again tells the same, and erasing again is no fault."""
    person = house.register()
    order = house.register("orders", root=person.root)
    person.subject.erase("accounts")
    for _ in range(2):
        with pytest.raises(errors.Erased, match="erased their data"):
            house.phone_of(person)
        with pytest.raises(errors.Erased):
            person.subject.view("accounts")
        person.subject.erase("accounts")
    assert order.subject.view("orders").etag == order.etag
    for table in ("records", "data_keys", "blind_index"):
        assert not house.rows_of("accounts", table, person.pseudonym)


def test_who_never_registered_has_nothing_to_erase(house: House) -> None:
    with pytest.raises(errors.NotFound) as caught:
        house.client("portal").subject(piivault.new_root()).erase("accounts")
    assert caught.value.reason == Reason.NOT_FOUND


def test_a_new_record_after_an_erasure_takes_a_new_consent(house: House) -> None:
    """Without one the erasure stands; with one it starts anew, and nothing old comes back."""
    person = house.register(city="Ош", position="Наабайчы")
    person.subject.erase("accounts")
    without = house.registration(root=person.root)
    assert house.refused("portal", without).reason == Reason.ERASED
    anew = house.register(root=person.root, consents=["services"], city="Өзгөн")
    assert anew.pseudonym == person.pseudonym
    view = anew.subject.view("accounts")
    assert {n: v.expose() for n, v in view.items() if v is not None} == anew.values
    assert [consent.purpose for consent in view.consents] == ["services"]
    assert view.etag != person.etag
    support = house.client("support").compartment("accounts", purpose="account")
    with pytest.raises(errors.ConsentRequired):
        support.reveal(person.pseudonym, ["first_name"])


def test_a_unique_value_is_free_again_after_a_change_and_after_an_erasure(house: House) -> None:
    first = house.register()
    email = first.values["email"]
    first.subject.put("accounts", {"email": f"new-{email}"})
    second = house.register(email=email)
    with pytest.raises(errors.ValueTaken):
        first.subject.put("accounts", {"email": email})
    second.subject.erase("accounts")
    first.subject.put("accounts", {"email": email})
    found = house.client("support").compartment("accounts", purpose="account").find(email=email)
    assert found == first.pseudonym
