"""The policy walked in order, clause by clause, on the example (tests/clauses.py has the table)."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import piivault
import pytest
import yaml
from piivault import errors, pages
from piivault.export_keys import ExportKeys
from piivault.exports import open_package
from piivault.receipt import Receipt

from tests import clauses
from tests.exporting import signing_keys
from tests.house import POLICY, House, run_house
from tests.officers import Officers
from tests.people import Registered, new_values
from vault.audit.chain import Link, verify
from vault.names import Pseudonym
from vault.policy import EditionError, compile_edition

NEWSLETTER = "        fields: {first_name: plain, email: plain}\n"
WIDER = "        fields: {last_name: plain, first_name: plain, email: plain}\n"


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """The city's house, in which the policy changes on the way."""
    folder = tmp_path_factory.mktemp("city") / "state"
    with run_house(folder, postgres=False) as started:
        yield started


def _reveal(city: House, service: str, purpose: str, person: Registered, *fields: str) -> object:
    where = city.client(service).compartment(person.compartment, purpose=purpose)
    return where.reveal(person.pseudonym, fields)


def _in_force(city: House) -> int:
    return city.client("portal").notices("accounts", "ky")[0].edition


def _changed(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


def no_edition_before_it_is_posted(city: House) -> None:
    text = POLICY.read_text(encoding="utf-8")
    early = _changed(text, "in_force: 2026-01-01T00", "in_force: 2025-12-31T00")
    with pytest.raises(EditionError, match="posted"):
        compile_edition(early)


def an_old_consent_stays_what_it_was(city: House) -> None:
    person = city.register()
    Officers(city).change((NEWSLETTER, WIDER))
    with pytest.raises(errors.ConsentRequired, match="last_name"):
        _reveal(city, "newsletter", "newsletter", person, "last_name")
    person.subject.grant("accounts", city.consents("accounts", ["newsletter"]))
    assert _reveal(city, "newsletter", "newsletter", person, "last_name")


def every_decision_names_its_edition(city: House) -> None:
    person = city.register()
    city.phone_of(person)
    before = _in_force(city)
    Officers(city).change()
    city.phone_of(person)
    events = person.subject.report("accounts", "ky").events
    assert {event.edition for event in events} == {before, before + 1}


def consent_is_to_a_notice(city: House) -> None:
    notices = {its.purpose: its for its in city.client("portal").notices("accounts", "ky")}
    given = notices["services"].accept()
    assert "сиздин макулдугуңуз" in notices["services"].text
    other = piivault.Consent("services", given.edition, "ky", notices["account"].digest)
    person = city.register(consents=[])
    with pytest.raises(errors.NoticeMismatch):
        person.subject.grant("accounts", [other])
    person.subject.grant("accounts", [given])
    (held,) = person.subject.view("accounts").consents
    assert (held.purpose, held.edition, held.stands) == ("services", _in_force(city), True)


def an_unlisted_recipient_gets_nothing(city: House) -> None:
    person = city.register()
    accounts = city.client("orders").compartment("accounts", purpose="services")
    with pytest.raises(errors.RecipientNotAllowed):
        accounts.reveal(person.pseudonym, ["phone"], recipient="post")


def a_cookie_is_no_account(city: House) -> None:
    person = city.register()
    visitor = city.register("web", root=person.root)
    assert visitor.pseudonym != person.pseudonym
    with pytest.raises(errors.NotFound):
        city.client("orders").compartment("accounts", purpose="services").reveal(
            visitor.pseudonym, ["phone"]
        )
    with pytest.raises(errors.NotGranted):
        _reveal(city, "analytics", "statistics", person, "phone")


def values_stay_as_given(city: House) -> None:
    person = city.register(city="Атлантида, 3-үй", organisation="  «Жок»  ")
    held = person.subject.view("accounts")
    for name in ("city", "organisation", "last_name"):
        value = held[name]
        assert value is not None
        assert value.expose() == person.values[name]


def the_form_asks_for_what_it_needs(city: House) -> None:
    required = ("last_name", "first_name", "patronymic", "email", "phone")
    for name in required:
        given = {field: value for field, value in new_values("accounts").items() if field != name}
        with pytest.raises(errors.InvalidValue, match=name):
            city.client("portal").subject(piivault.new_root()).register("accounts", given)


def an_enterprise_has_its_own_place(city: House) -> None:
    bakery = city.register("enterprises")
    assert bakery.subject.view("enterprises").kind == "enterprise"
    portal = city.client("portal").subject(piivault.new_root())
    with pytest.raises(errors.InvalidRequest, match="of kind person"):
        portal.register("accounts", new_values("accounts"), kind="enterprise")
    with pytest.raises(errors.InvalidRequest, match="of kind enterprise"):
        portal.register("enterprises", new_values("enterprises"), kind="person")


def what_is_voluntary_may_go(city: House) -> None:
    person = city.register()
    assert person.subject.view("accounts")["city"] is None
    person.subject.put("accounts", {"city": "Ош"})
    assert person.subject.view("accounts")["city"] == piivault.Secret("Ош")
    person.subject.put("accounts", {"city": None})
    assert person.subject.view("accounts")["city"] is None
    with pytest.raises(errors.InvalidRequest):
        person.subject.put("accounts", {"phone": None})


def each_purpose_has_its_basis(city: House) -> None:
    for notice in city.client("portal").notices("accounts", "ru"):
        assert "Правовое основание: " in notice.text
    tree = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    del tree["purposes"]["newsletter"]["basis"]
    with pytest.raises(EditionError, match="basis"):
        compile_edition(yaml.safe_dump(tree, allow_unicode=True))


def no_purpose_but_the_declared(city: House) -> None:
    person = city.register()
    with pytest.raises(errors.UnknownName):
        _reveal(city, "orders", "advertising", person, "phone")
    with pytest.raises(errors.NotGranted):
        _reveal(city, "orders", "newsletter", person, "email")


def a_purpose_sees_what_it_needs(city: House) -> None:
    person = city.register()
    support = city.client("support").compartment("accounts", purpose="account")
    got = support.reveal(person.pseudonym, ["last_name", "email", "city"])
    assert got["last_name"].expose() == person.values["last_name"]
    assert got["email"].expose().startswith("a***@")
    assert got.present("city") is False
    with pytest.raises(errors.FieldBeyondPurpose):
        _reveal(city, "orders", "services", person, "email")


def no_edition_lets_anybody_join(city: House) -> None:
    text = POLICY.read_text(encoding="utf-8")
    grant = "  - {service: analytics, purpose: %s, compartment: %s, operations: [reveal]}"
    web, accounts = grant % ("statistics", "web"), grant % ("newsletter", "accounts")
    owner = "analytics: {owner: %s,"
    by_a_service = _changed(text, web, f"{web}\n{accounts}")
    by_an_owner = _changed(text, owner % "site_statistics", owner % "press_office")
    for joining in (by_a_service, by_an_owner):
        with pytest.raises(EditionError, match="joinable"):
            compile_edition(joining)


def pseudonyms_do_not_meet(city: House) -> None:
    root = piivault.new_root()
    there = [city.register(name, root=root).pseudonym for name in ("accounts", "orders", "web")]
    assert len({pseudonym[4:] for pseudonym in there}) == len(there)
    for one, other in pairwise(there):
        assert sum(a == b for a, b in zip(one[4:], other[4:], strict=True)) < 16


def no_consent_no_reading(city: House) -> None:
    person = city.register(consents=["account"])
    with pytest.raises(errors.ConsentRequired):
        city.phone_of(person)
    person.subject.grant("accounts", city.consents("accounts", ["services"]))
    assert city.phone_of(person)
    person.subject.withdraw("accounts", ["services"])
    with pytest.raises(errors.ConsentRequired):
        city.phone_of(person)


def restricted_until_lifted(city: House) -> None:
    person = city.register()
    person.subject.restrict("accounts")
    with pytest.raises(errors.Restricted):
        city.phone_of(person)
    person.subject.lift_restriction("accounts")
    assert city.phone_of(person)


def one_corrects_oneself(city: House) -> None:
    person = city.register()
    person.subject.put("accounts", {"phone": "+996 777 111222"})
    assert city.phone_of(person) == "+996 777 111222"


def erased_is_gone(city: House) -> None:
    person = city.register()
    person.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        city.phone_of(person)
    for rows in ("records", "data_keys", "blind_index"):
        assert not city.rows_of("accounts", rows, person.pseudonym)


def an_erasure_has_its_receipt(city: House) -> None:
    person = city.register("orders")
    receipt = Receipt.open(person.subject.erase("orders").receipt, signing_keys(city)["orders"])
    assert receipt.is_of(person.pseudonym)
    assert receipt.kept == ()


def a_report_says_who_read(city: House) -> None:
    person = city.register()
    city.phone_of(person)
    report = person.subject.report("accounts", "ky")
    (read,) = [event for event in report.events if event.operation == "reveal"]
    assert (read.service, str(read.purpose)) == ("orders", "Кызматтарды көрсөтүү жана сатуу")
    assert [str(its.field) for its in read.fields] == ["Телефон"]
    assert {its.field.name for its in report.fields} == set(person.values)
    assert "Кызмат көрсөтүү бөлүмү" in pages.html([report])
    assert pages.pdf([report]).startswith(b"%PDF")


def an_export_hands_all_over(city: House) -> None:
    person = city.register()
    keys = ExportKeys.new(["accounts"])
    sealed = person.subject.export("accounts", keys.public["accounts"]).package
    assert person.values["email"].encode() not in sealed
    said = open_package(sealed, keys, signing_keys(city)).holdings
    assert {its["name"]: its["value"] for its in said["fields"]} == person.values


def what_is_stored_is_sealed(city: House) -> None:
    person = city.register()
    files = [file for file in city.state.rglob("*accounts*.db*") if file.is_file()]
    stored = b"".join(file.read_bytes() for file in files)
    assert Pseudonym.parse(person.pseudonym).raw in stored
    for value in person.values.values():
        assert value.encode() not in stored


def no_trail_no_reading(city: House) -> None:
    person = city.register()
    with city.unwritable_trail(), pytest.raises(errors.AuditUnavailable):
        city.phone_of(person)


def the_trail_can_be_verified(city: House) -> None:
    """With no key: the chain runs over sealed bytes."""
    uuid = city.edition.compartment("accounts").uuid
    columns = "writer, sequence, previous, token, sealed"
    rows = city.sql("accounts", f"SELECT {columns} FROM audit ORDER BY writer, sequence")
    links = [Link(*row) for row in rows]
    assert list(verify(uuid, links)) == []
    changed = replace(links[-2], sealed=links[-1].sealed)
    (found,) = verify(uuid, [*links[:-2], changed, links[-1]])
    assert (found.writer, found.sequence) == (links[-1].writer, links[-1].sequence)


def the_law_is_named_and_its_term_kept(city: House) -> None:
    person = city.register()
    report = person.subject.report("accounts", "en")
    assert (
        report.law == "Law of the Kyrgyz Republic No. 58 of 14 April 2008 on personal information"
    )
    assert report.request is not None
    assert report.request.due - report.request.opened == timedelta(weeks=1)


WALK: tuple[Callable[[House], None], ...] = (
    no_edition_before_it_is_posted, an_old_consent_stays_what_it_was,
    every_decision_names_its_edition, consent_is_to_a_notice, an_unlisted_recipient_gets_nothing,
    a_cookie_is_no_account, values_stay_as_given, the_form_asks_for_what_it_needs,
    an_enterprise_has_its_own_place, what_is_voluntary_may_go, each_purpose_has_its_basis,
    no_purpose_but_the_declared, a_purpose_sees_what_it_needs, no_edition_lets_anybody_join,
    pseudonyms_do_not_meet, no_consent_no_reading, restricted_until_lifted,
    one_corrects_oneself, erased_is_gone, an_erasure_has_its_receipt,
    a_report_says_who_read, an_export_hands_all_over, what_is_stored_is_sealed, no_trail_no_reading,
    the_trail_can_be_verified, the_law_is_named_and_its_term_kept,
)  # fmt: skip


@pytest.mark.parametrize("case", WALK, ids=lambda case: case.__name__)
def test_a_clause_is_kept(
    city: House, record_property: Callable[[str, object], None], case: Callable[[House], None]
) -> None:
    record_property(clauses.KEPT, case.__name__)
    case(city)


def test_the_walk_is_the_table_in_order() -> None:
    assert [case.__name__ for case in WALK] == list(clauses.cases())


def test_the_page_is_the_table() -> None:
    """`python -m tests.clauses` writes it anew."""
    assert clauses.PAGE.read_text(encoding="utf-8") == clauses.page()
