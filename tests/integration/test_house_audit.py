"""The trail: one event a decision, with what was asked and what became of it, and no data in it."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault import errors
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.house import House
from tests.officers import reveal
from tests.people import Registered
from tests.wire import new_request_id
from vault.audit.event import ALLOWED, DENIED
from vault.crypto.primitives import digest
from vault.errors import Reason
from vault.names import Pseudonym
from vault.policy import Form
from vault.sealed.v1 import sealed_pb2

PLAIN, MASKED, PRESENT = Form.PLAIN, Form.MASKED, Form.PRESENT
NONE = 0  # asked for, and given in no form


@dataclass(frozen=True, slots=True)
class Told:
    """What an event must tell of one request."""

    operation: str
    purpose: str = ""
    outcome: int = ALLOWED
    reason: str = ""
    uses: tuple[tuple[str, int], ...] = ()
    changes: bool = False


def _denied(operation: str, purpose: str, reason: Reason, *uses: tuple[str, int]) -> Told:
    return Told(operation, purpose, DENIED, reason, uses)


def _value(name: str, value: str) -> types_pb2.FieldValue:
    return types_pb2.FieldValue(name=name, value=value)


def _own(kind: type[Any], person: Registered, **parts: Any) -> Any:
    return kind(compartment=person.compartment, capability=person.capability, **parts)


def _consent(house: House) -> types_pb2.Consent:
    (given,) = house.consents("accounts", ["services"])
    return types_pb2.Consent(
        purpose="services", edition=1, language="ky", notice_digest=given.notice_digest
    )


Make = Callable[[House, Registered], Message]
EVENTS: dict[str, tuple[str, Make, Told]] = {
    "a reveal": (
        "orders", lambda h, p: reveal(p, "phone", "last_name"),
        Told("reveal", "services", uses=(("phone", PLAIN), ("last_name", PLAIN)))),
    "a reveal in other forms": (
        "support", lambda h, p: reveal(p, "email", "city", purpose="account"),
        Told("reveal", "account", uses=(("email", MASKED), ("city", PRESENT)))),
    "a reveal beyond the purpose": (
        "orders", lambda h, p: reveal(p, "phone", "email"),
        _denied("reveal", "services", Reason.FIELD_BEYOND_PURPOSE, ("phone", NONE),
                ("email", NONE))),
    "a reveal without a grant": (
        "newsletter", lambda h, p: reveal(p, "phone"),
        _denied("reveal", "services", Reason.NOT_GRANTED, ("phone", NONE))),
    "a reveal for a purpose that may be anything": (
        "orders", lambda h, p: reveal(p, "phone", purpose=p.values["email"]),
        _denied("reveal", "", Reason.UNKNOWN_PURPOSE, ("phone", NONE))),
    "a reveal of a field that may be anything": (
        "orders", lambda h, p: reveal(p, p.values["phone"], "phone"),
        _denied("reveal", "services", Reason.UNKNOWN_FIELD, ("phone", NONE))),
    "a reveal of nobody": (
        "orders", lambda h, p: records.RevealRequest(
            compartment="accounts", purpose="services", pseudonym=p.values["email"],
            fields=["phone"]),
        _denied("reveal", "services", Reason.MALFORMED_PSEUDONYM, ("phone", PLAIN))),
    "a reveal without consent": (
        "newsletter", lambda h, p: reveal(p, "email", purpose="newsletter"),
        _denied("reveal", "newsletter", Reason.CONSENT_REQUIRED, ("email", PLAIN))),
    "a search": (
        "support", lambda h, p: records.FindRequest(
            compartment="accounts", purpose="account", field=_value("email", p.values["email"])),
        Told("find", "account", uses=(("email", MASKED),))),
    "a search that finds nothing": (
        "support", lambda h, p: records.FindRequest(
            compartment="accounts", purpose="account", field=_value("email", "жок@example.kg")),
        _denied("find", "account", Reason.NOT_FOUND, ("email", MASKED))),
    "describing": (
        "orders", lambda h, p: records.DescribeRequest(
            compartment="accounts", purpose="services"),
        Told("describe", "services")),
    "describing what isn't granted": (
        "orders", lambda h, p: records.DescribeRequest(
            compartment="accounts", purpose="newsletter"),
        _denied("describe", "newsletter", Reason.NOT_GRANTED)),
    "a view": (
        "portal", lambda h, p: _own(subjects.ViewRequest, p, fields=["email"]),
        Told("view", uses=(("email", PLAIN),))),
    "a view with a bad capability": (
        "portal", lambda h, p: subjects.ViewRequest(
            compartment="accounts", capability=p.values["email"]),
        _denied("view", "", Reason.CAPABILITY_INVALID)),
    "a report": (
        "portal", lambda h, p: _own(subjects.ReportRequest, p, language="ky"), Told("report")),
    "a report in a language that the edition hasn't": (
        "portal", lambda h, p: _own(subjects.ReportRequest, p, language="kk"),
        _denied("report", "", Reason.MALFORMED_REQUEST)),
    "the subject's put": (
        "portal", lambda h, p: _own(
            subjects.SubjectServicePutRequest, p, fields=[_value("city", "Өзгөн")]),
        Told("put", changes=True)),
    "a put of a bad value": (
        "portal", lambda h, p: _own(
            subjects.SubjectServicePutRequest, p, fields=[_value("email", "жок")]),
        _denied("put", "", Reason.INVALID_VALUE)),
    "a put from an old version": (
        "portal", lambda h, p: _own(
            subjects.SubjectServicePutRequest, p, fields=[_value("city", "Өзгөн")], etag="old"),
        _denied("put", "", Reason.STALE_ETAG)),
    "a service's put without a grant": (
        "orders", lambda h, p: records.RecordServicePutRequest(
            compartment="accounts", purpose="services", pseudonym=p.pseudonym,
            fields=[_value("phone", "+996555123456")]),
        _denied("put", "services", Reason.NOT_GRANTED, ("phone", NONE))),
    "consenting": (
        "portal", lambda h, p: _own(
            subjects.GrantConsentRequest, p, consents=[_consent(h)]),
        Told("grant_consent", changes=True)),
    "withdrawing": (
        "portal", lambda h, p: _own(
            subjects.WithdrawConsentRequest, p, purposes=["account"]),
        Told("withdraw_consent", changes=True)),
    "registering": (
        "portal", lambda h, p: h.registration(), Told("register", changes=True)),
    "registering twice": (
        "portal", lambda h, p: h.registration(root=p.root),
        _denied("register", "", Reason.ALREADY_REGISTERED)),
    "erasing": (
        "portal", lambda h, p: _own(subjects.EraseRequest, p), Told("erase")),
    "erasing nothing": (
        "portal", lambda h, p: subjects.EraseRequest(
            compartment="accounts", capability=h.registration().capability),
        _denied("erase", "", Reason.NOT_FOUND)),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Done:
    """A request that was made, and what it left in the trail."""

    person: Registered
    reason: str
    row_digest: bytes
    events: list[sealed_pb2.AuditEvent]


@pytest.fixture(scope="module")
def done(house: House) -> dict[str, Done]:
    """Make all requests of the table, each to a person of its own, and read the trail once."""
    made = {name: _do(house, service, make) for name, (service, make, _) in EVENTS.items()}
    trail = house.trail("accounts").events
    return {
        name: Done(person, reason, row, [e for e in trail if e.request_id == request_id])
        for name, (request_id, person, reason, row) in made.items()
    }


def _do(house: House, service: str, make: Make) -> tuple[str, Registered, str, bytes]:
    person = house.register(consents=["services", "account"])
    request, request_id = make(house, person), new_request_id()
    reason = house.told(service, request, request_id)
    rows = house.rows_of("accounts", "records", _subject_of(request, person))
    row = digest(bytes(rows[0][1]), bytes(rows[0][2])) if rows else b""
    return request_id, person, reason, row


@pytest.mark.parametrize("name", EVENTS)
def test_each_decision_leaves_one_event(house: House, done: dict[str, Done], name: str) -> None:
    """Who asked, for what, in which forms, and why not; and the row's digest, if it changed."""
    (service, _, told), made = EVENTS[name], done[name]
    (event,) = made.events
    assert event.reason == told.reason == made.reason
    assert event.outcome == told.outcome
    assert (event.operation, event.purpose) == (told.operation, told.purpose)
    assert (event.edition, event.service) == (1, service)
    assert event.owner == house.edition.services[service].owner
    assert event.recipient == ""
    fields = house.edition.compartments["accounts"].fields
    assert [(use.uid, use.form) for use in event.fields] == [
        (fields[field].uid, form) for field, form in told.uses
    ]
    assert event.row_digest == (made.row_digest if told.changes else b"")
    _holds_nothing_of(made.person, event)


def _subject_of(request: Any, person: Registered) -> str:
    """Return whose row a request changes: the one in its capability."""
    if isinstance(request, subjects.RegisterRequest):
        raw = base64.urlsafe_b64decode(request.capability.removeprefix("cap_") + "==")
        return str(Pseudonym(raw[25:57]))
    return person.pseudonym


def _holds_nothing_of(person: Registered, event: sealed_pb2.AuditEvent) -> None:
    body = event.SerializeToString()
    secrets = [value.encode() for value in person.values.values()]
    secrets += [person.pseudonym.encode(), Pseudonym.parse(person.pseudonym).raw]
    secrets += [person.capability.encode(), bytes(person.root), person.root.expose().encode()]
    assert not [secret for secret in secrets if secret in body]


def test_each_record_of_a_batch_has_an_event(house: House) -> None:
    """Good and bad ones; a batch that is denied as a whole has one."""
    good, unconsented = house.register(), house.register(consents=[])
    whole = {"compartment": "accounts", "purpose": "services"}
    pseudonyms, request_id = [good.pseudonym, "жок", unconsented.pseudonym], new_request_id()
    batch = records.BatchRevealRequest(**whole, pseudonyms=pseudonyms, fields=["phone"])
    house.ask("orders", batch, request_id)
    reasons = sorted(event.reason for event in house.events("accounts", request_id))
    assert reasons == ["", "CONSENT_REQUIRED", "MALFORMED_PSEUDONYM"]

    beyond, request_id = new_request_id(), new_request_id()
    batch = records.BatchRevealRequest(**whole, pseudonyms=pseudonyms, fields=["email"])
    house.refused("orders", batch, beyond)
    (event,) = house.events("accounts", beyond)
    assert event.reason == Reason.FIELD_BEYOND_PURPOSE


def test_each_record_that_is_found_has_an_event(house: House) -> None:
    """So a subject's own events can be told from others', by a token that dies with the record."""
    phone = house.register().values["phone"]
    house.register(phone=phone)
    request, request_id = (
        records.FindRequest(
            compartment="accounts", purpose="account", field=_value("phone", phone)
        ),
        new_request_id(),
    )
    found = house.ask("support", request, request_id)
    events = house.events("accounts", request_id)
    assert len(events) == len(found.pseudonyms) >= 2
    assert {(event.operation, event.outcome) for event in events} == {("find", ALLOWED)}


def test_the_chains_of_all_writers_hold(house: House) -> None:
    """After all that the tests did: nothing was taken out, moved or put in."""
    for compartment in house.edition.compartments:
        house.register(compartment)
        trail = house.trail(compartment)
        assert trail.events
        assert not trail.breaks
        times = [event.at for event in trail.events]
        assert times == sorted(times)


def test_without_a_trail_nothing_is_revealed(house: House) -> None:
    """No value, no denial either, and no change; once it can be written, all goes on."""
    person = house.register()
    accounts = house.client("orders").compartment("accounts", purpose="services")
    put = _own(subjects.SubjectServicePutRequest, person, fields=[_value("city", "Өзгөн")])
    view = _own(subjects.ViewRequest, person)
    with house.unwritable_trail():
        for service, request in (
            ("orders", reveal(person, "phone")),
            ("orders", reveal(person, "email")),
            ("orders", records.DescribeRequest(compartment="accounts", purpose="services")),
            ("portal", view),
        ):
            refusal = house.refused(service, request)
            assert refusal.code is grpc.StatusCode.UNAVAILABLE
            assert refusal.reason == Reason.AUDIT_UNAVAILABLE
            assert "unwritable" not in refusal.seen
            assert not [value for value in person.values.values() if value in refusal.seen]
        assert house.refused("portal", put).reason in (
            Reason.AUDIT_UNAVAILABLE,
            Reason.STORAGE_UNAVAILABLE,
        )
        with pytest.raises(errors.AuditUnavailable) as caught:
            accounts.reveal(person.pseudonym, ["phone"])
        assert caught.value.retryable
        batch = list(accounts.reveal_many([person.pseudonym], ["phone"]))
        assert [item.error.reason for item in batch if item.error] == ["AUDIT_UNAVAILABLE"]
    assert house.phone_of(person) == person.values["phone"]
    assert person.subject.view("accounts").etag == person.etag
    assert not house.trail("accounts").breaks
