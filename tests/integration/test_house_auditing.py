"""The auditor in a running house: reading, counting, following, and who may look."""

import json
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from piivault import Form, errors
from piivault.auditors import Alike, AuditClient, AuditEvent, EventFilter
from piivault.officers import OfficersClient
from piivault.v1 import audit_service_pb2 as pb

from tests.house import House
from tests.officers import OFFICER, reveal, run, soon
from tests.wire import PATIENCE, new_request_id, refusal_of, send
from vault.errors import Reason


@dataclass(frozen=True, slots=True)
class Asked:
    """A few requests, and when they began."""

    since: datetime
    ids: tuple[str, ...]


@pytest.fixture
def asked(house: House) -> Asked:
    """Two reveals by orders, one by support, one beyond the purpose, one without a grant."""
    person, since = house.register(), datetime.now(UTC)
    requests = (
        ("orders", reveal(person, "phone", "last_name")),
        ("orders", reveal(person, "phone")),
        ("support", reveal(person, "email", purpose="account")),
        ("orders", reveal(person, "phone", "email")),
        ("newsletter", reveal(person, "phone")),
    )
    ids = tuple(new_request_id() for _ in requests)
    for (service, request), request_id in zip(requests, ids, strict=True):
        try:
            house.ask(service, request, request_id)
        except grpc.RpcError as e:
            assert e.code() is grpc.StatusCode.PERMISSION_DENIED  # noqa: PT017 -- or answered
    return Asked(since, ids)


def test_an_event_tells_an_officer_what_happened(trail: AuditClient, asked: Asked) -> None:
    (event,) = trail.events("accounts", EventFilter(request_id=asked.ids[3]))
    assert asked.since < event.at < datetime.now(UTC)
    assert replace(event, at=asked.since, writer="", sequence=0) == AuditEvent(
        at=asked.since, edition=1, service="orders", owner="municipal_services",
        purpose="services", operation="reveal", fields={"phone": None, "email": None},
        outcome="denied", reason="FIELD_BEYOND_PURPOSE", request_id=asked.ids[3], recipient="",
        changed=False, count=1, writer="", sequence=0)  # fmt: skip
    (event,) = trail.events("accounts", EventFilter(request_id=asked.ids[2]))
    assert event.fields == {"email": Form.MASKED}
    assert len(event.writer) == 32


def test_a_key_that_was_drawn_since_opens_its_events(house: House, trail: AuditClient) -> None:
    """The auditor is running while the trail's key is rotated."""
    person, request_id = house.register(), new_request_id()
    with OfficersClient.from_env(house.environment(OFFICER)) as officers:
        keys = officers.keys("accounts")
        begun = keys.rotate("audit")
        soon(lambda: keys.rotation(begun.id).state == "done")
    house.ask("orders", reveal(person, "phone"), request_id)
    (event,) = trail.events("accounts", EventFilter(request_id=request_id))
    assert event.outcome == "allowed"


def test_each_look_is_logged_with_the_officer_who_looks(
    trail: AuditClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "piivault.rpc")
    next(trail.events("accounts"), None)
    looks = "AuditService/ListEvents caller=spiffe://oshto.kg/officer/aida reason=OK"
    assert soon(lambda: looks in caplog.text)


FILTERS: dict[str, tuple[EventFilter, tuple[int, ...]]] = {
    "everything": (EventFilter(), (4, 3, 2, 1, 0)),
    "a service": (EventFilter(service="orders"), (3, 1, 0)),
    "a purpose": (EventFilter(purpose="account"), (2,)),
    "an operation": (EventFilter(operation="reveal"), (4, 3, 2, 1, 0)),
    "an operation that wasn't": (EventFilter(operation="find"), ()),
    "what was allowed": (EventFilter(outcome="allowed"), (2, 1, 0)),
    "what was denied": (EventFilter(outcome="denied"), (4, 3)),
    "a reason": (EventFilter(reason="NOT_GRANTED"), (4,)),
    "a field": (EventFilter(fields=["email"]), (3, 2)),
    "two fields": (EventFilter(fields=["email", "phone"]), (3,)),
    "a field that isn't": (EventFilter(fields=["shoe_size"]), ()),
    "several": (EventFilter(service="orders", outcome="denied", fields=["email"]), (3,)),
}


@pytest.mark.parametrize(("only", "which"), FILTERS.values(), ids=FILTERS)
@pytest.mark.parametrize("page", [1, 2, 500])
def test_a_filter_means_what_it_says_on_pages_of_any_size(
    trail: AuditClient, asked: Asked, only: EventFilter, which: tuple[int, ...], page: int
) -> None:
    only = replace(only, since=asked.since)
    found = [e.request_id for e in trail.events("accounts", only, page_size=page)]
    assert found == [asked.ids[i] for i in which]


def test_a_time_is_kept_to(trail: AuditClient, asked: Asked) -> None:
    times = {e.request_id: e.at for e in trail.events("accounts", EventFilter(asked.since))}
    since, until = times[asked.ids[1]], times[asked.ids[3]]
    found = [e.request_id for e in trail.events("accounts", EventFilter(since, until))]
    assert found == [asked.ids[2], asked.ids[1]]
    ahead = EventFilter(since=datetime.now(UTC) + timedelta(days=1))
    assert not list(trail.events("accounts", ahead))


@pytest.mark.parametrize("bucket", [1, 60, 3600])
def test_a_summary_counts_what_a_list_holds(trail: AuditClient, asked: Asked, bucket: int) -> None:
    """Of all that ever was asked in this house; an event may stand for several, and come late."""
    only = EventFilter(until=datetime.now(UTC))

    def listed() -> Counter[Alike]:
        counted = Counter[Alike]()
        for e in trail.events("accounts", only):
            alike = Alike(_floor(e.at, bucket), e.service, e.purpose, e.operation, e.outcome)
            counted[alike] += e.count
        return counted

    found = soon(
        lambda: (its := listed()) == trail.summary("accounts", only, bucket=bucket) and its
    )
    assert found.total() >= len(asked.ids)


def _floor(at: datetime, bucket: int) -> datetime:
    return datetime.fromtimestamp(int(at.timestamp()) // bucket * bucket, UTC)


def test_a_tail_shows_what_comes(house: House, trail: AuditClient) -> None:
    person, request_id = house.register(), new_request_id()
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.2):
            house.ask("orders", reveal(person, "phone"), request_id)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        only = EventFilter(service="orders", request_id=request_id)
        with closing(trail.tail("accounts", only)) as events:
            found = [next(events) for _ in range(3)]
    finally:
        stop.set()
        asking.join()
    assert {e.request_id for e in found} == {request_id}
    assert [e.sequence for e in found] == sorted(e.sequence for e in found)


def test_a_stream_ends_when_the_server_does(house: House) -> None:
    began = threading.Event()
    ended: list[Exception] = []

    def follow(address: str) -> None:
        environment = {**house.environment(OFFICER), "PIIVAULT_AUDITOR_ADDRESS": address}
        with AuditClient.from_env(environment) as client:
            try:
                for _ in client.tail("accounts"):
                    began.set()
            except errors.PiivaultError as e:
                ended.append(e)

    person = house.register()
    with house.another_server() as address:
        following = threading.Thread(target=follow, args=(address,))
        following.start()
        while not began.wait(0.2):
            house.phone_of(person)
    following.join(PATIENCE)
    (error,) = ended
    assert isinstance(error, errors.Unavailable)


# Who may look, and at what.

LOOKS: dict[str, Message] = {
    "ListEvents": pb.ListEventsRequest(compartment="accounts"),
    "TailEvents": pb.TailEventsRequest(compartment="accounts"),
    "Summarize": pb.SummarizeRequest(compartment="accounts"),
}


def _refused(house: House, identity: str, method: str, request: Message) -> tuple[str, Any]:
    call: Any = house.channel(identity).unary_stream(f"/piivault.v1.AuditService/{method}")
    with pytest.raises(grpc.RpcError) as caught:
        list(call(request.SerializeToString(), timeout=PATIENCE))
    refusal = refusal_of(caught.value)
    return refusal.reason, refusal.violations


@pytest.mark.parametrize("method", LOOKS)
@pytest.mark.parametrize("identity", ["orders", "portal", "support"])
def test_no_service_looks_into_the_trail(house: House, identity: str, method: str) -> None:
    assert _refused(house, identity, method, LOOKS[method])[0] == Reason.METHOD_NOT_ALLOWED


@pytest.mark.parametrize("method", LOOKS)
def test_a_request_names_one_compartment(house: House, method: str) -> None:
    """There is no field for a second, and no name for all."""
    for name in ("", "*", "accounts,orders", "accounts orders"):
        request = type(LOOKS[method])(compartment=name)
        assert _refused(house, OFFICER, method, request)[0] == Reason.UNKNOWN_COMPARTMENT
    compartments = [f for f in LOOKS[method].DESCRIPTOR.fields if "compartment" in f.name]
    assert [(f.name, f.is_repeated) for f in compartments] == [("compartment", False)]


def test_a_page_token_is_good_for_its_own_question_alone(house: House, asked: Asked) -> None:
    first = send(house.channel(OFFICER), pb.ListEventsRequest(compartment="accounts", page_size=1))
    token = first.next_page_token
    other = pb.EventFilter(service="orders")
    for wrong in (
        pb.ListEventsRequest(compartment="accounts", page_token=token, filter=other),
        pb.ListEventsRequest(compartment="accounts", page_token=token[:-1] + "?"),
        pb.ListEventsRequest(compartment="accounts", page_token="x"),
        pb.ListEventsRequest(compartment="orders", page_token=token),
    ):
        reason, violations = _refused(house, OFFICER, "ListEvents", wrong)
        assert reason == Reason.MALFORMED_REQUEST
        assert set(violations) == {"page_token"}


def test_a_filter_that_cannot_be_meant_is_refused(house: House) -> None:
    begun = pb.EventFilter(until=Timestamp(seconds=1))
    tail = pb.TailEventsRequest(compartment="accounts", filter=begun)
    assert _refused(house, OFFICER, "TailEvents", tail)[0] == Reason.MALFORMED_REQUEST
    unknown = pb.EventFilter(reason=9999)  # type: ignore[arg-type]
    listed = pb.ListEventsRequest(compartment="accounts", filter=unknown)
    assert _refused(house, OFFICER, "ListEvents", listed)[0] == Reason.MALFORMED_REQUEST


def test_any_moment_may_be_asked_for(house: House) -> None:
    """However far away: whatever a Timestamp can hold, and what it can't."""
    for seconds in (-(2**63), -1, 0, 253402300799, 2**63 - 1):
        stamp = Timestamp(seconds=seconds, nanos=-(2**31))
        for end in ("from", "until"):
            request = pb.ListEventsRequest(compartment="accounts", page_size=1)
            getattr(request.filter, end).CopyFrom(stamp)
            send(house.channel(OFFICER), request)


# The commands.


def test_the_commands_say_what_happened(house: House, asked: Asked, tmp_path: Path) -> None:
    since = asked.since.isoformat()
    lines = run(house, "list", "accounts", "--since", since, "--outcome", "denied").splitlines()
    assert len(lines) == 2
    assert "newsletter" in lines[0]
    assert "denied NOT_GRANTED  phone (not given)" in lines[0]
    one = run(house, "list", "accounts", "--request", asked.ids[2], "--json")
    said = json.loads(one)
    assert (said["service"], said["fields"]) == ("support", {"email": "masked"})
    table = run(house, "summary", "accounts", "--since", since, "-o", str(tmp_path / "out.svg"))
    assert "municipal" not in table
    assert "support" in table
    drawn = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert "3 reveals and 2 denials" in drawn
    lines = run(house, "summary", "accounts", "--since", since, "--json").splitlines()
    assert sum(json.loads(line)["count"] for line in lines) == 5


def test_the_tail_command_prints_lines_until_it_is_stopped(house: House) -> None:
    person = house.register()
    environment = {**os.environ, **house.environment(OFFICER), "PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-c", "from vault.cli import main; main()", "audit", "tail", "accounts",
            "--service", "orders", "--json"]  # fmt: skip
    with subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        done = threading.Event()

        def ask() -> None:
            while not done.wait(0.3):
                house.phone_of(person)

        asking = threading.Thread(target=ask)
        asking.start()
        said = json.loads(tail.stdout.readline())
        done.set()
        asking.join()
        tail.terminate()
    assert said["operation"] == "reveal"
