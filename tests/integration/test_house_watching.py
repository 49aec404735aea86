"""The auditor's watch in a running house: alarms, floods, readiness, metrics, and what leaks."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from piivault.auditors import AuditClient, AuditEvent, EventFilter
from piivault.v1 import audit_service_pb2 as pb

from tests.house import House
from tests.officers import OFFICER, reveal, run, soon
from tests.traces import forms, leaks
from tests.wire import PATIENCE, new_request_id, open_channel, refusal_of, send
from vault.errors import Reason
from vault.names import Pseudonym

SERVICE = "piivault.v1.RecordService"


@dataclass(frozen=True, slots=True)
class Watched:
    """One more server, whose auditor is easily alarmed; and what it writes."""

    house: House
    address: str
    folder: Path

    def ask(self, identity: str, request: Message, request_id: str = "") -> str:
        """Send a request there; return the reason why it was refused, or ""."""
        with open_channel(self.address, self.house.tls(identity)) as channel:
            try:
                send(channel, request, request_id)
            except grpc.RpcError as e:
                return refusal_of(e).reason
        return ""

    def alarms(self, **wanted: object) -> list[dict[str, Any]]:
        file = self.folder / "alarms.jsonl"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        found = [json.loads(line) for line in lines]
        return [a for a in found if wanted.items() <= a.items()]

    def metrics(self) -> Mapping[str, float]:
        file = self.folder / "piivault.prom"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def is_ready(self) -> bool:
        with open_channel(self.address, self.house.tls("orders")) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            names = ("", SERVICE)
            asked = [health_pb2.HealthCheckRequest(service=name) for name in names]
            found = {stub.Check(one, timeout=PATIENCE).status for one in asked}
        return found == {health_pb2.HealthCheckResponse.SERVING}


@pytest.fixture
def watched(house: House, tmp_path: Path) -> Iterator[Watched]:
    with house.another_server(
        AUDITOR__ALARM_FILE=str(tmp_path / "alarms.jsonl"),
        AUDITOR__THRESHOLDS__SUBJECTS="3",
        AUDITOR__THRESHOLDS__DENIALS="25",
        METRICS__FILE=str(tmp_path / "piivault.prom"),
        METRICS__INTERVAL="0.2",
        SERVER__DENIALS_PER_SECOND="2",
    ) as address:
        yield Watched(house, address, tmp_path)


def test_enumeration_is_an_alarm(
    watched: Watched, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    for person in [house.register() for _ in range(5)]:
        assert not watched.ask("orders", reveal(person, "phone"))
    wanted = {"alarm": "enumeration", "service": "orders", "compartment": "accounts"}
    alarm = soon(lambda: watched.alarms(**wanted))[0]
    assert alarm["count"] > alarm["limit"] == 3
    assert "piivault service block orders" in caplog.text
    name = 'piivault_alarms_total{compartment="accounts",kind="enumeration"}'
    soon(lambda: watched.metrics().get(name))


def test_a_flood_of_denials_is_counted_and_is_an_alarm(
    watched: Watched, house: House, trail: AuditClient
) -> None:
    person, since = house.register(), datetime.now(UTC)
    with open_channel(watched.address, house.tls("newsletter")) as channel:
        for _ in range(40):
            with pytest.raises(grpc.RpcError) as caught:
                send(channel, reveal(person, "phone"))
            assert refusal_of(caught.value).reason == Reason.NOT_GRANTED
    only = EventFilter(since=since, service="newsletter")

    def told() -> list[AuditEvent]:
        events = list(trail.events("accounts", only))
        return events if sum(e.count for e in events) == 40 else []

    events = soon(told)
    assert 1 < len(events) < 30
    counted = [e for e in events if e.count > 1]
    assert {(e.reason, e.purpose, *e.fields) for e in counted} == {
        ("NOT_GRANTED", "services", "phone")
    }
    assert sum(trail.summary("accounts", only).values()) == 40
    soon(lambda: watched.alarms(alarm="denials", service="newsletter"))
    name = 'piivault_audit_events_total{compartment="accounts",outcome="denied"}'
    assert soon(lambda: watched.metrics().get(name, 0) >= 40)


def test_an_unwritable_trail_denies_and_readiness_says_so(watched: Watched, house: House) -> None:
    person = house.register()
    assert watched.is_ready()
    with house.unwritable_trail():
        assert watched.ask("orders", reveal(person, "phone")) == Reason.AUDIT_UNAVAILABLE
        soon(lambda: not watched.is_ready())
        name = 'piivault_trail_writable{compartment="accounts"}'
        soon(lambda: watched.metrics().get(name) == 0)
        time.sleep(1.2)  # a probe that fails changes nothing
        assert not watched.is_ready()
    soon(watched.is_ready)
    assert not watched.ask("orders", reveal(person, "phone"))
    assert soon(lambda: watched.metrics().get(name) == 1)


# What leaks.


def test_nothing_that_an_auditor_sees_tells_of_a_subject(
    watched: Watched, house: House, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither answers, nor commands, metrics and alarms; no token, and no row's digest."""
    mark = f"kanareika{time.time_ns()}"
    people = [house.register(last_name=mark, email=f"{mark}{i}@example.kg") for i in range(5)]
    request_id = new_request_id()
    for person in people:
        watched.ask("orders", reveal(person, "phone", "last_name"), request_id)
        watched.ask("orders", reveal(person, mark))
        watched.ask("orders", reveal(person, "phone", purpose=mark))
        person.subject.put("accounts", {"city": mark})
    soon(lambda: watched.alarms(alarm="enumeration"))
    soon(lambda: watched.metrics())
    channel = house.channel(OFFICER)
    seen = {
        "a page": send(channel, pb.ListEventsRequest(compartment="accounts", page_size=1000)),
        "a summary": send(channel, pb.SummarizeRequest(compartment="accounts")),
    }
    answers = {name: its.SerializeToString() for name, its in seen.items()}
    answers["the command"] = run(house, "list", "accounts", "--json").encode()
    answers["the table"] = run(house, "summary", "accounts").encode()
    files = {file.name: file.read_bytes() for file in watched.folder.iterdir()}
    secrets: dict[str, bytes] = {"mark": mark.encode()}
    for i, person in enumerate(people):
        secrets |= {f"pseudonym {i}": Pseudonym.parse(person.pseudonym).raw}
        secrets |= {f"phone {i}": person.values["phone"].encode()}
        secrets |= {f"root {i}": bytes(person.root)}
    for i, (token,) in enumerate(house.sql("accounts", "SELECT token FROM audit")):
        secrets[f"token {i}"] = bytes(token)
    for i, event in enumerate(house.trail("accounts").events):
        if event.row_digest:
            secrets[f"digest {i}"] = event.row_digest
    assert b"orders" in answers["a page"]
    assert request_id.encode() in answers["a page"]
    needles = {f"{n}, {how}": f for n, raw in secrets.items() for how, f in forms(raw).items()}
    assert not leaks(answers, needles)
    assert not leaks({**files, "the log": caplog.text.encode()}, needles)
    assert not leaks(files, {"a request id": request_id.encode()})
