"""Reveal, one and many, and Describe: what a purpose sees, in the form that it sees it in."""

import piivault
import pytest
from piivault import Form, errors
from piivault.v1 import record_service_pb2 as pb

from tests.house import House
from tests.people import Registered
from vault.errors import Reason

ASKED = ("phone", "last_name", "email", "city", "position")


@pytest.fixture(scope="module")
def person(house: House) -> Registered:
    return house.register(last_name="Токтогулова", phone="+996 555 123456", city="Ош")


def test_each_field_comes_in_the_form_of_the_purpose(house: House, person: Registered) -> None:
    """In the order asked; what is only present, or isn't held, has no value."""
    support = house.client("support").compartment("accounts", purpose="account")
    got = support.reveal(person.pseudonym, ASKED)
    assert {name: value.expose() for name, value in got.items()} == {
        "phone": "***56",
        "last_name": "Токтогулова",
        "email": "a***@***.kg",
    }
    assert list(got.forms.items()) == [
        ("phone", Form.MASKED),
        ("last_name", Form.PLAIN),
        ("email", Form.MASKED),
        ("city", Form.PRESENT),
        ("position", Form.PRESENT),
    ]
    assert [got.present(name) for name in ASKED] == [True, True, True, True, False]
    assert (got.etag, got.edition) == ("", 1)  # support may not write here


def test_purposes_of_one_compartment_see_different_things(house: House, person: Registered) -> None:
    newsletter = house.client("newsletter").compartment("accounts", purpose="newsletter")
    got = newsletter.reveal(person.pseudonym, ["email"])
    assert got["email"].expose() == person.values["email"]
    with pytest.raises(errors.FieldBeyondPurpose):
        newsletter.reveal(person.pseudonym, ["email", "phone"])
    with pytest.raises(errors.NotGranted):
        house.client("newsletter").compartment("accounts", purpose="account").reveal(
            person.pseudonym, ["email"]
        )


def _batch(pseudonyms: list[str], *fields: str) -> pb.BatchRevealRequest:
    return pb.BatchRevealRequest(
        compartment="accounts", purpose="services", pseudonyms=pseudonyms, fields=fields
    )


def test_each_record_of_a_batch_succeeds_or_fails_by_itself(house: House) -> None:
    good, other = house.register(), house.register()
    unconsented, erased = house.register(consents=["account"]), house.register()
    erased.subject.erase("accounts")
    foreign = house.issue(good.root, "orders").pseudonym
    asked = {
        good.pseudonym: "",
        "no pseudonym": "MALFORMED_PSEUDONYM",
        unconsented.pseudonym: "CONSENT_REQUIRED",
        erased.pseudonym: "ERASED",
        foreign: "NOT_FOUND",
        other.pseudonym: "",
    }
    accounts = house.client("orders").compartment("accounts", purpose="services")
    items = list(accounts.reveal_many([*asked, good.pseudonym], ["phone"], batch_size=4))
    assert [item.pseudonym for item in items] == [*asked, good.pseudonym]
    assert [item.error.reason if item.error else "" for item in items] == [*asked.values(), ""]
    assert not [item for item in items if item.error and item.error.retryable]
    phones = [item["phone"].expose() for item in items if item.record]
    assert phones == [good.values["phone"], other.values["phone"], good.values["phone"]]
    with pytest.raises(errors.ConsentRequired):
        items[2].unwrap()


def test_an_item_says_what_the_single_call_says(house: House) -> None:
    """The same reason and the same sentence, and no pseudonym in it."""
    person = house.register(consents=["account"])
    whole = house.ask("orders", _batch([person.pseudonym], "phone"))
    single = house.refused(
        "orders",
        pb.RevealRequest(
            compartment="accounts",
            purpose="services",
            pseudonym=person.pseudonym,
            fields=["phone"],
        ),
    )
    error = whole.results[0].error
    assert (error.message, error.retryable) == (single.message, False)
    assert person.pseudonym not in str(whole)


@pytest.mark.parametrize("count", [0, 201, 5000])
def test_a_batch_has_1_to_200_pseudonyms(house: House, person: Registered, count: int) -> None:
    refusal = house.refused("orders", _batch([person.pseudonym] * count, "phone"))
    assert refusal.reason == Reason.MALFORMED_REQUEST
    assert refusal.violations == {"pseudonyms": "must be 1 to 200"}


def test_a_batch_of_200_is_answered(house: House, person: Registered) -> None:
    answer = house.ask("orders", _batch([person.pseudonym] * 200, "phone"))
    phones = {result.record.fields[0].value for result in answer.results}
    assert (len(answer.results), phones) == (200, {person.values["phone"]})


def test_a_batch_that_the_edition_denies_is_denied_whole(house: House, person: Registered) -> None:
    refusal = house.refused("orders", _batch([person.pseudonym, "no pseudonym"], "phone", "email"))
    assert refusal.reason == Reason.FIELD_BEYOND_PURPOSE


def test_the_sdk_takes_batches_that_fit(house: House, person: Registered) -> None:
    accounts = house.client("orders").compartment("accounts", purpose="services")
    items = accounts.reveal_many([person.pseudonym] * 450, ["phone"])
    assert {item["phone"].expose() for item in items} == {person.values["phone"]}
    with pytest.raises(errors.InvalidRequest):
        list(accounts.reveal_many([person.pseudonym], ["phone"], batch_size=201))


def test_describe_says_what_may_be_done(house: House) -> None:
    support = house.client("support").compartment("accounts", purpose="account").describe()
    assert support.edition == 1
    assert support.operations == {"reveal", "find"}
    fields = {field.name: field for field in support.fields}
    assert list(fields) == list(house.edition.compartments["accounts"].fields)
    assert [name for name, field in fields.items() if field.findable] == ["email", "phone"]
    assert [name for name, field in fields.items() if field.voluntary] == [
        "organisation",
        "city",
        "position",
    ]
    assert fields["email"].form is Form.MASKED
    orders = house.client("orders").compartment("accounts", purpose="services").describe()
    assert orders.operations == {"reveal"}
    assert not [field for field in orders.fields if field.findable]


DESCRIBES = {
    "another's purpose": ("accounts", "newsletter", errors.NotGranted),
    "an unknown purpose": ("accounts", "шаар", errors.UnknownName),
    "an unknown compartment": ("шаар", "services", errors.UnknownName),
}


@pytest.mark.parametrize(("compartment", "purpose", "error"), DESCRIBES.values(), ids=DESCRIBES)
def test_describe_says_nothing_of_what_others_may(
    house: House, compartment: str, purpose: str, error: type[piivault.PiivaultError]
) -> None:
    with pytest.raises(error):
        house.client("orders").compartment(compartment, purpose=purpose).describe()


def test_an_enterprise_is_revealed_to_nobody_yet(house: House) -> None:
    """The example grants nobody enterprises: registered is not readable."""
    enterprise = house.register("enterprises")
    for service in ("orders", "support", "newsletter", "analytics"):
        request = pb.RevealRequest(
            compartment="enterprises",
            purpose="account",
            pseudonym=enterprise.pseudonym,
            fields=["name"],
        )
        assert house.refused(service, request).reason == Reason.NOT_GRANTED
