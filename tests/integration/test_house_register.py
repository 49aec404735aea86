"""Registering: a form filled in badly opens nothing; a good one is kept as it was given."""

from collections.abc import Callable
from typing import Any

import pytest
from piivault import errors
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.house import House
from tests.people import KINDS, new_values
from vault.errors import Reason


def _consent(house: House, purpose: str = "services", **changes: Any) -> types_pb2.Consent:
    """Write the consent to a notice as it was shown, changed."""
    given = {consent.purpose: consent for consent in house.consents("accounts")}[purpose]
    shown = {
        "purpose": given.purpose,
        "edition": given.edition,
        "language": given.language,
        "notice_digest": given.notice_digest,
    }
    return types_pb2.Consent(**{**shown, **changes})


Change = Callable[[House, subjects.RegisterRequest], object]
REGISTERS: dict[str, tuple[Change, Reason, set[str]]] = {
    "a required field left out": (
        lambda h, r: r.fields.pop(), Reason.INVALID_VALUE, {"fields.phone"}),
    "all fields left out": (
        lambda h, r: r.ClearField("fields"), Reason.INVALID_VALUE,
        {f"fields.{name}" for name in new_values("accounts")}),
    "an empty value": (
        lambda h, r: r.fields.add(name="city", value=""), Reason.INVALID_VALUE, {"fields.city"}),
    "a value above 64 KiB": (
        lambda h, r: r.fields.add(name="city", value="О" * 32769), Reason.TOO_LARGE,
        {"fields.city"}),
    "a field twice": (lambda h, r: r.fields.append(r.fields[0]), Reason.MALFORMED_REQUEST, set()),
    "an unknown field": (
        lambda h, r: r.fields.add(name="шаар", value="Ош"), Reason.UNKNOWN_FIELD, set()),
    "an unknown compartment": (
        lambda h, r: setattr(r, "compartment", "шаар"), Reason.UNKNOWN_COMPARTMENT, set()),
    "a kind that the compartment isn't for": (
        lambda h, r: setattr(r, "kind", types_pb2.SUBJECT_KIND_ENTERPRISE),
        Reason.MALFORMED_REQUEST, {"kind"}),
    "no kind": (lambda h, r: r.ClearField("kind"), Reason.MALFORMED_REQUEST, {"kind"}),
    "a kind from the future": (
        lambda h, r: setattr(r, "kind", 77), Reason.MALFORMED_REQUEST, {"kind"}),
    "consent to an unknown purpose": (
        lambda h, r: r.consents.add(purpose="шаар", edition=1, language="ky"),
        Reason.UNKNOWN_PURPOSE, set()),
    "consent to a purpose of another compartment": (
        lambda h, r: r.consents.add(purpose="statistics", edition=1, language="ky"),
        Reason.UNKNOWN_PURPOSE, set()),
    "consent to another text": (
        lambda h, r: r.consents.append(_consent(h, notice_digest=bytes(32))),
        Reason.NOTICE_MISMATCH, set()),
    "consent to no text": (
        lambda h, r: r.consents.append(_consent(h, notice_digest=b"")),
        Reason.NOTICE_MISMATCH, set()),
    "consent to the text in another language": (
        lambda h, r: r.consents.append(_consent(h, language="ru")), Reason.NOTICE_MISMATCH, set()),
    "consent in an unknown language": (
        lambda h, r: r.consents.append(_consent(h, language="de")),
        Reason.MALFORMED_REQUEST, set()),
    "consent to another purpose's text": (
        lambda h, r: r.consents.append(
            _consent(h, notice_digest=_consent(h, "account").notice_digest)),
        Reason.NOTICE_MISMATCH, set()),
    "consent to an edition that isn't": (
        lambda h, r: r.consents.append(_consent(h, edition=2)), Reason.NOTICE_MISMATCH, set()),
    "consent twice": (
        lambda h, r: r.consents.extend([_consent(h)] * 2), Reason.MALFORMED_REQUEST, set()),
}  # fmt: skip


@pytest.mark.parametrize(("change", "reason", "where"), REGISTERS.values(), ids=REGISTERS)
def test_a_bad_registration_opens_nothing(
    house: House, change: Change, reason: Reason, where: set[str]
) -> None:
    """And blocks nothing: the same person registers with the same e-mail right after."""
    good = house.registration()
    bad = subjects.RegisterRequest()
    bad.CopyFrom(good)
    change(house, bad)
    refusal = house.refused("portal", bad)
    assert refusal.reason == reason
    assert refusal.violations.keys() == where
    look = subjects.ViewRequest(compartment="accounts", capability=good.capability)
    assert house.refused("portal", look).reason == Reason.NOT_FOUND
    house.ask("portal", good)
    view = house.ask("portal", look)
    assert {f.name: f.value for f in view.fields if f.present} == {
        f.name: f.value for f in good.fields
    }
    assert not view.consents


@pytest.mark.parametrize("compartment", ["accounts", "enterprises", "orders", "web"])
def test_a_subject_sees_what_they_gave(house: House, compartment: str) -> None:
    """All of it in clear, and nothing for what they left out, in every compartment."""
    person = house.register(compartment)
    view = person.subject.view(compartment)
    assert view.kind == KINDS.get(compartment, "person")
    assert {n: v.expose() for n, v in view.items() if v is not None} == person.values
    assert list(view) == list(house.edition.compartments[compartment].fields)
    assert view.etag == person.etag
    assert {c.purpose for c in view.consents if c.stands} == {
        c.purpose for c in house.consents(compartment)
    }


def test_who_registers_twice_keeps_what_was_there(house: House) -> None:
    person = house.register()
    again = house.registration(root=person.root)
    assert house.refused("portal", again).reason == Reason.ALREADY_REGISTERED
    assert person.subject.view("accounts").etag == person.etag
    assert house.phone_of(person) == person.values["phone"]


TAKEN = {
    "as it is": lambda email: email,
    "in capitals": str.upper,
    "in wide letters": lambda email: email.replace("aigul", "ａｉｇｕｌ"),
}


@pytest.mark.parametrize("write", TAKEN.values(), ids=TAKEN)
def test_an_e_mail_address_that_another_holds_is_taken(
    house: House, write: Callable[[str], str]
) -> None:
    """However it is written: the newcomer loses nothing but the attempt, the holder nothing."""
    holder = house.register()
    request = house.registration()
    (email,) = [f for f in request.fields if f.name == "email"]
    own, email.value = email.value, write(holder.values["email"])
    refusal = house.refused("portal", request)
    assert refusal.reason == Reason.VALUE_TAKEN
    assert refusal.violations == {"fields.email": "is taken"}
    assert holder.values["email"].casefold() not in refusal.seen.casefold()
    email.value = own
    house.ask("portal", request)
    assert house.phone_of(holder) == holder.values["phone"]


def test_enterprises_and_persons_are_unique_each_by_themselves(house: House) -> None:
    """One e-mail address in two compartments: nobody there learns of the other."""
    person = house.register()
    enterprise = house.register("enterprises", email=person.values["email"])
    assert (
        enterprise.subject.view("enterprises")["email"] == person.subject.view("accounts")["email"]
    )
    with pytest.raises(errors.ValueTaken, match="tax_id"):
        house.register("enterprises", tax_id=enterprise.values["tax_id"])
