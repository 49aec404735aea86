"""Which connection a call takes, and with which certificate."""

import os
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificate
from piivault import TLS, new_root
from piivault.v1 import subject_service_pb2 as subject_pb

from .house import PATIENT, PSEUDONYM, House, Sdk, issued, record
from .pki import Authority


def test_several_connections_are_used_in_turn(sdk: Sdk, house: House, portal: TLS) -> None:
    house.answer("Reveal", record(phone="+996555123456"))
    vault = sdk.open(house.address, portal, connections=3, timeout=PATIENT)
    accounts = vault.compartment("accounts", purpose="services")
    for _ in range(9):
        sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    peers = [seen.peer for seen in house.seen]
    assert len(set(peers)) == 3
    assert peers == peers[:3] * 3


def test_clients_share_no_connection(sdk: Sdk, house: House, portal: TLS) -> None:
    house.answer("ListNotices", subject_pb.ListNoticesResponse())
    for _ in range(2):
        sdk.do(sdk.open(house.address, portal, timeout=PATIENT).notices("accounts", "ky"))
    assert len({seen.peer for seen in house.seen}) == 2


def test_broker_and_workers_may_stand_apart(
    sdk: Sdk, house: House, authority: Authority, portal: TLS
) -> None:
    broker, web = House(authority.server()), House(authority.server())
    broker.answer("Issue", issued())
    for worker in (house, web):
        worker.answer("View", subject_pb.ViewResponse())
    vault = sdk.open(
        house.address,
        portal,
        timeout=PATIENT,
        broker_address=broker.address,
        compartment_addresses={"web": web.address},
    )
    person = vault.subject(new_root())
    sdk.do(person.view("accounts"))
    sdk.do(person.view("web"))
    broker.stop()
    web.stop()
    assert [seen.method for seen in broker.seen] == ["Issue", "Issue"]
    assert [[seen.request.compartment for seen in w.seen] for w in (house, web)] == [
        ["accounts"],
        ["web"],
    ]


@pytest.fixture
def looks_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the certificate files before every call, not once a second."""
    monkeypatch.setattr("piivault._channel._CHECK_FILES_EVERY", 0.0)


def serial(certificate: bytes) -> int:
    return load_pem_x509_certificate(certificate).serial_number


@pytest.mark.usefixtures("looks_at_once")
def test_a_renewed_certificate_is_taken_up(
    sdk: Sdk, house: House, authority: Authority, portal: TLS
) -> None:
    house.answer("ListNotices", subject_pb.ListNoticesResponse())
    vault = sdk.open(house.address, portal, timeout=PATIENT)
    sdk.do(vault.notices("accounts", "ky"))
    renewed = authority.client()
    sdk.do(vault.notices("accounts", "ky"))
    sdk.do(vault.notices("accounts", "ky"))
    first, second, third = (serial(seen.certificate) for seen in house.seen)
    assert first != second == third == serial(Path(renewed.certificate).read_bytes())


@pytest.mark.usefixtures("looks_at_once")
def test_a_half_written_certificate_leaves_the_old_one_in_use(
    sdk: Sdk, house: House, authority: Authority, portal: TLS
) -> None:
    house.answer("ListNotices", subject_pb.ListNoticesResponse())
    vault = sdk.open(house.address, portal, timeout=PATIENT)
    whole = Path(portal.certificate).read_bytes()
    Path(portal.certificate).write_bytes(whole[:100])
    sdk.do(vault.notices("accounts", "ky"))
    renewed = authority.client()
    sdk.do(vault.notices("accounts", "ky"))
    assert [serial(seen.certificate) for seen in house.seen] == [
        serial(whole),
        serial(Path(renewed.certificate).read_bytes()),
    ]


@pytest.mark.usefixtures("looks_at_once")
def test_replaced_connections_finish_their_calls_and_are_closed(
    sdk: Sdk, house: House, authority: Authority, portal: TLS, monkeypatch: pytest.MonkeyPatch
) -> None:
    house.answer("ListNotices", subject_pb.ListNoticesResponse())
    vault = sdk.open(house.address, portal, timeout=PATIENT)
    connections = vault._transport._connections
    sdk.do(vault.notices("accounts", "ky"))
    authority.client()
    sdk.do(vault.notices("accounts", "ky"))
    assert len(connections._retired) == 1
    monkeypatch.setattr("piivault._channel._RETIRE_AFTER", 0.0)
    sdk.do(vault.notices("accounts", "ky"))
    assert not connections._retired


def test_files_that_vanish_leave_the_client_at_work(
    sdk: Sdk, house: House, portal: TLS, looks_at_once: None
) -> None:
    house.answer("ListNotices", subject_pb.ListNoticesResponse())
    vault = sdk.open(house.address, portal, timeout=PATIENT)
    os.remove(portal.certificate)
    assert sdk.do(vault.notices("accounts", "ky")) == []
