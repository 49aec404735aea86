"""The report on processing (clause 3.1.3): what was done, whose doing, of this subject alone."""

import dataclasses
import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import piivault
import pytest
from piivault import errors, pages
from piivault.everywhere import Journey, report_everywhere, report_everywhere_async, report_of
from piivault.officers import OfficersClient
from piivault.v1 import subject_service_pb2 as pb
from piivault.v1 import types_pb2

from tests.house import House
from tests.officers import Officers
from tests.people import Registered
from tests.wire import new_request_id, wait_for
from vault.audit.event import ALLOWED
from vault.errors import Reason
from vault.service.report import MOST_A_PAGE

DAY = 24 * 3600 * 1_000_000
PLAIN, MASKED = piivault.Form.PLAIN, piivault.Form.MASKED


@pytest.fixture
def person(house: House) -> Registered:
    return house.register()


def _report(person: Registered, language: str = "en") -> piivault.Report:
    return person.subject.report(person.compartment, language)


def _page(person: Registered, page_token: str = "", language: str = "en") -> pb.ReportRequest:
    return pb.ReportRequest(
        compartment=person.compartment,
        capability=person.capability,
        language=language,
        page_token=page_token,
    )


def _done(report: piivault.Report) -> list[tuple[str, str, str]]:
    """Return who did what, and why it was refused, the oldest first."""
    return [(its.service, its.operation, its.refused) for its in reversed(report.events)]


def _support(house: House, person: Registered, *fields: str) -> object:
    support = house.client("support").compartment("accounts", purpose="account")
    return support.reveal(person.pseudonym, fields)


def test_it_says_who_did_what_and_what_for(house: House) -> None:
    """Reveals, a search, refusals, changes, and what the subject did: each once."""
    person = house.register(consents=["account", "services"])
    house.phone_of(person)
    _support(house, person, "email", "city")
    house.client("support").compartment("accounts", purpose="account").find(
        email=person.values["email"]
    )
    newsletter = house.client("newsletter").compartment("accounts", purpose="newsletter")
    with pytest.raises(errors.ConsentRequired):
        newsletter.reveal(person.pseudonym, ["email"])
    person.subject.put("accounts", {"city": "Өзгөн"})
    person.subject.view("accounts", ["city"])
    person.subject.withdraw("accounts", ["services"])
    with pytest.raises(errors.ConsentRequired):
        house.phone_of(person)
    report = _report(person)
    assert _done(report) == [
        ("portal", "register", ""),
        ("orders", "reveal", ""),
        ("support", "reveal", ""),
        ("support", "find", ""),
        ("newsletter", "reveal", "CONSENT_REQUIRED"),
        ("portal", "put", ""),
        ("portal", "view", ""),
        ("portal", "withdraw_consent", ""),
        ("orders", "reveal", "CONSENT_REQUIRED"),
    ]
    assert (report.unread, report.trail_begins) == ((), None)
    orders, support = report.events[-2], report.events[-3]
    assert str(orders.owner) == "Services department"
    assert orders.owner == piivault.Named("municipal_services", "Services department")
    assert orders.purpose == piivault.Named("services", "Providing and selling services")
    assert [(str(its.field), its.form) for its in orders.fields] == [("Telephone", PLAIN)]
    assert [(its.field.name, its.form) for its in support.fields] == [
        ("email", MASKED), ("city", piivault.Form.PRESENT)]  # fmt: skip
    assert orders.recipient is None
    assert orders.edition == 1
    assert abs(orders.at - datetime.now(UTC)) < timedelta(minutes=5)
    assert orders.at.microsecond or support.at.microsecond  # as exactly as the trail has it


def test_it_says_what_is_held_and_what_for(house: House) -> None:
    person = house.register(consents=["account", "services"], city="Ош")
    person.subject.withdraw("accounts", ["services"])
    report = _report(person, "ky")
    assert report.title == "Колдонуучулардын каттоо жазуулары"
    assert {its.field.name for its in report.fields} == set(person.values)
    (city,) = [its for its in report.fields if its.field.name == "city"]
    assert (city.field.title, city.voluntary) == ("Шаар", True)
    assert report.registered_at <= city.set_at <= report.as_of < city.kept_until
    assert "Мыйзамы" in report.law
    purposes = {its.purpose.name: its for its in report.purposes}
    assert {name: its.closed for name, its in purposes.items()} == {
        "account": "", "newsletter": "CONSENT_REQUIRED", "services": "CONSENT_REQUIRED",
    }  # fmt: skip
    services = purposes["services"]
    assert services.purpose.title == "Кызматтарды көрсөтүү жана сатуу"
    assert (services.basis, services.basis_text) == ("consent", "сиздин макулдугуңуз")
    assert services.retention == "3 жыл"
    assert services.joins == ("Буйрутмалар",)
    assert [(its.consent.purpose, its.consent.stands, its.title) for its in report.consents] == [
        ("account", True, "Каттоо жазуусун жүргүзүү"),
        ("services", False, "Кызматтарды көрсөтүү жана сатуу"),
    ]
    assert report.consents[0].consent.edition == 1


@pytest.mark.parametrize("language", ["ky", "ru", "en"])
def test_no_value_is_in_it_and_it_is_data(house: House, language: str) -> None:
    """Nor a pseudonym, a capability or an id; and its JSON reads back as the same report."""
    person = house.register(city="Кара-Суу-canary", organisation="Уюм-canary")
    _support(house, person, "last_name", "email")
    report = _report(person, language)
    said = report.to_json()
    for secret in (*person.values.values(), person.pseudonym, person.capability, "canary"):
        assert secret not in said
    assert person.root.expose() not in said
    assert piivault.Report.from_json(said) == report
    assert report.language == language


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"events": 1}', '{"x": 1}', "[" * 99_999])
def test_what_is_no_report_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidRequest, match=r"Report\.to_json"):
        piivault.Report.from_json(text)


def test_its_own_event_is_durable_first(house: House, person: Registered) -> None:
    """One a page, of this subject; and where it can't be written, nothing is told."""
    request_id = new_request_id()
    answer = house.ask("portal", _page(person), request_id)
    (event,) = house.events("accounts", request_id)
    assert (event.operation, event.outcome, event.service) == ("report", ALLOWED, "portal")
    assert [its.operation for its in answer.events] == ["register"]
    assert _done(_report(person)) == [("portal", "register", ""), ("portal", "report", "")]
    with house.unwritable_trail():
        assert house.told("portal", _page(person)) == Reason.AUDIT_UNAVAILABLE
    wait_for(lambda: house.told("portal", _page(person)) == "", what="the trail is writable again")


def test_it_is_a_request_of_the_subjects(house: House, person: Registered) -> None:
    """Open until the report came to them; one, however often it is sent."""
    request_id = new_request_id()
    report = person.subject.report("accounts", "en", request_id=request_id)
    request = report.request
    assert request is not None
    assert (request.kind, request.state) == ("report", "open")
    assert request.due - request.opened == timedelta(days=7)
    again = person.subject.report("accounts", "en", request_id=request_id)
    assert again.request == request
    other = _report(person).request
    assert other is not None
    assert other.id != request.id
    asked = pb.FinishRequestRequest(
        compartment="accounts", capability=person.capability, id=request.id
    )
    assert house.ask("portal", asked).request.state == types_pb2.REQUEST_STATE_DONE


def test_another_subjects_events_are_not_in_it(house: House, person: Registered) -> None:
    other = house.register()
    for _ in range(2):
        house.phone_of(other)
    assert [its.operation for its in _report(person).events] == ["register"]
    order = house.register("orders", root=person.root)
    assert [its.operation for its in _report(order).events] == ["register"]


def test_pages_are_the_whole_and_each_is_bounded(house: House, person: Registered) -> None:
    """Each event once, and none that came while it was asked for."""
    accounts = house.client("orders").compartment("accounts", purpose="services")
    many = MOST_A_PAGE + 30
    # Not one batch: its events have one moment, and could not be told apart.
    for _ in accounts.reveal_many([person.pseudonym] * many, ["phone"], batch_size=1):
        pass
    pages: list[pb.ReportResponse] = []
    while not pages or pages[-1].next_page_token:
        token = pages[-1].next_page_token if pages else ""
        pages.append(house.ask("portal", _page(person, token)))
        house.phone_of(person)
    assert [page.HasField("processing") for page in pages] == [True, False]
    assert [page.HasField("request") for page in pages] == [True, False]
    assert [len(page.events) for page in pages] == [MOST_A_PAGE, many + 1 - MOST_A_PAGE]
    counted = Counter(event.SerializeToString() for page in pages for event in page.events)
    assert set(counted.values()) == {1}
    as_of = pages[0].processing.as_of.ToMicroseconds()
    assert all(its.at.ToMicroseconds() < as_of for page in pages for its in page.events)
    report = _report(person)
    assert Counter(its.operation for its in report.events) == {
        "reveal": many + 2, "register": 1, "report": 2}  # fmt: skip
    assert list(report.events) == sorted(report.events, key=lambda its: its.at, reverse=True)


MADE_UP = {
    "words": "кийинки",
    "nothing of the kind": "AAAA",
    "too long": "A" * 400,
    "in another alphabet": "ө" * 32,
}


@pytest.mark.parametrize("token", MADE_UP.values(), ids=MADE_UP)
def test_a_page_that_is_none_is_refused(house: House, person: Registered, token: str) -> None:
    refused = house.refused("portal", _page(person, token))
    assert refused.reason == Reason.MALFORMED_REQUEST
    assert token not in refused.message


def test_a_made_up_place_shows_nothing_more(house: House, person: Registered) -> None:
    """Whatever day and writer it names, only this subject's events are found; and it ends."""
    from vault.service.report import _Place

    other = house.register()
    now = time.time_ns() // 1000
    for place in (
        _Place(2**62, 2**40),
        _Place(now + DAY, now // DAY, (bytes(16), 0)),
        _Place(0, now // DAY),
        _Place(-1, -1, (b"\xff" * 16, 2**63 - 1)),
    ):
        answer = house.ask("portal", _page(person, place.write()))
        assert not answer.next_page_token
        assert not answer.HasField("processing")
        shown = {its.at.ToMicroseconds() for its in answer.events}
        mine = {its.at for its in _report(person).events}
        assert {datetime.fromtimestamp(at / 1e6, UTC) for at in shown} <= mine
    assert other.subject.report("accounts", "en").events


REFUSED = {
    "a language that the edition hasn't": ({"language": "kk"}, Reason.MALFORMED_REQUEST),
    "no language": ({"language": ""}, Reason.MALFORMED_REQUEST),
    "a capability that is none": ({"capability": "cap_"}, Reason.CAPABILITY_INVALID),
}


@pytest.mark.parametrize(("parts", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_answered(
    house: House, person: Registered, parts: dict[str, str], reason: Reason
) -> None:
    request = _page(person)
    for name, value in parts.items():
        setattr(request, name, value)
    assert house.refused("portal", request).reason == reason


def test_after_an_erasure_it_starts_anew(house: House, person: Registered) -> None:
    """The salt died with the record: what was done before can't be found again by anybody."""
    house.phone_of(person)
    person.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        _report(person)
    house.register(root=person.root)
    assert _done(_report(person)) == [("portal", "register", "")]


def test_events_that_were_cut_off_are_told_of(house: House, person: Registered) -> None:
    """Since when the trail is whole; to whom it makes a difference."""
    begins = int(time.time()) + 60
    house.sql("accounts", f"UPDATE compartment SET trail_begins = {begins * 1_000_000}")
    try:
        found = _report(person).trail_begins
        assert found == datetime.fromtimestamp(begins, UTC)
        house.sql("accounts", "UPDATE compartment SET trail_begins = 1000000")
        assert _report(person).trail_begins is None
    finally:
        house.sql("accounts", "UPDATE compartment SET trail_begins = 0")


def test_events_under_a_key_that_is_stopped_are_counted(own: House) -> None:
    """Suspended and destroyed versions of the audit key leave their own events unread alone."""
    person = own.register()
    own.phone_of(person)
    with OfficersClient.from_env(own.environment("officer-aida")) as officers:
        ring = officers.keys("accounts")
        audit = piivault.keys.KeyVersion("audit", 1)
        ring.rotate("audit")
        own.phone_of(person)
        ring.suspend(audit)
        stopped = _report(person)
        assert stopped.unread == (("KEYS_SUSPENDED", 2),)
        assert _done(stopped) == [("orders", "reveal", "")]
        ring.resume(audit)
        assert _report(person).unread == ()
    own.sql(
        "accounts", "UPDATE keyring SET state = 'destroyed' WHERE kind = 'audit' AND version = 1"
    )
    own.sql("accounts", "UPDATE compartment SET epoch = epoch + 1")
    wait_for(lambda: _report(person).unread == (("KEY_DESTROYED", 2),), what="it is destroyed")


def test_an_event_that_somebody_put_there_is_counted_and_shows_nothing(house: House) -> None:
    """A worker's login may insert anything: what it copies under another subject's token."""
    person = house.register()
    everybodys = "SELECT count(*), token FROM audit GROUP BY token"
    before = {bytes(token): count for count, token in house.sql("accounts", everybodys)}
    house.phone_of(person)
    (token,) = (
        bytes(token).hex()
        for count, token in house.sql("accounts", everybodys)
        if before.get(bytes(token), count) < count
    )
    literal = f"'\\x{token}'" if house.postgres else f"x'{token}'"
    house.sql(
        "accounts",
        "INSERT INTO audit (writer, sequence, previous, token, sealed) "
        f"SELECT token, 0, previous, token, sealed FROM audit WHERE token = {literal} LIMIT 1",
    )
    try:
        report = _report(person)
    finally:
        house.sql("accounts", f"DELETE FROM audit WHERE writer = {literal}")
    assert report.unread == (("DAMAGED", 1),)
    assert [its.operation for its in report.events] == ["reveal", "register"]


NEW_TITLE = (
    "    title: {ky: Кызмат көрсөтүү бөлүмү, ru: Отдел услуг, en: Services department}\n",
    "    title: {ky: Жаңы бөлүм, ru: Новый отдел, en: New department}\n",
)
RECIPIENTS = (
    ("recipients: {}\n", "recipients: {post: {title: {ky: Почта, ru: Почта, en: The post}}}\n"),
    ("en: Newsletter}\n", "en: Newsletter}\n    recipients: [post]\n"),
)


def _by_service(report: piivault.Report, service: str) -> Sequence[piivault.ReportedEvent]:
    return [its for its in report.events if its.service == service]


def test_names_are_those_of_the_edition_of_the_time(own: House, officers: Officers) -> None:
    """And a disclosure says to whom."""
    person = own.register()
    own.phone_of(person)
    officers.change(NEW_TITLE, *RECIPIENTS)
    own.phone_of(person)
    person.subject.grant("accounts", own.consents("accounts", ["newsletter"]))
    newsletter = own.client("newsletter").compartment("accounts", purpose="newsletter")
    newsletter.reveal(person.pseudonym, ["email"], recipient="post")
    report = _report(person)
    told = [(its.edition, str(its.owner)) for its in _by_service(report, "orders")]
    assert told == [(2, "New department"), (1, "Services department")]
    (disclosed,) = _by_service(report, "newsletter")
    assert disclosed.recipient == piivault.Named("post", "The post")
    assert report.edition == 2
    assert {its.consent.purpose: its.consent.edition for its in report.consents} == {
        "account": 1, "newsletter": 2, "services": 1}  # fmt: skip
    (purpose,) = [its for its in report.purposes if its.purpose.name == "newsletter"]
    assert purpose.recipients == (piivault.Named("post", "The post"),)


async def test_everywhere_is_a_loop_on_the_subjects_side(house: House) -> None:
    """One report a compartment, each its own request; in one page, where the subject wants it."""
    root = piivault.new_root()
    people = [house.register(name, root=root) for name in ("accounts", "orders", "web")]
    people[1].subject.erase("orders")
    kept: list[Journey] = []
    journey = Journey.begin(["accounts", "enterprises", "orders", "web"])
    ended = report_everywhere(people[0].subject, "ky", journey, kept.append)
    assert ended.is_done
    assert kept[-1] == ended
    found = {step.compartment: report_of(step) for step in ended.steps}
    assert [name for name, its in found.items() if its] == ["accounts", "web"]
    reports = [its for its in found.values() if its]
    assert len({its.request.id for its in reports if its.request}) == 2
    text = pages.html(reports)
    assert all(its.title in text for its in reports)
    environment = {**house.environment("portal"), "PIIVAULT_TIMEOUT": "20"}
    async with piivault.AsyncClient.from_env(environment) as vault:
        again = await report_everywhere_async(
            vault.subject(root), "ky", Journey.begin(found), kept.append
        )
    assert [step.state for step in again.steps] == [step.state for step in ended.steps]


async def test_the_asynchronous_client_tells_the_same(house: House, person: Registered) -> None:
    environment = house.environment("portal")
    async with piivault.AsyncClient.from_env({**environment, "PIIVAULT_TIMEOUT": "20"}) as vault:
        found = await vault.subject(person.root).report("accounts", "ru")
    assert [its.operation for its in found.events] == ["register"]
    again = _report(person, "ru")
    assert dataclasses.replace(
        again, as_of=found.as_of, events=(), request=found.request, _message=found._message
    ) == (dataclasses.replace(found, events=()))
