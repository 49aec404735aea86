"""Wall 1, the API: what rides along, what can be called, and what answers tell who may not know."""

import uuid
from collections.abc import Callable
from typing import Any

import grpc
import piivault
import pytest
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from piivault.v1 import policy_service_pb2 as policies
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests import wire
from tests.attack.actors import PURPOSE, REVEAL, Actors, reveal, told_with
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.people import COMPARTMENTS, Registered
from tests.wire import PATIENCE
from vault.errors import Reason
from vault.names import to_base64url
from vault.rpc.status import REQUEST_ID

# What rides along.


def test_a_request_id_of_two_services_is_two_request_ids(
    actors: Actors, person: Registered, attempts: Attempts
) -> None:
    """Whoever knows another's request id neither hinders their write nor learns what it was."""
    house, request_id = actors.house, str(uuid.uuid4())
    mine = subjects.SubjectServicePutRequest(
        compartment="accounts",
        capability=person.capability,
        fields=[types_pb2.FieldValue(name="city", value="Ош")],
    )
    theirs = records.RecordServicePutRequest(
        compartment="accounts",
        purpose="services",
        pseudonym=person.pseudonym,
        fields=[types_pb2.FieldValue(name="phone", value=person.values["phone"])],
    )
    first = house.ask("portal", mine, request_id)
    second = wire.send(actors.channel("worker-accounts", "clerk-accounts"), theirs, request_id)
    assert first.etag != second.etag
    attempts.record(Wall.API, "use another's request id", "clerk-accounts", REFUSED)
    mine.fields[0].value = "Өзгөн"
    assert house.refused("portal", mine, request_id).reason == Reason.REQUEST_ID_REUSED
    attempts.record(Wall.API, "use another's request id", "one's own", CONTROL)


METADATA: dict[str, tuple[tuple[str, str | bytes], ...]] = {
    "words for an id": ((REQUEST_ID, "aigul.planted@example.kg"),),
    "an id and words": ((REQUEST_ID, f"{uuid.uuid4()} planted@example.kg"),),
    "9 KiB of words": (("x-notes", "planted@example.kg " * 500),),
    "a binary id": ((f"{REQUEST_ID}-bin", b"planted@example.kg\x00\xff"),),
    "two ids, one of words": ((REQUEST_ID, "planted@example.kg"), (REQUEST_ID, str(uuid.uuid4()))),
    "a hundred headers": tuple((f"x-{i}", "planted") for i in range(100)),
    "a user agent of its own": (("user-agent", "planted@example.kg"),),
}


@pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
def test_nothing_rides_along_in_metadata(
    actors: Actors,
    person: Registered,
    attempts: Attempts,
    metadata: tuple[tuple[str, str | bytes], ...],
) -> None:
    """Not into the log, nor the trail, and what is too much doesn't stop the server."""
    channel = actors.channel("worker-accounts", "clerk-accounts")
    request = reveal("accounts", person.pseudonym)
    assert told_with(channel, request, *metadata) in ("", "RESOURCE_EXHAUSTED")
    log = actors.house.served["worker-accounts"].log.read_text(encoding="utf-8")
    assert "planted" not in log
    request_id = str(uuid.uuid4())
    assert told_with(channel, request, (REQUEST_ID, request_id)) == ""
    assert request_id in actors.house.served["worker-accounts"].log.read_text(encoding="utf-8")
    events = actors.house.trail("accounts").events
    assert not any(b"planted" in event.SerializeToString() for event in events)
    attempts.record(Wall.API, "write into logs by metadata", metadata[0][0], REFUSED)
    assert any(event.request_id == request_id for event in events)
    attempts.record(Wall.API, "write into logs by metadata", "a UUID", CONTROL)


def test_a_caller_that_repeats_a_request_id_elsewhere_links_its_own_calls(
    actors: Actors, attempts: Attempts
) -> None:
    """Both logs have it. The SDK draws one a call; who draws their own must, too."""
    request_id = str(uuid.uuid4())
    for name in ("accounts", "web"):
        request = subjects.ListNoticesRequest(compartment=name, language="ky")
        actors.house.ask("portal", request, request_id)
        log = actors.house.served[f"worker-{name}"].log.read_text(encoding="utf-8")
        assert request_id in log
    attempts.record(Wall.API, "repeat a request id elsewhere", "accounts>web", RESIDUAL)


# What is there to be called.

METHODS = {
    "a translation": ("worker-accounts", "/piivault.v1.PseudonymService/Translate"),
    "a join": ("worker-accounts", "/piivault.v1.RecordService/RevealMany"),
    "a dump": ("worker-accounts", "/piivault.v1.RecordService/List"),
    "the broker's, at a worker": ("worker-accounts", "/piivault.v1.PseudonymService/Issue"),
    "a worker's, at the broker": ("broker", REVEAL),
    "a worker's, at control": ("control", REVEAL),
    "a worker's, at the auditor": ("auditor", REVEAL),
    "control's, at a worker": ("worker-accounts", "/piivault.v1.PolicyService/Approve"),
    "reflection": ("broker", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    "channelz": ("broker", "/grpc.channelz.v1.Channelz/GetServers"),
}


@pytest.mark.parametrize(("process", "method"), METHODS.values(), ids=METHODS)
def test_what_a_process_does_not_serve_is_not_there(
    actors: Actors, attempts: Attempts, process: str, method: str
) -> None:
    for who in ("portal", "clerk-accounts", "officer-aida", "nobody"):
        with pytest.raises(grpc.RpcError) as caught:
            wire.send_bytes(actors.channel(process, who), method, b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        attempts.record(Wall.API, "call what isn't served", f"{process}{method}", REFUSED)
    served = subjects.ListNoticesRequest(compartment="accounts", language="ky")
    assert actors.told("worker-accounts", "portal", served) == ""
    attempts.record(Wall.API, "call what isn't served", "what is", CONTROL)


def test_the_health_service_tells_no_more_than_health(actors: Actors, attempts: Attempts) -> None:
    """To whoever has a certificate of the CA: a probe has one, and is nobody."""
    names = ("accounts", "web", "portal", "psn_", *COMPARTMENTS, "piivault_accounts")
    stub: Any = health_pb2_grpc.HealthStub(actors.channel("worker-accounts", "nobody"))
    for name in names:
        with pytest.raises(grpc.RpcError) as caught:
            stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND
        attempts.record(Wall.API, "ask the health service", name, REFUSED)
    answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert [field.name for field, _ in answer.ListFields()] == ["status"]
    attempts.record(Wall.API, "ask the health service", "whether it serves", CONTROL)


# What answers tell.


def _told_of_nobody(actors: Actors) -> dict[str, bytes]:
    """Ask all that looks at no data, of everybody who may ask; return the answers' bytes."""
    asked: list[tuple[str, str, Message]] = []
    for name in COMPARTMENTS:
        clerk, worker = f"clerk-{name}", f"worker-{name}"
        describe = records.DescribeRequest(compartment=name, purpose=PURPOSE[name])
        explain = policies.ExplainRequest(
            service=clerk, purpose=PURPOSE[name], compartment=name, operation="reveal"
        )
        asked += [
            (worker, clerk, describe),
            ("control", clerk, explain),
            (worker, "portal", subjects.ListNoticesRequest(compartment=name, language="ky")),
        ]
    for who in ("portal", "clerk-web", "officer-aida"):
        asked.append(("control", who, policies.GetEditionRequest()))
    asked.append(("control", "officer-aida", policies.ListPendingRequest()))
    return {
        f"{who} {request.DESCRIPTOR.name} {process}": actors.ask(
            process, who, request
        ).SerializeToString(deterministic=True)
        for process, who, request in asked
    }


def test_what_looks_at_no_data_tells_nothing_of_data(actors: Actors, attempts: Attempts) -> None:
    """The same bytes before somebody registers, after, and after they are gone."""
    house = actors.house
    before = _told_of_nobody(actors)
    someone = house.register()
    viewed = dict(someone.subject.view("accounts").items())
    during = _told_of_nobody(actors)
    someone.subject.erase("accounts")
    assert before == during == _told_of_nobody(actors)
    for asked in before:
        attempts.record(Wall.API, "learn of a record by what looks at none", asked, REFUSED)
    assert viewed["phone"] is not None
    attempts.record(Wall.API, "learn of a record by what looks at none", "View", CONTROL)


def test_a_service_is_explained_itself_alone(actors: Actors, attempts: Attempts) -> None:
    for who in ("clerk-web", "analytics", "portal"):
        for other in ("support", "orders", "nobody"):
            asked = policies.ExplainRequest(
                service=other, purpose="account", compartment="accounts", operation="reveal"
            )
            told = actors.told("control", who, asked)
            assert told == Reason.METHOD_NOT_ALLOWED
            attempts.record(Wall.API, "have another's grants explained", f"{who}: {other}", REFUSED)
    mine = policies.ExplainRequest(
        service="support", purpose="account", compartment="accounts", operation="reveal"
    )
    assert actors.told("control", "support", mine) == ""
    attempts.record(Wall.API, "have another's grants explained", "support: support", CONTROL)


def _find(name: str, purpose: str, field: str, value: str) -> records.FindRequest:
    sought = types_pb2.FieldValue(name=field, value=value)
    return records.FindRequest(compartment=name, purpose=purpose, field=sought)


def test_find_tells_nothing_of_other_compartments(actors: Actors, attempts: Attempts) -> None:
    """The telephone and the address of somebody who registered an enterprise, and no account."""
    house = actors.house
    elsewhere, here = house.register("enterprises"), house.register()
    silent = house.register(consents=())
    absent: Callable[[str], str] = {
        "phone": "+996 312 000001",
        "email": "no@example.kg",
    }.__getitem__
    for who, purpose, field in (
        ("clerk-accounts", "services", "phone"), ("support", "account", "email"),
    ):  # fmt: skip
        told = [
            actors.refused("worker-accounts", who, _find("accounts", purpose, field, value))
            for value in (absent(field), elsewhere.values[field], silent.values[field],
                          elsewhere.pseudonym)
        ]  # fmt: skip
        assert {refusal.reason for refusal in told} == {Reason.NOT_FOUND}
        assert len({refusal.alike() for refusal in told}) == 1
        for what in ("held elsewhere", "held without consent", "a pseudonym"):
            attempts.record(Wall.API, "ask Find about others", f"{field}: {what}", REFUSED)
        known = _find("accounts", purpose, field, here.values[field])
        answer = actors.ask("worker-accounts", who, known)
        assert here.pseudonym in answer.pseudonyms
        attempts.record(Wall.API, "ask Find about others", f"{field}: held here", CONTROL)


def test_find_confirms_a_guess_of_what_a_purpose_sees_masked(
    actors: Actors, attempts: Attempts
) -> None:
    """Support sees addresses masked, and may search by them: that is what a help desk does."""
    someone = actors.house.register()
    asked = _find("accounts", "account", "email", someone.values["email"])
    assert actors.ask("worker-accounts", "support", asked).pseudonyms == [someone.pseudonym]
    attempts.record(Wall.API, "confirm a masked value by Find", "email", RESIDUAL)


def test_an_etag_is_good_for_one_record(actors: Actors, attempts: Attempts) -> None:
    """Drawn anew with each change: neither a clock nor the same in two compartments."""
    house, root = actors.house, piivault.new_root()
    etags = {name: house.register(name, root=root).etag for name in COMPARTMENTS}
    assert len(set(etags.values())) == len(COMPARTMENTS)
    issued = house.issue(root, "web")
    change = subjects.SubjectServicePutRequest(
        compartment="web", capability=issued.capability,
        fields=[types_pb2.FieldValue(name="user_agent", value="curl")])  # fmt: skip
    for name in ("accounts", "enterprises", "orders"):
        change.etag = etags[name]
        assert house.refused("portal", change).reason == Reason.STALE_ETAG
        attempts.record(Wall.API, "use another compartment's etag", name, REFUSED)
    change.etag = etags["web"]
    assert house.ask("portal", change).etag
    attempts.record(Wall.API, "use another compartment's etag", "web", CONTROL)


def test_the_broker_keeps_nothing_of_a_root_id(actors: Actors, attempts: Attempts) -> None:
    """Neither in its log, as it is or in digits, nor in what it answers when it refuses."""
    root = piivault.new_root()
    asked = pseudonyms.IssueRequest(compartment="accounts", root_id=bytes(root))
    issued = actors.ask("broker", "portal", asked)
    unknown = pseudonyms.IssueRequest(compartment="nowhere", root_id=bytes(root))
    refusal = actors.refused("broker", "portal", unknown)
    log = actors.house.served["broker"].log.read_text(encoding="utf-8")
    sought = {
        "the root id, in digits": bytes(root).hex(),
        "the root id, as it is written": to_base64url(bytes(root)),
        "its pseudonym": issued.pseudonym,
        "its capability": issued.capability,
    }
    for what, text in sought.items():
        assert text not in log
        assert text not in refusal.seen
        attempts.record(Wall.API, "find a root id in the broker's log", what, REFUSED)
    assert refusal.request_id in log
    attempts.record(Wall.API, "find a root id in the broker's log", "the request", CONTROL)
