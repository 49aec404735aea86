"""Bad requests: each gets a clear error, and what was there stays there."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2
from piivault.v1.pseudonym_service_pb2 import IssueRequest

from tests.house import House
from tests.people import Registered
from tests.wire import METHODS, refusal_of, send_bytes
from vault.errors import Reason

KIB = 1024


@pytest.fixture(scope="module")
def person(house: House) -> Registered:
    """Somebody with every field, in accounts, who orders something too."""
    person = house.register(city="Ош", organisation="Ош Нан", position="Наабайчы")
    house.register("orders", root=person.root)
    return person


@pytest.fixture
def intact(person: Registered) -> Iterator[Registered]:
    """Somebody of whom nothing may have changed when the test is over."""
    before = _all_of(person)
    yield person
    assert _all_of(person) == before


def _all_of(person: Registered) -> tuple[object, ...]:
    view = person.subject.view("accounts")
    values = {name: value and value.expose() for name, value in view.items()}
    return values, view.consents, view.etag, view.kind


def _reveal(person: Registered, **changes: Any) -> records.RevealRequest:
    whole = {
        "compartment": "accounts",
        "purpose": "services",
        "pseudonym": person.pseudonym,
        "fields": ["phone"],
    }
    return records.RevealRequest(**{**whole, **changes})


REVEALS: dict[str, tuple[dict[str, Any], Reason, str]] = {
    "an unknown compartment": (
        {"compartment": "Токтогулова"}, Reason.UNKNOWN_COMPARTMENT, "it has accounts, ent"),
    "no compartment": ({"compartment": ""}, Reason.UNKNOWN_COMPARTMENT, "it has accounts"),
    "an unknown purpose": (
        {"purpose": "Токтогулова"}, Reason.UNKNOWN_PURPOSE, "it has account, services"),
    "no purpose": ({"purpose": ""}, Reason.UNKNOWN_PURPOSE, "it has account, services"),
    "an unknown field": (
        {"fields": ["phone", "Токтогулова"]}, Reason.UNKNOWN_FIELD, "it has last_name, first"),
    "a field of another compartment": (
        {"fields": ["address"]}, Reason.UNKNOWN_FIELD, "it has last_name"),
    "no field": ({"fields": []}, Reason.MALFORMED_REQUEST, "no way to say all"),
    "a field called all": ({"fields": ["*"]}, Reason.UNKNOWN_FIELD, "it has last_name"),
    "a field twice": ({"fields": ["phone", "phone"]}, Reason.MALFORMED_REQUEST, "once"),
    "a field beyond the purpose": (
        {"fields": ["phone", "email"]}, Reason.FIELD_BEYOND_PURPOSE, "the field email of acc"),
    "another's purpose": ({"purpose": "newsletter"}, Reason.NOT_GRANTED, "orders has no grant"),
    "a purpose that doesn't use the compartment": (
        {"purpose": "statistics"}, Reason.NOT_GRANTED, "orders has no grant"),
    "a compartment without a grant": (
        {"compartment": "web", "fields": ["user_agent"]}, Reason.NOT_GRANTED, "in web"),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason", "says"), REVEALS.values(), ids=REVEALS)
def test_a_bad_reveal_is_refused_in_words(
    house: House, person: Registered, changes: dict[str, Any], reason: Reason, says: str
) -> None:
    """The refusal names what there is, and never repeats what was asked for."""
    refusal = house.refused("orders", _reveal(person, **changes))
    assert refusal.reason == reason
    assert says in refusal.message
    assert "Токтогулова" not in refusal.message


RAW = "A" * 43  # 32 zero bytes
MALFORMED = {
    "none": "",
    "the prefix alone": "psn_",
    "no prefix": RAW,
    "another prefix": f"cap_{RAW}",
    "the prefix in capitals": f"PSN_{RAW}",
    "a letter too few": f"psn_{RAW[1:]}",
    "a letter too many": f"psn_{RAW}A",
    "padded": f"psn_{RAW}=",
    "stray bits at the end": f"psn_{RAW[1:]}B",
    "base64, but not base64url": f"psn_{RAW[2:]}+/",
    "a space before": f" psn_{RAW}",
    "a line after": f"psn_{RAW}\n",
    "letters of another alphabet": f"psn_{RAW[1:]}А",
    "a value in its place": "aigul@example.kg",
    "very long": "psn_" + "A" * 100_000,
}


@pytest.mark.parametrize("pseudonym", MALFORMED.values(), ids=MALFORMED)
def test_what_cannot_be_a_pseudonym_is_malformed(
    house: House, person: Registered, pseudonym: str
) -> None:
    for request in (
        _reveal(person, pseudonym=pseudonym),
        records.RecordServicePutRequest(
            compartment="orders",
            purpose="services",
            pseudonym=pseudonym,
            fields=[types_pb2.FieldValue(name="item_note", value="Эшиктин алдына")],
        ),
    ):
        refusal = house.refused("orders", request)
        assert refusal.reason == Reason.MALFORMED_PSEUDONYM
        assert refusal.violations == {"pseudonym": "is malformed"}
        assert len(pseudonym) <= len("psn_") or pseudonym not in refusal.seen


def test_a_foreign_pseudonym_is_like_one_that_was_never_issued(
    house: House, person: Registered
) -> None:
    """A subject's pseudonym elsewhere opens nothing here, and isn't told from noise."""
    foreign = house.issue(person.root, "orders").pseudonym
    refusals = [
        house.refused("orders", _reveal(person, pseudonym=pseudonym))
        for pseudonym in (foreign, f"psn_{RAW}")
    ]
    assert {refusal.reason for refusal in refusals} == {Reason.NOT_FOUND}
    assert len({refusal.alike() for refusal in refusals}) == 1


def _value(name: str, value: str) -> types_pb2.FieldValue:
    return types_pb2.FieldValue(name=name, value=value)


PUTS: dict[str, tuple[dict[str, Any], Reason, set[str]]] = {
    "an empty value": ({"fields": [_value("city", "")]}, Reason.INVALID_VALUE, {"fields.city"}),
    "blanks alone": (
        {"fields": [_value("city", " \u00a0\t")]}, Reason.INVALID_VALUE, {"fields.city"}),
    "a control character": (
        {"fields": [_value("city", "Ош\x00")]}, Reason.INVALID_VALUE, {"fields.city"}),
    "two lines in a name": (
        {"fields": [_value("last_name", "Токтогулова\nАйгүл")]},
        Reason.INVALID_VALUE, {"fields.last_name"}),
    "an e-mail address without @": (
        {"fields": [_value("email", "aigul.example.kg")]}, Reason.INVALID_VALUE, {"fields.email"}),
    "an e-mail address with two": (
        {"fields": [_value("email", "aigul@@example.kg")]}, Reason.INVALID_VALUE, {"fields.email"}),
    "a telephone number in words": (
        {"fields": [_value("phone", "телефон жок")]}, Reason.INVALID_VALUE, {"fields.phone"}),
    "two faults at once": (
        {"fields": [_value("phone", "жок"), _value("email", "жок"), _value("city", "Ош")]},
        Reason.INVALID_VALUE, {"fields.phone", "fields.email"}),
    "a byte above 64 KiB": (
        {"fields": [_value("city", "о" * (32 * KIB) + "о")]}, Reason.TOO_LARGE, {"fields.city"}),
    "a large and a wrong value": (
        {"fields": [_value("city", "о" * (64 * KIB)), _value("email", "жок")]},
        Reason.TOO_LARGE, {"fields.city", "fields.email"}),
    "an unknown field": ({"fields": [_value("шаар", "Ош")]}, Reason.UNKNOWN_FIELD, set()),
    "a field twice": (
        {"fields": [_value("city", "Ош"), _value("city", "Өзгөн")]}, Reason.MALFORMED_REQUEST,
        set()),
    "nothing to change": ({}, Reason.MALFORMED_REQUEST, set()),
    "a required field to clear": ({"clear": ["email"]}, Reason.INVALID_VALUE, {"clear.email"}),
    "an unknown field to clear": ({"clear": ["шаар"]}, Reason.UNKNOWN_FIELD, set()),
    "a field to set and to clear": (
        {"fields": [_value("city", "Өзгөн")], "clear": ["city"]}, Reason.MALFORMED_REQUEST,
        {"clear.city"}),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "reason", "where"), PUTS.values(), ids=PUTS)
def test_a_bad_put_is_refused_whole(
    house: House, intact: Registered, changes: dict[str, Any], reason: Reason, where: set[str]
) -> None:
    """All faults are named at once, with the part of the request, and nothing is changed."""
    request = subjects.SubjectServicePutRequest(
        compartment="accounts", capability=intact.capability, **changes
    )
    refusal = house.refused("portal", request)
    assert refusal.reason == reason
    assert refusal.violations.keys() == where
    values = [value.value for value in changes.get("fields", ()) if len(value.value) > 3]
    assert not [value for value in values if value in refusal.seen]


def test_a_value_of_exactly_64_kib_is_kept(house: House) -> None:
    value = "о" * (32 * KIB)
    person = house.register(city=value)
    city = person.subject.view("accounts", ["city"])["city"]
    assert city is not None
    assert city.expose() == value


def test_a_service_may_clear_and_set_only_what_its_purpose_sees(house: House) -> None:
    order = house.register("orders")

    def put(**changes: Any) -> Message:
        return records.RecordServicePutRequest(
            compartment="orders", purpose="services", pseudonym=order.pseudonym, **changes
        )

    nothing = house.refused("orders", put())
    required = house.refused("orders", put(clear=["address"]))
    unknown = house.refused("orders", put(fields=[_value("phone", "+996555123456")]))
    assert [nothing.reason, required.reason, unknown.reason] == [
        Reason.MALFORMED_REQUEST,
        Reason.INVALID_VALUE,
        Reason.UNKNOWN_FIELD,
    ]
    house.ask("orders", put(clear=["item_note"]))
    assert order.subject.view("orders")["item_note"] is None


PLACE = "PLACE-OF-A-STRING"
NOT_UTF8 = b"\xd0\x90\xd0" + b"\xff" * (len(PLACE) - 3)  # begins well
Make = Callable[[Registered], Message]
STRINGS: dict[str, tuple[str, Make]] = {
    "a compartment": ("orders", lambda p: _reveal(p, compartment=PLACE)),
    "a purpose": ("orders", lambda p: _reveal(p, purpose=PLACE)),
    "a pseudonym": ("orders", lambda p: _reveal(p, pseudonym=PLACE)),
    "a field's name": ("orders", lambda p: _reveal(p, fields=["phone", PLACE])),
    "a value": (
        "portal",
        lambda p: subjects.SubjectServicePutRequest(
            compartment="accounts", capability=p.capability, fields=[_value("city", PLACE)]
        ),
    ),
    "a value to look for": (
        "support",
        lambda p: records.FindRequest(
            compartment="accounts", purpose="account", field=_value("email", PLACE)
        ),
    ),
    "a capability": (
        "portal",
        lambda p: subjects.ViewRequest(compartment="accounts", capability=PLACE),
    ),
}


@pytest.mark.parametrize(("service", "make"), STRINGS.values(), ids=STRINGS)
def test_text_that_is_not_utf_8_is_refused(
    house: House, intact: Registered, service: str, make: Make
) -> None:
    request = make(intact)
    (method,) = [n for n, m in METHODS.items() if m.input_type is request.DESCRIPTOR]
    body = request.SerializeToString().replace(PLACE.encode(), NOT_UTF8)
    with pytest.raises(grpc.RpcError) as caught:
        send_bytes(house.channel(service), method, body)
    refusal = refusal_of(caught.value)
    assert refusal.reason == Reason.MALFORMED_REQUEST
    assert "UTF-8" in refusal.message


def test_a_value_of_another_wire_type_is_no_value(house: House, person: Registered) -> None:
    """A number where the fields' names belong: protobuf passes over it, so nothing is named."""
    body = _reveal(person, fields=[]).SerializeToString() + bytes((4 << 3, 7))
    with pytest.raises(grpc.RpcError) as caught:
        send_bytes(house.channel("orders"), "/piivault.v1.RecordService/Reveal", body)
    assert refusal_of(caught.value).reason == Reason.MALFORMED_REQUEST


ROOTS = {"none": b"", "15 bytes": bytes(15), "17 bytes": bytes(17), "a name": "Айгүл".encode()}


@pytest.mark.parametrize("root", ROOTS.values(), ids=ROOTS)
def test_what_cannot_be_a_root_id_is_refused(house: House, root: bytes) -> None:
    refusal = house.refused("portal", IssueRequest(compartment="accounts", root_id=root))
    assert refusal.reason == Reason.MALFORMED_REQUEST
    assert refusal.violations == {"root_id": "must have 16 bytes"}
    unknown = house.refused("portal", IssueRequest(compartment="шаар", root_id=bytes(16)))
    assert unknown.reason == Reason.UNKNOWN_COMPARTMENT
