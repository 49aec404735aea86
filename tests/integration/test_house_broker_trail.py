"""The broker's own trail: each issue leaves one event, durable before the answer, of nobody."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import grpc
import piivault
import pytest
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from piivault.auditors import AuditClient, EventFilter
from piivault.v1 import pseudonym_service_pb2 as pb
from sqlalchemy.exc import DBAPIError

from tests.house import House
from tests.officers import run, soon
from tests.split import SplitHouse
from tests.traces import forms, leaks, tables
from tests.trails import fits
from tests.wire import PATIENCE, new_request_id, open_channel, send
from vault import config
from vault.cli import cli
from vault.dev.local import serving
from vault.errors import Reason
from vault.keys.errors import KeyServerForbidden
from vault.keys.provision import AUDIT_KEY, BROKERS_AUDIT_KEY, policies
from vault.keys.provision import BROKER as APP_ROLE
from vault.keys.transit import Transit
from vault.names import BROKER, BROKER_TRAIL, Pseudonym
from vault.opening import StartError
from vault.roles import faults
from vault.sealed.v1 import sealed_pb2
from vault.service.checkpoints import Checkpoints, Pace
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.store.engine import connect

ALLOWED, DENIED, FAILED = (
    sealed_pb2.OUTCOME_ALLOWED,
    sealed_pb2.OUTCOME_DENIED,
    sealed_pb2.OUTCOME_FAILED,
)


def _asking(compartment: str = "accounts", root: bytes | None = None) -> pb.IssueRequest:
    """Write a request of the portal's, for somebody new unless told whom for."""
    root = bytes(piivault.new_root()) if root is None else root
    return pb.IssueRequest(compartment=compartment, root_id=root)


# What is written.


def test_what_is_issued_leaves_one_event_that_names_who_asked_for_what(house: House) -> None:
    request_id = new_request_id()
    assert house.ask("portal", _asking("orders"), request_id).pseudonym
    (event,) = house.events(BROKER, request_id)
    assert event.at > 0
    event.at = 0
    assert event == sealed_pb2.AuditEvent(
        edition=1, service="portal", owner=house.edition.services["portal"].owner,
        operation="issue", compartment="orders", outcome=ALLOWED, request_id=request_id,
    )  # fmt: skip


REFUSED: dict[str, tuple[pb.IssueRequest, Reason, str]] = {
    "a compartment that isn't": (_asking("shaar"), Reason.UNKNOWN_COMPARTMENT, ""),
    "a compartment that may be anything": (
        _asking("+996555112233"), Reason.UNKNOWN_COMPARTMENT, ""),
    "a root id that is none": (
        _asking(root=b"Aigul"), Reason.MALFORMED_REQUEST, "accounts"),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "reason", "named"), REFUSED.values(), ids=REFUSED)
def test_what_is_denied_leaves_one_event_with_the_reason(
    house: House, request_: pb.IssueRequest, reason: Reason, named: str
) -> None:
    """Known words alone enter the trail."""
    refusal = house.refused("portal", request_)
    assert refusal.reason == reason
    (event,) = house.events(BROKER, refusal.request_id)
    assert (event.outcome, event.reason, event.compartment) == (DENIED, reason, named)


@contextmanager
def _without_the_pseudonym_key(house: House) -> Iterator[None]:
    """Take the broker's right to the key away at the key server, and give it back."""
    admin, path = house.running.admin, f"sys/policies/acl/{APP_ROLE}"
    whole = policies(house.edition.compartments)[APP_ROLE]
    admin.write(path, policy=whole.replace("/hmac/", "/nothing/"))
    try:
        yield
    finally:
        admin.write(path, policy=whole)


@contextmanager
def _with_a_fault_of_our_own(house: House) -> Iterator[None]:
    def fail(*arguments: object) -> str:
        raise RuntimeError(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("vault.service.issue.encode", fail)
        yield


FAILING: dict[str, tuple[Callable[[House], AbstractContextManager[None]], Reason]] = {
    "a key that may not be used": (_without_the_pseudonym_key, Reason.KEYS_UNAVAILABLE),
    "a fault of our own": (_with_a_fault_of_our_own, Reason.INTERNAL),
}


@pytest.mark.parametrize(("failing", "reason"), FAILING.values(), ids=FAILING)
def test_what_fails_leaves_one_event_that_says_so(
    house: House, failing: Callable[[House], AbstractContextManager[None]], reason: Reason
) -> None:
    """Sealed under a key from memory: it needs no key server."""
    house.issue(piivault.new_root(), "accounts")
    with failing(house):
        refusal = house.refused("portal", _asking())
    assert refusal.reason == reason
    (event,) = house.events(BROKER, refusal.request_id)
    assert (event.outcome, event.reason, event.compartment) == (FAILED, reason, "accounts")
    assert house.issue(piivault.new_root(), "accounts").pseudonym


def test_a_flood_of_denials_is_counted(house: House) -> None:
    with house.another_server(SERVER__ROLES="broker", SERVER__DENIALS_PER_SECOND="2") as address:
        before = sum(max(e.count, 1) for e in house.trail(BROKER).events)
        with open_channel(address, house.tls("portal")) as channel:
            for _ in range(30):
                with pytest.raises(grpc.RpcError):
                    send(channel, _asking("shaar"))
    counted = [e for e in house.trail(BROKER).events if e.count > 1]  # stopping stores them
    assert counted
    assert {(e.service, e.reason) for e in counted} == {("portal", "UNKNOWN_COMPARTMENT")}
    assert sum(max(e.count, 1) for e in house.trail(BROKER).events) == before + 30


def test_the_key_server_is_asked_no_more_often_for_it(house: House) -> None:
    """A pseudonym and a signature; the trail's key is in memory.

    Canaries are decrypted beside it, by what looks from time to time whether keys can be used.
    """
    asked: list[str] = []
    with pytest.MonkeyPatch.context() as patched:
        for name in ("hmacs", "signatures", "unwrap", "new_wrapped_key"):
            real = getattr(Transit, name)

            def noted(self: Any, *a: Any, _name: str = name, _real: Any = real, **k: Any) -> Any:
                asked.append(_name)
                return _real(self, *a, **k)

            patched.setattr(f"vault.keys.transit.Transit.{name}", noted)
        with house.another_server(SERVER__ROLES="broker") as address:
            with open_channel(address, house.tls("portal")) as channel:
                send(channel, _asking())
                asked.clear()
                send(channel, _asking())
            assert asked == ["hmacs", "signatures"]


# What can't be written.


def _is_ready(channel: grpc.Channel) -> bool:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    names = ("", "piivault.v1.PseudonymService")
    asked = [health_pb2.HealthCheckRequest(service=name) for name in names]
    found = {stub.Check(one, timeout=PATIENCE).status for one in asked}
    return found == {health_pb2.HealthCheckResponse.SERVING}


def test_without_a_trail_nothing_is_issued_and_readiness_says_so(house: House) -> None:
    channel, root = house.channel("portal"), bytes(piivault.new_root())
    known = house.issue(piivault.RootId(root), "accounts").pseudonym
    soon(lambda: _is_ready(channel))
    with house.unwritable_trail(BROKER):
        for request in (_asking(root=root), _asking("shaar"), _asking(root=b"")):
            refusal = house.refused("portal", request)
            assert refusal.reason == Reason.AUDIT_UNAVAILABLE
            assert known not in refusal.seen
            assert "cap_" not in refusal.seen
        soon(lambda: not _is_ready(channel))
    soon(lambda: _is_ready(channel))
    assert house.issue(piivault.RootId(root), "accounts").pseudonym == known


# What it says of subjects: nothing.


def test_nothing_in_it_comes_from_a_subject(
    house: House, trail: AuditClient, tmp_path: Path
) -> None:
    """Neither stored, opened, told to officers nor exported; and no two tokens are alike."""
    root = piivault.new_root()
    names = tuple(house.edition.compartments)
    issued = [house.issue(root, name) for name in (*names, *names)]
    for bad in (_asking(str(root.expose())), _asking(root=bytes(root) * 2)):
        house.refused("portal", bad)
    secrets = {"root": bytes(root), "root in words": root.expose().encode()}
    for i, one in enumerate(issued):
        secrets[f"pseudonym {i}"] = Pseudonym.parse(one.pseudonym).raw
        secrets[f"capability {i}"] = one.capability.removeprefix("cap_").encode()
    needles = {f"{n}, {how}": f for n, raw in secrets.items() for how, f in forms(raw).items()}
    seen = {f"table {t}": cells for d, t, cells in tables(house) if d == BROKER}
    assert set(seen) == {f"table {t}" for t in (
        "alembic_version", "audit", "checkpoints", "compartment", "keyring")}  # fmt: skip
    opened = house.trail(BROKER).events
    seen["events"] = b"".join(event.SerializeToString() for event in opened)
    seen["the command"] = run(house, "list", BROKER, "--json").encode()
    for form in ("sealed", "opened"):
        file = tmp_path / f"{form}.jsonl"
        argv = ["audit", "export", BROKER, f"--{form}", "--output", str(file)]
        done = CliRunner().invoke(cli, [*argv, "--config", str(house.running.config)])
        assert done.exit_code == 0, done.output
        seen[form] = file.read_bytes()
        assert all(fits(line, form) for line in file.read_bytes().splitlines())
    assert b"issue" in seen["the command"]
    assert b"issue" in seen["opened"]
    assert not leaks(seen, needles)
    tokens = [bytes(token) for (token,) in house.sql(BROKER, "SELECT token FROM audit")]
    assert len(set(tokens)) == len(tokens) >= len(issued)


# Who reads it.


def test_an_officer_reads_it_as_any_other(trail: AuditClient, house: House) -> None:
    request_id = new_request_id()
    house.ask("portal", _asking("web"), request_id)
    (event,) = trail.events(BROKER, EventFilter(request_id=request_id))
    assert (event.operation, event.service, event.compartment) == ("issue", "portal", "web")
    assert (event.fields, event.purpose, event.changed) == ({}, "", False)
    line = run(house, "list", BROKER, "--request", request_id)
    assert "issue" in line
    assert "web" in line
    said = json.loads(run(house, "list", BROKER, "--request", request_id, "--json"))
    assert said["compartment"] == "web"
    only = EventFilter(request_id=request_id)
    assert trail.summary(BROKER, only).total() == 1


def _cli(house: SplitHouse, *arguments: object, code: int = 0) -> str:
    settings = str(house.running.servers["auditor"].config)
    done = CliRunner().invoke(cli, ["audit", *map(str, arguments), "--config", settings])
    assert done.exit_code == code, (done.output, done.exception)
    return done.output


async def _checkpoint(house: SplitHouse, file: Path) -> None:
    """Make one under the auditor's own logins."""
    signer = Signer(house.login("auditor"), AUDIT_KEY)
    database = connect(house.urls["piivault_broker_auditor"])
    try:
        shipping = Shipping(file)
        checkpoints = Checkpoints(BROKER, BROKER_TRAIL, database, signer, shipping, Pace())
        await checkpoints.look(now=True)
        assert checkpoints.faults == ()
    finally:
        await database.close()


def test_the_auditor_covers_it_and_verifying_finds_a_change(
    split_house: SplitHouse, tmp_path: Path
) -> None:
    """With all others, from the database and from an export."""
    house, shipped, file = split_house, tmp_path / "shipped.jsonl", tmp_path / "broker.jsonl"
    for _ in range(3):
        house.issue(piivault.new_root(), "accounts")
    asyncio.run(_checkpoint(house, shipped))
    only = ("--compartment", BROKER, "--checkpoints", shipped)
    assert "all hold" in _cli(house, "verify", *only)
    _cli(house, "export", BROKER, "--output", file)
    assert "broker: " in _cli(house, "verify", "--export", file, "--checkpoints", shipped)
    where = "sequence = 1 AND writer = (SELECT writer FROM audit WHERE sequence = 2 LIMIT 1)"
    ((kept,),) = house.sql(BROKER, f"SELECT token FROM audit WHERE {where}")
    change = "UPDATE audit SET token = '\\x{}' WHERE " + where
    house.sql(BROKER, change.format("00" * 16))
    try:
        assert "The first bad event: writer" in _cli(house, "verify", *only, code=1)
    finally:
        house.sql(BROKER, change.format(kept.hex()))
    assert "all hold" in _cli(house, "verify", *only)


# Who may do what.

MAY_NOT: dict[str, tuple[str, str]] = {
    "the broker reads events": ("", "SELECT sealed FROM audit"),
    "the broker changes an event": ("", "UPDATE audit SET token = ''"),
    "the broker deletes events": ("", "DELETE FROM audit"),
    "the broker cuts events off": ("", "TRUNCATE audit"),
    "the broker reads checkpoints": ("", "SELECT * FROM checkpoints"),
    "the broker makes a checkpoint": ("", "INSERT INTO checkpoints VALUES (99, '', '')"),
    "the broker changes a key": ("", "UPDATE keyring SET wrapped = ''"),
    "the broker takes a key away": ("", "DELETE FROM keyring"),
    "the broker gives it to another": ("", "UPDATE compartment SET uuid = ''"),
    "the auditor writes an event": ("_auditor", "INSERT INTO audit VALUES ('', 0, '', '', '')"),
    "the auditor deletes events": ("_auditor", "DELETE FROM audit"),
    "the auditor deletes checkpoints": ("_auditor", "DELETE FROM checkpoints"),
    "the auditor adds a key": ("_auditor", "INSERT INTO keyring VALUES ('audit', 0, 9, '', '')"),
}


@pytest.mark.parametrize(("whose", "statement"), MAY_NOT.values(), ids=MAY_NOT)
def test_nobody_may_do_more_there_than_their_part(
    split_house: SplitHouse, whose: str, statement: str
) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        split_house.sql_as(f"piivault_broker{whose}", statement)


def test_the_brokers_database_is_apart_from_all_others(split_house: SplitHouse) -> None:
    """Both ways: its role enters no other, and no other role enters it."""
    others = [role for role in split_house.roles.values() if role.database != "piivault_broker"]
    for role in others:
        with pytest.raises(DBAPIError, match="permission denied for database"):
            split_house.sql_as(role.name, "SELECT 1", database="piivault_broker")
    for database in {role.database for role in others}:
        with pytest.raises(DBAPIError, match="permission denied for database"):
            split_house.sql_as("piivault_broker", "SELECT 1", database=database)


def test_the_key_of_the_trail_is_for_the_broker_and_the_auditor(split_house: SplitHouse) -> None:
    broker, auditor = split_house.login("broker"), split_house.login("auditor")
    wrapped = broker.new_wrapped_key(BROKERS_AUDIT_KEY, b"context")
    key = broker.unwrap(BROKERS_AUDIT_KEY, wrapped, b"context")
    assert auditor.unwrap(BROKERS_AUDIT_KEY, wrapped, b"context") == key
    with pytest.raises(KeyServerForbidden):
        auditor.new_wrapped_key(BROKERS_AUDIT_KEY, b"context")
    with pytest.raises(KeyServerForbidden):
        split_house.login("worker-web").unwrap(BROKERS_AUDIT_KEY, wrapped, b"context")


# Starting.


def _broker(house: House, **changes: Any) -> config.Settings:
    settings = house.configured(SERVER__ROLES="broker")
    assert settings.broker is not None
    return settings.model_copy(update={"broker": settings.broker.model_copy(update=changes)})


def _called_broker(house: House) -> config.Settings:
    settings = house.configured()
    compartments = {BROKER: settings.compartments["web"]}
    return settings.model_copy(update={"compartments": compartments})


STARTS: dict[str, tuple[Callable[[House], config.Settings], str]] = {
    "a compartment's database": (
        lambda h: _broker(h, database=h.settings.compartments["web"].database),
        "this release knows b0001"),
    "another key": (
        lambda h: _broker(h, audit_transit_key="piivault-web.audit"), "broker: The key server"),
    "a compartment of its name": (
        _called_broker, "No compartment can be called broker"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), STARTS.values(), ids=STARTS)
def test_a_broker_without_its_own_trail_does_not_start(
    house: House, change: Callable[[House], config.Settings], says: str
) -> None:
    with pytest.raises(StartError) as caught, serving(change(house)):
        pass
    assert says in str(caught.value)


def test_an_auditor_has_no_compartment_of_its_name_either(house: House) -> None:
    settings = house.configured(SERVER__ROLES="auditor")
    assert settings.auditor is not None
    assert settings.auditor.broker is not None
    audited = {BROKER: settings.auditor.broker}
    auditor = settings.auditor.model_copy(update={"compartments": audited})
    (fault,) = faults(settings.model_copy(update={"auditor": auditor}))
    assert "[auditor.broker]" in fault


def test_a_second_broker_writes_a_chain_of_its_own(house: House) -> None:
    request_id = new_request_id()
    with (
        house.another_server(SERVER__ROLES="broker") as address,
        open_channel(address, house.tls("portal")) as channel,
    ):
        send(channel, _asking(), request_id)
    trail = house.trail(BROKER)
    assert trail.breaks == ()
    assert [e.outcome for e in trail.events if e.request_id == request_id] == [ALLOWED]
    assert len({bytes(w) for (w,) in house.sql(BROKER, "SELECT writer FROM audit")}) > 1
