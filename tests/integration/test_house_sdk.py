"""What the SDK raises for each way in which the server refuses a request."""

from collections.abc import Callable
from typing import Any

import piivault
import pytest
from piivault import PiivaultError, errors

from tests.house import House
from tests.people import Registered, new_values

KIB = 1024

Call = Callable[[House, Registered], object]


def _accounts(house: House, service: str = "orders", purpose: str = "services") -> Any:
    return house.client(service).compartment("accounts", purpose=purpose)


REFUSALS: dict[str, tuple[Call, type[PiivaultError]]] = {
    "an unknown compartment": (
        lambda h, p: h.client("orders").compartment("шаар", purpose="services").describe(),
        errors.UnknownName),
    "an unknown purpose": (
        lambda h, p: _accounts(h, purpose="шаар").reveal(p.pseudonym, ["phone"]),
        errors.UnknownName),
    "an unknown field": (
        lambda h, p: _accounts(h).reveal(p.pseudonym, ["шаар"]), errors.UnknownName),
    "no field": (lambda h, p: _accounts(h).reveal(p.pseudonym, []), errors.InvalidRequest),
    "a field beyond the purpose": (
        lambda h, p: _accounts(h).reveal(p.pseudonym, ["email"]), errors.FieldBeyondPurpose),
    "no grant": (
        lambda h, p: _accounts(h, purpose="account").reveal(p.pseudonym, ["email"]),
        errors.NotGranted),
    "no pseudonym": (
        lambda h, p: _accounts(h).reveal("aigul", ["phone"]), errors.MalformedPseudonym),
    "another's pseudonym": (
        lambda h, p: _accounts(h).reveal(h.issue(p.root, "orders").pseudonym, ["phone"]),
        errors.NotFound),
    "no consent": (
        lambda h, p: _accounts(h, "newsletter", "newsletter").reveal(p.pseudonym, ["email"]),
        errors.ConsentRequired),
    "an empty value": (
        lambda h, p: p.subject.put("accounts", {"city": ""}), errors.InvalidValue),
    "a value of another form": (
        lambda h, p: p.subject.put("accounts", {"email": "жок"}), errors.InvalidValue),
    "a value that is no text": (
        lambda h, p: p.subject.put("accounts", {"city": 723500}),  # type: ignore[dict-item]
        errors.InvalidValue),
    "a value that isn't UTF-8": (
        lambda h, p: p.subject.put("accounts", {"city": "Ош\ud800"}), errors.InvalidValue),
    "a value above 64 KiB": (
        lambda h, p: p.subject.put("accounts", {"city": "ө" * (32 * KIB + 1)}), errors.TooLarge),
    "registered already": (
        lambda h, p: p.subject.register("accounts", new_values("accounts")),
        errors.AlreadyRegistered),
    "an e-mail address that is taken": (
        lambda h, p: h.register(email=p.values["email"]), errors.ValueTaken),
    "an old version": (
        lambda h, p: p.subject.put("accounts", {"city": "Ош"}, etag="old"), errors.StaleEtag),
    "a text never shown": (
        lambda h, p: p.subject.grant(
            "accounts", [piivault.Consent("services", 1, "ky", bytes(32))]),
        errors.NoticeMismatch),
    "nobody to erase": (
        lambda h, p: h.client("portal").subject(piivault.new_root()).erase("accounts"),
        errors.NotFound),
    "a request id that is none": (
        lambda h, p: p.subject.put("accounts", {"city": "Ош"}, request_id="aigul"),
        errors.InvalidRequest),
}  # fmt: skip


@pytest.fixture(scope="module")
def person(house: House) -> Registered:
    return house.register(consents=["services", "account"])


@pytest.mark.parametrize(("call", "error"), REFUSALS.values(), ids=REFUSALS)
def test_each_refusal_is_an_exception_of_its_own(
    house: House, person: Registered, call: Call, error: type[PiivaultError]
) -> None:
    """With a reason and a sentence, not retryable, and without a value; nothing is changed."""
    with pytest.raises(error) as caught:
        call(house, person)
    refusal = caught.value
    assert type(refusal) is error
    assert refusal.message.endswith(".")
    assert not refusal.retryable
    told = f"{refusal} {refusal!r}"
    assert not [value for value in (*person.values.values(), "aigul") if value in told]
    view = person.subject.view("accounts")
    assert view.etag == person.etag
    assert {n: v.expose() for n, v in view.items() if v is not None} == person.values


def test_an_erased_subject_is_told_from_one_that_never_was(house: House) -> None:
    person = house.register()
    person.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        _accounts(house).reveal(person.pseudonym, ["phone"])


def test_a_violation_names_the_field(house: House, person: Registered) -> None:
    with pytest.raises(errors.InvalidValue) as caught:
        person.subject.put("accounts", {"email": "жок", "phone": "жок"})
    assert caught.value.violations.keys() == {"fields.email", "fields.phone"}
    assert caught.value.request_id in str(caught.value)


def test_what_is_sent_above_4_mib_does_not_arrive(house: House, person: Registered) -> None:
    """Nothing of ours is reached; the caller hears of the size."""
    with pytest.raises(errors.InvalidRequest):
        person.subject.put("accounts", {"city": "ө" * (2048 * KIB + 1)})


async def test_the_asynchronous_client_raises_the_same(house: House, person: Registered) -> None:
    environment = {**house.environment("orders"), "PIIVAULT_TIMEOUT": "30"}
    async with piivault.AsyncClient.from_env(environment) as client:
        accounts = client.compartment("accounts", purpose="services")
        got = await accounts.reveal(person.pseudonym, ["phone"])
        assert got["phone"].expose() == person.values["phone"]
        with pytest.raises(errors.FieldBeyondPurpose):
            await accounts.reveal(person.pseudonym, ["email"])
