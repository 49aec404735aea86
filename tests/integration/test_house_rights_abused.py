"""The subject's own rights, as a relaying service, a granted one or bad luck would turn them."""

import asyncio
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import piivault
import pytest
from piivault import errors
from piivault.officers import OfficersClient
from piivault.receipt import Receipt
from piivault.v1 import subject_service_pb2 as subjects

from tests.house import House
from tests.integration.test_sweep import swept
from tests.keeping import keeping_house
from tests.people import Registered
from tests.verifying import Verifier, found
from tests.wire import new_request_id
from vault.errors import Reason
from vault.names import Pseudonym, to_base64url
from vault.service import erase as erasing
from vault.service import requests as asking
from vault.service.repeating import request_mark
from vault.store.changes import RequestMark


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose policy has purposes that the law demands."""
    with keeping_house(tmp_path_factory.mktemp("abused"), postgres=False) as started:
        yield started


@pytest.fixture
def officers(house: House) -> Iterator[OfficersClient]:
    """An officer's tools."""
    with OfficersClient.from_env(house.environment("officer-aida")) as opened:
        yield opened


@pytest.fixture
def archive(house: House) -> piivault.CompartmentClient:
    """The service that reads what the law has kept."""
    return house.client("archive").compartment("accounts", purpose="archive")


def _receipt(house: House, erasure: piivault.Erasure) -> Receipt:
    return Receipt.open(erasure.receipt, list(house.settings.compartments["accounts"].signing_keys))


def _stored(house: House) -> set[str]:
    rows = house.sql("accounts", "SELECT pseudonym FROM records")
    return {str(Pseudonym(bytes(raw))) for (raw,) in rows}


def test_where_kept_data_lies_is_told_to_nobody_and_nobody_writes_there(
    house: House, archive: piivault.CompartmentClient
) -> None:
    """A list has no pseudonym of it; whoever had one could neither change it nor read beyond it."""
    living, person = house.register(), house.register()
    before = _stored(house)
    person.subject.erase("accounts")
    (place,) = _stored(house) - before
    for fields in (["last_name"], ["first_name"]):
        listed = {str(its) for its in archive.list_records(fields)}
        assert living.pseudonym in listed
        assert place not in listed
    for values in ({"first_name": "Башка"}, {"last_name": "Башка"}):
        with pytest.raises(errors.NotFound):
            archive.put(place, values)
    with pytest.raises(errors.NotFound):
        archive.reveal(place, ["last_name"])
    kept = archive.reveal(person.pseudonym, ["last_name"])["last_name"]
    assert kept.expose() == person.values["last_name"]


def test_no_word_of_the_caller_closes_a_request_that_was_not_carried_out(
    house: House, officers: OfficersClient
) -> None:
    """An erasure that failed stays open, whatever a relaying service says came."""
    person, id_ = house.register(), new_request_id()
    ring = officers.keys("accounts")
    ring.suspend()
    try:
        with pytest.raises(errors.KeysSuspended):
            person.subject.erase("accounts", request_id=id_)
    finally:
        ring.resume()
    (request,) = officers.requests("accounts")
    with pytest.raises(errors.InvalidRequest):
        person.subject.finish("accounts", request.id)
    assert person.subject.request("accounts", request.id).state == "open"
    assert person.subject.erase("accounts", request_id=id_).request.state == "done"
    assert person.subject.finish("accounts", request.id).state == "done"
    operations = [event.operation for event in house.trail("accounts").events]
    assert operations.count("finish_request") == 2  # whoever says so leaves a trace


def test_an_old_request_sent_again_says_nothing_new(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However late: it erases nothing that was registered since, nor passes for an erasure now."""
    person, id_ = house.register(), new_request_id()
    first = _receipt(house, person.subject.erase("accounts", request_id=id_))
    back = house.register(root=person.root)
    house.sql("accounts", "DELETE FROM idempotency")  # as the sweeper does, days later
    later = datetime.now(UTC).date() + timedelta(days=20)
    monkeypatch.setattr(asking, "today", lambda: later)
    again = _receipt(house, person.subject.erase("accounts", request_id=id_))
    assert (again.id, again.day) == (first.id, first.day)
    assert house.phone_of(back) == back.values["phone"]


def test_what_comes_while_it_is_erased_is_kept_as_the_law_demands(
    house: House, archive: piivault.CompartmentClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever erases meets a record that another process registered since they looked."""
    person = house.register()
    person.subject.erase("accounts")
    came = list[Registered]()

    async def meanwhile(*arguments: object) -> RequestMark | None:
        if not came:
            came.append(await asyncio.to_thread(house.register, root=person.root))
        return await request_mark(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(erasing, "request_mark", meanwhile)
    erasure = person.subject.erase("accounts")
    assert len(erasure.kept) == 2
    got = archive.reveal(person.pseudonym, ["last_name"])["last_name"].expose()
    assert got == came[0].values["last_name"]


def test_verify_holds_what_is_kept_against_the_trail(house: House) -> None:
    verifier = Verifier(house)
    try:
        before = _stored(house)
        person = house.register(email=f"{secrets.token_hex(6)}@example.kg")
        person.subject.erase("accounts")
        (place,) = _stored(house) - before
        report = verifier()
        assert found(report) == {}
        assert report.compared == report.records == len(before) + 1
        raw = Pseudonym.parse(place).raw.hex()
        house.sql("accounts", f"DELETE FROM data_keys WHERE lower(hex(pseudonym)) = '{raw}'")
        assert sum(found(verifier()).values()) == 1
    finally:
        verifier.close()
    swept(house, "accounts")  # it passes the damaged one over


EXTREMES = {
    "long before": (-(2**63), -(2**63), -(2**63), b""),
    "long after": (2**63 - 1, 2**63 - 1, 2**63 - 1, bytes(16)),
    "the last of today": (2**63 - 1, 2**40, 2**63 - 1, b"\xff" * 16),
}


@pytest.mark.parametrize(("as_of", "day", "sequence", "writer"), EXTREMES.values(), ids=EXTREMES)
def test_a_page_of_a_report_that_somebody_made_up_is_answered(
    house: House, as_of: int, day: int, sequence: int, writer: bytes
) -> None:
    person = house.register()
    numbers = (n.to_bytes(8, "big", signed=True) for n in (as_of, day, sequence))
    token = to_base64url(b"".join(numbers) + writer)
    request = subjects.ReportRequest(
        compartment="accounts", capability=person.capability, language="ky", page_token=token
    )
    assert house.told("portal", request) in ("", Reason.MALFORMED_REQUEST)
