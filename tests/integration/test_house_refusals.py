"""What is refused before or beside every use case is an event of the trail, too."""

import asyncio
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from piivault.v1 import key_service_pb2 as keys
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects

from tests.certificates import Authority
from tests.house import House
from tests.officers import Officers, reveal, soon
from tests.wire import PATIENCE, new_request_id, open_channel, refusal_of, send_bytes
from vault.audit.event import DENIED, FAILED, UNKNOWN_CALLER
from vault.errors import Reason
from vault.names import BROKER
from vault.rpc.status import REQUEST_ID
from vault.sealed.v1 import sealed_pb2
from vault.service.bodies import block_body
from vault.service.ledger import BLOCK

REVEAL = "/piivault.v1.RecordService/Reveal"
BATCH_REVEAL = "/piivault.v1.RecordService/BatchReveal"
PLANTED = "planted-Токтогулова-+996555123456"
STRANGER = "spiffe://oshto.kg/nobody"
SLOW = 3600.0  # seconds
ASKING = records.RevealRequest(
    compartment="accounts", purpose="services", pseudonym=PLANTED, fields=[PLANTED]
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose key is ours, so that it issues whatever we want."""
    return Authority(tmp_path_factory.mktemp("refusals") / "authority")


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """One more server, and whoever our authority lets in there."""

    house: House
    address: str
    authority: Authority

    def channel(self, name: str, *uris: str, common_name: str = "") -> grpc.Channel:
        tls = self.authority.client(name, *uris, common_name=common_name)
        return open_channel(self.address, dataclasses.replace(tls, ca=Path(self.house.running.ca)))

    def refused(
        self, channel: grpc.Channel, body: bytes, method: str = REVEAL, timeout: float = PATIENCE
    ) -> tuple[str, str]:
        """Send what must be refused; return the reason, and the request id."""
        request_id = new_request_id()
        with channel, pytest.raises(grpc.RpcError) as caught:
            send_bytes(channel, method, body, request_id, timeout)
        return refusal_of(caught.value).reason, request_id

    def event(self, request_id: str, trail: str = "accounts") -> sealed_pb2.AuditEvent:
        (found,) = self.house.events(trail, request_id)
        return found


@pytest.fixture(scope="module")
def asked(house: House, authority: Authority) -> Iterator[Asked]:
    with house.another_server(SERVER__CLIENT_CA=str(authority.file)) as address:
        yield Asked(house, address, authority)


ORDERS, PORTAL = "spiffe://oshto.kg/orders", "spiffe://oshto.kg/portal"
AIDA = "spiffe://oshto.kg/officer/aida"
TURNED_AWAY: dict[str, tuple[dict[str, Any], Reason, str, str]] = {
    "a stranger": ({"uris": [STRANGER]}, Reason.IDENTITY_UNKNOWN, STRANGER, ""),
    "a stranger whose id is too long": (
        {"uris": [STRANGER + "x" * 300]}, Reason.IDENTITY_UNKNOWN, UNKNOWN_CALLER, ""),
    "a stranger whose id isn't spelt as one": (
        {"uris": [STRANGER + "%2b996555112233"]}, Reason.IDENTITY_UNKNOWN, UNKNOWN_CALLER, ""),
    "a common name": (
        {"uris": [], "common_name": ORDERS}, Reason.IDENTITY_MISSING, UNKNOWN_CALLER, ""),
    "a service out of place": ({"uris": [PORTAL]}, Reason.METHOD_NOT_ALLOWED, "portal", "portal"),
    "an officer out of place": (
        {"uris": [AIDA]}, Reason.METHOD_NOT_ALLOWED, "officer:aida", ""),
}  # fmt: skip


@pytest.mark.parametrize(
    ("certificate", "reason", "service", "owned"), TURNED_AWAY.values(), ids=TURNED_AWAY
)
def test_whoever_is_turned_away_leaves_an_event_and_nothing_that_they_sent(
    asked: Asked, certificate: dict[str, Any], reason: Reason, service: str, owned: str
) -> None:
    """In each trail of the process: what they sent isn't read, so it names no compartment."""
    channel = asked.channel("c", *certificate["uris"],
                            common_name=certificate.get("common_name", ""))  # fmt: skip
    said, request_id = asked.refused(channel, ASKING.SerializeToString())
    assert said == reason
    owner = asked.house.edition.services[owned].owner if owned else ""
    for trail in asked.house.settings.compartments:
        event = asked.event(request_id, trail)
        assert event.at > 0
        event.at = 0
        assert event == sealed_pb2.AuditEvent(
            edition=1, service=service, owner=owner, operation="reveal",
            outcome=DENIED, reason=reason, request_id=request_id,
        )  # fmt: skip
    assert asked.house.events(BROKER, request_id) == []


def _body(request: Any) -> bytes:
    body: bytes = request.SerializeToString()
    return body


Sent = tuple[str, str, bytes, Reason, tuple[str, ...]]
ALL = ("accounts", "orders")
OUTSIDE: dict[str, Sent] = {  # who sends what to which method; in which trails it is
    "bytes that are no message": (ORDERS, "RecordService/Reveal", b"\xff\xff",
        Reason.MALFORMED_REQUEST, ALL),
    "a compartment that isn't": (ORDERS, "RecordService/Reveal",
        _body(records.RevealRequest(compartment=PLANTED)), Reason.UNKNOWN_COMPARTMENT, ALL),
    "a batch of none": (ORDERS, "RecordService/BatchReveal",
        _body(records.BatchRevealRequest(compartment="accounts", purpose="services")),
        Reason.MALFORMED_REQUEST, ("accounts",)),
    "a search for nothing": (ORDERS, "RecordService/Find",
        _body(records.FindRequest(compartment="accounts", purpose="services")),
        Reason.MALFORMED_REQUEST, ("accounts",)),
    "a subject of no kind": (PORTAL, "SubjectService/Register",
        _body(subjects.RegisterRequest(compartment="accounts")),
        Reason.MALFORMED_REQUEST, ("accounts",)),
    "a rotation that isn't": (AIDA, "KeyService/GetRotation",
        _body(keys.GetRotationRequest(compartment="orders", id=b"none")),
        Reason.MALFORMED_REQUEST, ("orders",)),
    "no message to the broker": (PORTAL, "PseudonymService/Issue", b"\xff",
        Reason.MALFORMED_REQUEST, (BROKER,)),
    "an internal service at the broker": (ORDERS, "PseudonymService/Issue",
        _body(pseudonyms.IssueRequest(compartment="accounts", root_id=bytes(16))),
        Reason.METHOD_NOT_ALLOWED, (BROKER,)),
    "an internal service at the auditor": (ORDERS, "AuditService/ListEvents", b"",
        Reason.METHOD_NOT_ALLOWED, ()),
}  # fmt: skip


@pytest.mark.parametrize(
    ("spiffe", "method", "body", "reason", "trails"), OUTSIDE.values(), ids=OUTSIDE
)
def test_what_no_use_case_sees_leaves_one_event_where_it_belongs(
    asked: Asked, spiffe: str, method: str, body: bytes, reason: Reason, trails: tuple[str, ...]
) -> None:
    said, request_id = asked.refused(asked.channel("c", spiffe), body, f"/piivault.v1.{method}")
    assert said == reason
    for trail in (*ALL, BROKER):
        events = asked.house.events(trail, request_id)
        assert [(e.outcome, e.reason, e.compartment) for e in events] == [(DENIED, reason, "")] * (
            trail in trails
        )
        assert all(PLANTED not in str(e) for e in events)


def test_a_blocked_service_leaves_events_and_nothing_that_it_sent(officers: Officers) -> None:
    house = officers.house
    officers.approve(BLOCK, block_body("orders", "lost its key", "nonce"), "aida")
    found: list[str] = []

    def is_blocked() -> bool:
        refusal = house.refused("orders", ASKING)
        found.append(refusal.request_id)
        return refusal.reason == Reason.SERVICE_BLOCKED

    soon(is_blocked)
    (event,) = house.events("accounts", found[-1])
    assert (event.service, event.reason, event.purpose) == ("orders", "SERVICE_BLOCKED", "")


# Nobody waits any more.


@pytest.fixture
def came(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Whether a request came as far as the database, which never answers now."""
    is_there = threading.Event()

    async def never(*arguments: object) -> NoReturn:
        is_there.set()
        await asyncio.sleep(SLOW)
        raise AssertionError("nobody waits so long")

    monkeypatch.setattr("vault.store.load.Loader.load_each", never)
    return is_there


def _leaves(channel: grpc.Channel, method: str, body: bytes, came: threading.Event) -> str:
    """Ask, and go away; return the request's id."""
    call: Any = channel.unary_unary(method)
    request_id = new_request_id()
    waiting = call.future(body, timeout=PATIENCE, metadata=((REQUEST_ID, request_id),))
    assert came.wait(PATIENCE)
    waiting.cancel()
    return request_id


def _runs_out(channel: grpc.Channel, method: str, body: bytes, came: threading.Event) -> str:
    """Ask with little time, or with more where that was over too soon."""
    for seconds in (0.3, 3.0, PATIENCE):
        request_id = new_request_id()
        with pytest.raises(grpc.RpcError) as caught:
            send_bytes(channel, method, body, request_id, timeout=seconds)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        if came.is_set():
            break
    return request_id


ENDS = {"the deadline passes": _runs_out, "the caller leaves": _leaves}


@pytest.mark.parametrize("ends", ENDS.values(), ids=ENDS)
def test_who_waits_no_more_before_it_is_decided_leaves_one_event(
    asked: Asked, came: threading.Event, ends: Any
) -> None:
    sent = _body(reveal(asked.house.register(), "phone"))
    with asked.channel("c", ORDERS) as channel:
        request_id = ends(channel, REVEAL, sent, came)
        event = soon(lambda: asked.house.events("accounts", request_id))
    assert [(e.outcome, e.reason, e.purpose, len(e.fields)) for e in event] == [
        (FAILED, Reason.DEADLINE_EXCEEDED, "services", 1)
    ]


def test_who_waits_no_more_for_a_batch_leaves_an_event_for_each_record(
    asked: Asked, came: threading.Event
) -> None:
    people = [asked.house.register() for _ in range(3)]
    batch = records.BatchRevealRequest(
        compartment="accounts",
        purpose="services",
        pseudonyms=[person.pseudonym for person in people],
        fields=["phone"],
    )
    with asked.channel("c", ORDERS) as channel:
        request_id = _runs_out(channel, BATCH_REVEAL, _body(batch), came)
    soon(lambda: len(asked.house.events("accounts", request_id)) == len(people))
    events = asked.house.events("accounts", request_id)
    assert [(e.outcome, e.reason, e.purpose, len(e.fields)) for e in events] == [
        (FAILED, Reason.DEADLINE_EXCEEDED, "services", 1)
    ] * len(people)


# A trail that can't be written.


def test_a_refusal_waits_little_for_a_trail_that_can_not_be_written(asked: Asked) -> None:
    """It is counted, and in the trail when that can be written again."""
    before = {e.request_id for e in asked.house.trail("accounts").events}
    sent = _body(reveal(asked.house.register(), "phone"))
    with asked.house.unwritable_trail():
        for _ in range(3):
            began = time.monotonic()
            assert asked.refused(asked.channel("a", STRANGER), b"")[0] == Reason.IDENTITY_UNKNOWN
            assert asked.refused(asked.channel("b", ORDERS), sent)[0] == Reason.AUDIT_UNAVAILABLE
            assert time.monotonic() - began < PATIENCE

    def told() -> Counter[str]:
        events = [e for e in asked.house.trail("accounts").events if e.request_id not in before]
        return Counter({e.reason: max(e.count, 1) for e in events})

    soon(lambda: told() >= Counter({"IDENTITY_UNKNOWN": 3, "AUDIT_UNAVAILABLE": 3}))
