"""The subject's own rights: erasure and what the law has kept, restriction, consents, requests."""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import piivault
import pytest
from click.testing import CliRunner
from piivault import errors
from piivault.everywhere import (
    Journey,
    erase_everywhere,
    erase_everywhere_async,
    export_everywhere,
    export_everywhere_async,
    package_of,
    receipt_of,
)
from piivault.export_keys import ExportKey, ExportKeys
from piivault.exports import merge
from piivault.officers import OfficersClient
from piivault.receipt import Receipt
from piivault.v1 import subject_service_pb2 as subjects

from tests.backups import backed_up
from tests.exporting import exported, opened
from tests.house import House
from tests.integration.test_sweep import swept, years
from tests.keeping import keeping_house
from tests.officers import Officers
from tests.people import Registered
from tests.wire import new_request_id
from vault.cli.requests import requests as requests_command
from vault.errors import Reason
from vault.keys.provision import signing_transit_key, worker
from vault.names import Pseudonym
from vault.service import erase as erasing
from vault.service.requests import KEPT_DAYS

__all__ = ["years"]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house whose policy has purposes that the law demands."""
    folder = tmp_path_factory.mktemp(f"rights-{request.param}")
    with keeping_house(folder, postgres=request.param == "postgres") as started:
        yield started


@pytest.fixture
def officers(house: House) -> Iterator[OfficersClient]:
    """An officer's tools."""
    with OfficersClient.from_env(house.environment("officer-aida")) as opened:
        yield opened


def _keys(house: House, compartment: str) -> list[str]:
    return list(house.settings.compartments[compartment].signing_keys)


def _archive(house: House) -> piivault.CompartmentClient:
    return house.client("archive").compartment("accounts", purpose="archive")


# Erasure.


def test_a_receipt_is_the_operators_word_and_the_subjects_own(house: House) -> None:
    person, other = house.register("orders"), house.register("orders")
    erasure = person.subject.erase("orders")
    assert erasure.verified
    receipt = Receipt.open(erasure.receipt, _keys(house, "orders"))
    assert receipt.is_of(person.pseudonym)
    assert not receipt.is_of(other.pseudonym)
    assert receipt.compartment_uuid == house.edition.compartments["orders"].uuid
    assert (receipt.id, receipt.kept, erasure.kept) == (erasure.request.id, (), ())
    assert erasure.request.state == "done"
    with pytest.raises(errors.AttestationError):
        Receipt.open(erasure.receipt, _keys(house, "accounts"))


def test_what_the_law_has_kept_is_there_for_its_purpose_alone(house: House) -> None:
    person = house.register(city="Ош")
    erasure = person.subject.erase("accounts")
    (kept,) = erasure.kept
    assert (kept.purpose, kept.basis, kept.fields) == (
        "archive", "legal_obligation", ("last_name", "email"))  # fmt: skip
    assert Receipt.open(erasure.receipt, _keys(house, "accounts")).kept == erasure.kept

    got = _archive(house).reveal(person.pseudonym, ["last_name", "email"])
    assert got["last_name"].expose() == person.values["last_name"]
    assert got["email"].expose() != person.values["email"]  # masked, as ever
    refused: list[Callable[[], object]] = [
        lambda: _archive(house).reveal(person.pseudonym, ["first_name"]),
        lambda: _archive(house).reveal(person.pseudonym, ["last_name", "first_name"]),
        lambda: _archive(house).put(person.pseudonym, {"last_name": "Башка"}),
        lambda: house.phone_of(person),
        lambda: house.client("support").compartment("accounts", purpose="account").reveal(
            person.pseudonym, ["last_name"]),
        lambda: person.subject.put("accounts", {"city": "Өзгөн"}),
        lambda: person.subject.grant("accounts", house.consents("accounts")),
        lambda: person.subject.restrict("accounts"),
    ]  # fmt: skip
    for attempt in refused:
        with pytest.raises(errors.Erased):
            attempt()
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.find(email=person.values["email"]) is None
    for table in ("records", "data_keys", "blind_index"):
        assert house.rows_of("accounts", table, person.pseudonym) == []
    again = person.subject.erase("accounts")
    assert (again.kept, again.verified) == (erasure.kept, True)


def test_what_is_kept_of_one_and_damaged_fails_no_other_of_a_batch(house: House) -> None:
    damaged, whole = house.register(), house.register()
    kept = _kept_at(house, damaged)
    house.sql("accounts", f"UPDATE records SET sealed = row_version WHERE {kept}")
    whole.subject.erase("accounts")
    asked = [damaged.pseudonym, whole.pseudonym, house.issue(whole.root, "orders").pseudonym]
    items = list(_archive(house).reveal_many(asked, ["last_name"]))
    reasons = [item.error.reason if item.error else "" for item in items]
    assert reasons == ["DAMAGED", "", "NOT_FOUND"]
    for table in ("records", "data_keys"):
        house.sql("accounts", f"DELETE FROM {table} WHERE {kept}")


def _kept_at(house: House, person: Registered) -> str:
    """Erase somebody; return the condition that finds the row of what is kept."""
    column = "encode(pseudonym, 'hex')" if house.postgres else "lower(hex(pseudonym))"
    places = f"SELECT {column} FROM records"
    before = {place for (place,) in house.sql("accounts", places)}
    person.subject.erase("accounts")
    (kept,) = {place for (place,) in house.sql("accounts", places)} - before
    return f"{column} = '{kept}'"


def test_the_subject_sees_what_is_kept_and_until_when(house: House) -> None:
    person = house.register(city="Ош")
    assert not person.subject.view("accounts").kept
    person.subject.erase("accounts")
    view = person.subject.view("accounts")
    held = {name: value.expose() for name, value in view.items() if value is not None}
    assert held == {name: person.values[name] for name in ("last_name", "email")}
    assert (view.erased, view.etag, view.consents) == (True, "", ())
    assert [its.fields for its in view.kept] == [("last_name", "email")]


def test_coming_back_starts_anew_and_what_was_kept_stays_kept(house: House) -> None:
    person = house.register(last_name="Эскиев")
    person.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        person.subject.register("accounts", person.values)
    house.register(root=person.root, email=person.values["email"], last_name="Жаңыев")
    assert _archive(house).reveal(person.pseudonym, ["last_name"])["last_name"].expose() == "Жаңыев"
    view = person.subject.view("accounts")
    assert (view.erased, len(view.kept)) == (False, 1)
    assert "Эскиев" not in [value.expose() for value in view.values() if value is not None]
    erasure = person.subject.erase("accounts")
    assert len(erasure.kept) == 2  # each erasure's own
    assert _archive(house).reveal(person.pseudonym, ["last_name"])["last_name"].expose() == "Жаңыев"


def test_what_is_kept_goes_when_it_is_due(house: House, years: Callable[[float], None]) -> None:
    person = house.register()
    before = _counts(house)
    person.subject.erase("accounts")
    assert _counts(house)["records"] == before["records"]  # one went, one came
    years(4.9)
    swept(house, "accounts")
    assert _archive(house).reveal(person.pseudonym, ["last_name"])
    years(5.1)
    swept(house, "accounts")
    assert _counts(house)["records"] < before["records"]
    with pytest.raises(errors.Erased):
        _archive(house).reveal(person.pseudonym, ["last_name"])
    with pytest.raises(errors.Erased):
        person.subject.view("accounts")


def _counts(house: House) -> dict[str, int]:
    names = ("records", "data_keys", "tombstones")
    return {n: int(house.sql("accounts", f"SELECT count(*) FROM {n}")[0][0]) for n in names}


def test_an_erasure_stands_while_its_receipt_waits_for_the_key_server(house: House) -> None:
    """The worker's login may not sign for a while: as if the key server were away just then."""
    person, id_ = house.register(), new_request_id()
    path = f"sys/policies/acl/{worker('accounts')}"
    policy = house.running.admin.read(path)["data"]["policy"]
    sign = f'path "transit/sign/{signing_transit_key("accounts")}"'
    assert sign in policy
    house.running.admin.write(path, policy=policy.replace(sign, 'path "transit/sign/nothing"'))
    try:
        with pytest.raises(errors.KeysUnavailable) as failed:
            person.subject.erase("accounts", request_id=id_)
    finally:
        house.running.admin.write(path, policy=policy)
    assert failed.value.retryable
    with pytest.raises(errors.Erased):
        house.phone_of(person)
    erasure = person.subject.erase("accounts", request_id=id_)
    assert (erasure.verified, erasure.request.state) == (True, "done")
    assert len(erasure.kept) == 1


def test_an_erasure_that_breaks_off_in_the_middle_is_whole_again_and_ends_once(
    house: House, officers: OfficersClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is deleted in the transaction, and the process fails before what is kept is in."""
    person, id_, others = house.register(), new_request_id(), officers.requests("accounts")

    async def broken(*_: object) -> None:
        raise RuntimeError("the process broke off here")

    monkeypatch.setattr(erasing, "_keep", broken)
    with pytest.raises(errors.InternalError):
        person.subject.erase("accounts", request_id=id_)
    monkeypatch.undo()
    assert house.phone_of(person) == person.values["phone"]
    (request,) = [its for its in officers.requests("accounts") if its not in others]
    erasure = person.subject.erase("accounts", request_id=id_)
    assert (erasure.request.id, erasure.request.state) == (request.id, "done")
    assert len(erasure.kept) == 1
    again = person.subject.erase("accounts", request_id=id_)
    assert (again.kept, again.request.id) == (erasure.kept, request.id)
    erased = [e for e in house.events("accounts", id_) if e.replaces]
    assert len(erased) == 1


# Requests.


def test_a_request_stays_open_while_the_work_fails(house: House, officers: OfficersClient) -> None:
    person, id_, others = house.register(), new_request_id(), officers.requests("accounts")
    ring = officers.keys("accounts")
    ring.suspend()
    try:
        with pytest.raises(errors.KeysSuspended):
            person.subject.erase("accounts", request_id=id_)
        (request,) = [its for its in officers.requests("accounts") if its not in others]
        assert (request.kind, request.state, request.overdue) == ("erasure", "open", False)
        assert (request.due - request.opened).days == 7
        told = CliRunner().invoke(
            requests_command, ["--json"], env=house.environment("officer-aida")
        )
        assert told.exit_code == 0, told.output
        listed = [(its["compartment"], its["id"]) for its in json.loads(told.output)]
        assert ("accounts", request.id.hex()) in listed
    finally:
        ring.resume()
    assert person.subject.request("accounts", request.id).state == "open"
    erasure = person.subject.erase("accounts", request_id=id_)
    assert (erasure.request.id, erasure.request.state) == (request.id, "done")
    assert officers.requests("accounts") == others
    closed = officers.requests("accounts", closed=True)
    assert request.id in [its.id for its in closed]
    operations = [event.operation for event in house.trail("accounts").events]
    assert "requests.list" in operations


def test_an_export_that_nobody_finishes_becomes_overdue_for_officers(
    house: House, officers: OfficersClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the portal says that it came; closed, it is forgotten after its days."""

    def days_on(count: int) -> None:
        day = datetime.now(UTC).date() + timedelta(days=count)
        for room in ("service", "rpc"):
            monkeypatch.setattr(f"vault.{room}.requests.today", lambda: day)

    def told() -> tuple[int, str]:
        done = CliRunner().invoke(requests_command, ["web"], env=house.environment("officer-aida"))
        return done.exit_code, done.output.splitlines()[-1]

    person = house.register("web")
    request = person.subject.export("web", ExportKey.new().public).request
    days_on(7)
    assert (swept(house, "web").requests_overdue, told()[0]) == (0, 0)
    days_on(8)
    assert swept(house, "web").requests_overdue == 1
    assert told() == (1, "1 open, 1 of them overdue.")
    assert person.subject.finish("web", request.id).state == "done"
    assert (swept(house, "web").requests_overdue, told()[0]) == (0, 0)
    for days, kept in ((8 + KEPT_DAYS, True), (9 + KEPT_DAYS, False)):
        days_on(days)
        swept(house, "web")
        ids = [its.id for its in officers.requests("web", closed=True)]
        assert (request.id in ids) == kept


def test_nothing_tells_whose_a_request_is(house: House, officers: OfficersClient) -> None:
    """Four at one moment under one request id: no two rows have anything in common."""
    root, id_ = piivault.new_root(), new_request_id()
    people = [house.register(name, root=root) for name in ("accounts", "orders", "web")]
    before = {p.compartment: set(_rows(house, p.compartment)) for p in people}
    for person in people:
        person.subject.erase(person.compartment, request_id=id_)
    rows = [row for p in people for row in set(_rows(house, p.compartment)) - before[p.compartment]]
    assert len(rows) == len({id_ for id_, _ in rows}) == 3
    assert len({len(sealed) for _, sealed in rows}) == 1
    for name, sealed in rows:
        for person in people:
            raw = Pseudonym.parse(person.pseudonym).raw
            assert raw[:8] not in name + sealed


def _rows(house: House, compartment: str) -> list[tuple[bytes, bytes]]:
    rows = house.sql(compartment, "SELECT id, sealed FROM requests")
    return [(bytes(id_), bytes(sealed)) for id_, sealed in rows]


REFUSED_IDS = {"of nobody": bytes(16), "empty": b"", "long": bytes(64)}


@pytest.mark.parametrize("id_", REFUSED_IDS.values(), ids=REFUSED_IDS)
def test_a_request_that_is_none_is_not_found(house: House, id_: bytes) -> None:
    person = house.register("web")
    for request in (
        subjects.GetRequestRequest(compartment="web", capability=person.capability, id=id_),
        subjects.FinishRequestRequest(compartment="web", capability=person.capability, id=id_),
    ):
        assert house.refused("portal", request).reason == Reason.NOT_FOUND


def test_asking_for_what_is_not_there_leaves_no_request(
    house: House, officers: OfficersClient
) -> None:
    before = len(officers.requests("web", closed=True))
    nobody = house.client("portal").subject(piivault.new_root())
    for attempt in (nobody.erase, nobody.restrict):
        with pytest.raises(errors.NotFound):
            attempt("web")
    assert len(officers.requests("web", closed=True)) == before


# Restriction.


def test_a_restriction_stops_services_and_not_the_subject(house: House) -> None:
    person = house.register(city="Ош")
    request = person.subject.restrict("accounts")
    assert (request.kind, request.state) == ("restriction", "done")
    support = house.client("support").compartment("accounts", purpose="account")
    refused: list[Callable[[], object]] = [
        lambda: house.phone_of(person),
        lambda: support.reveal(person.pseudonym, ["city"]),
    ]
    for attempt in refused:
        with pytest.raises(errors.Restricted):
            attempt()
    assert support.find(email=person.values["email"]) is None
    assert _archive(house).reveal(person.pseudonym, ["last_name"])  # the law demands it
    view = person.subject.view("accounts")
    assert (view.restricted, len(view)) == (True, 8)
    person.subject.put("accounts", {"city": "Өзгөн"}, etag=view.etag)
    assert person.subject.restrict("accounts").state == "done"  # again: nothing changes
    person.subject.lift_restriction("accounts")
    assert house.phone_of(person) == person.values["phone"]
    assert not person.subject.view("accounts").restricted


# Consents.


def test_consents_keep_the_words_of_their_edition(house: House) -> None:
    person = house.register(consents=["services"])
    before = {n.purpose: n.text for n in house.client("portal").notices("accounts", "ky")}
    word = secrets.token_hex(4)
    Officers(house).change(
        ("    title: {ky: Кызматтарды көрсөтүү жана сатуу", "    title: {ky: Кызмат " + word),
    )
    person.subject.grant("accounts", house.consents("accounts", ["account"]))
    account, services = person.subject.consents("accounts")
    assert (account.consent.purpose, services.consent.purpose) == ("account", "services")
    assert services.notice.edition + 1 == account.notice.edition
    assert services.notice.text == before["services"]
    assert word not in services.notice.text
    assert account.as_shown
    assert services.as_shown
    texts = {
        language: person.subject.consents("accounts", language)[1].notice
        for language in ("ky", "ru", "en")
    }
    assert texts["ky"].text == services.notice.text
    assert "Оказание и продажа услуг" in texts["ru"].text
    assert "Providing and selling services" in texts["en"].text
    assert {notice.edition for notice in texts.values()} == {services.notice.edition}
    with pytest.raises(errors.InvalidRequest):
        person.subject.consents("accounts", "xx")


# Everywhere.


def test_erasing_everywhere_goes_on_where_it_stopped(
    house: House, officers: OfficersClient
) -> None:
    root = piivault.new_root()
    people = [house.register(name, root=root) for name in ("accounts", "orders", "web")]
    subject, kept = people[0].subject, list[str]()
    journey = Journey.begin(["accounts", "enterprises", "orders", "web"])
    ring = officers.keys("orders")
    ring.suspend()
    try:
        stopped = erase_everywhere(subject, journey, keep=lambda its: kept.append(its.to_json()))
    finally:
        ring.resume()
    assert stopped == Journey.from_json(kept[-1])
    states = {step.compartment: (step.state, step.error) for step in stopped.steps}
    assert states == {
        "accounts": ("done", ""),
        "enterprises": ("nothing", ""),
        "orders": ("open", "KEYS_SUSPENDED"),
        "web": ("done", ""),
    }
    assert len({step.request_id for step in stopped.steps}) == 4
    ended = erase_everywhere(subject, Journey.from_json(kept[-1]), keep=lambda its: None)
    assert ended.is_done
    of = {step.compartment: step for step in ended.steps}
    for person in people:
        receipt = Receipt.open(receipt_of(of[person.compartment]), _keys(house, person.compartment))
        assert receipt.is_of(person.pseudonym)


# Rectification.


def test_a_changed_value_leaves_nothing_of_the_old_one(house: House, tmp_path: Path) -> None:
    """Neither in its row, the index, nor a backup; and the value is free for others."""
    person = house.register(city="Ош")
    before = _stored(house, person)
    etag = person.subject.put("accounts", {"email": f"jany.{secrets.token_hex(6)}@example.kg"})
    with pytest.raises(errors.StaleEtag):
        person.subject.put("accounts", {"city": "Өзгөн"}, etag=person.etag)
    assert etag != person.etag
    after = _stored(house, person)
    assert before["records"].isdisjoint(after["records"])
    replaced = before["blind_index"] - after["blind_index"]
    assert len(replaced) == 1  # that of the e-mail; the telephone's is as it was
    swept(house, "accounts")
    gone = [*before["records"], *replaced, person.values["email"].encode()]
    for file in _dump(house, tmp_path):
        assert not [old for old in gone if old in file.read_bytes()], file.name
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.find(email=person.values["email"]) is None
    house.register(email=person.values["email"])  # nobody holds it any more


def _stored(house: House, person: Registered) -> dict[str, set[bytes]]:
    rows = {
        name: house.rows_of("accounts", name, person.pseudonym)
        for name in ("records", "blind_index")
    }
    return {
        "records": {bytes(sealed) for _, _, sealed in rows["records"]},
        "blind_index": {bytes(value) for _, _, value, _, _ in rows["blind_index"]},
    }


def _dump(house: House, folder: Path) -> list[Path]:
    """Write a backup; of SQLite, take the database's own files too."""
    files = asyncio.run(backed_up(house.running.owner_urls["accounts"], folder))
    own = [] if house.postgres else list((house.state / "data").glob("accounts.db*"))
    return [*files, *own]


def test_exporting_everywhere_goes_on_where_it_stopped(
    house: House, officers: OfficersClient
) -> None:
    root = piivault.new_root()
    people = [house.register(name, root=root) for name in ("accounts", "orders", "web")]
    subject, kept = people[0].subject, list[str]()
    subject.erase("web")
    places = ["accounts", "enterprises", "orders", "web"]
    keys, journey = ExportKeys.new(places), Journey.begin(places)
    ring = officers.keys("orders")
    ring.suspend()
    try:
        export_everywhere(subject, keys.public, journey, lambda its: kept.append(its.to_json()))
    finally:
        ring.resume()
    stopped = Journey.from_json(kept[-1])
    states = {step.compartment: (step.state, step.error) for step in stopped.steps}
    assert states == {
        "accounts": ("done", ""),
        "enterprises": ("nothing", ""),
        "orders": ("open", "KEYS_SUSPENDED"),
        "web": ("nothing", ""),
    }
    ended = export_everywhere(subject, keys.public, stopped, keep=lambda its: None)
    packages = [package_of(step) for step in ended.steps if step.state == "done"]
    assert packages[0] == package_of(stopped.steps[0])
    merged = merge(opened(house, package, keys) for package in packages)
    held = {its["holdings"]["compartment"]["name"] for its in merged["exports"]}
    assert held == {"accounts", "orders"}


async def test_the_asynchronous_client_exports_and_erases_everywhere_too(house: House) -> None:
    person = house.register("accounts")
    places = ["accounts", "orders"]
    keys = ExportKeys.new(places)
    environment = {**house.environment("portal"), "PIIVAULT_TIMEOUT": "20"}
    async with piivault.AsyncClient.from_env(environment) as vault:
        subject = vault.subject(person.root)
        exports = await export_everywhere_async(
            subject, keys.public, Journey.begin(places), keep=lambda its: None
        )
        erasures = await erase_everywhere_async(
            subject, Journey.begin(places), keep=lambda its: None
        )
    for journey in (exports, erasures):
        assert [step.state for step in journey.steps] == ["done", "nothing"]
    assert opened(house, package_of(exports.steps[0]), keys).compartment == "accounts"
    receipt = Receipt.open(receipt_of(erasures.steps[0]), _keys(house, "accounts"))
    assert receipt.is_of(person.pseudonym)


# Exports.


def test_what_the_law_has_kept_is_exported_too(house: House) -> None:
    """To who comes back, beside what they have now; each with its day."""
    person = house.register(city="Ош")
    person.subject.erase("accounts")
    held = exported(house, person.subject).holdings
    assert (held["subject"]["erased"], held["fields"], held["purposes"]) == (True, [], [])
    [kept] = held["kept"]
    values = {its["name"]: its["value"] for its in kept["fields"]}
    assert values == {name: person.values[name] for name in ("last_name", "email")}
    assert (kept["purpose"], kept["basis"]) == ("archive", "legal_obligation")
    assert {its["kept_until"] for its in kept["fields"]} == {kept["until"]}

    house.register(root=person.root, city="Өзгөн", email=person.values["email"])
    held = exported(house, person.subject).holdings
    assert not held["subject"]["erased"]
    assert "Өзгөн" in [its["value"] for its in held["fields"]]
    assert held["kept"] == [kept]


def test_a_restricted_record_is_exported(house: House) -> None:
    """It is theirs."""
    person = house.register()
    person.subject.restrict("accounts")
    assert exported(house, person.subject).holdings["subject"]["restricted"]
