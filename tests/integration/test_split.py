"""Processes of their own: the SDK's story through all of them, and what none of them may be."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import piivault
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from piivault import errors
from piivault.auditors import AuditClient, EventFilter
from piivault.officers import OfficersClient
from piivault.v1 import record_service_pb2 as records
from sqlalchemy.exc import DBAPIError

from tests.command import COMMAND
from tests.house import House
from tests.split import SplitHouse
from tests.wire import PATIENCE, new_request_id, wait_for
from vault import config
from vault.cli.signing import Signer
from vault.dev import DevError, Stack
from vault.dev.local import officer_signs, plan_of, serving
from vault.keys.errors import KeyServerForbidden
from vault.opening import StartError
from vault.service.bodies import block_body, unblock_body
from vault.service.ledger import BLOCK, UNBLOCK, statement

PROCESSES = (
    "control",
    "broker",
    "worker-accounts",
    "worker-enterprises",
    "worker-orders",
    "worker-web",
    "auditor",
)
AUDIT, KEY, POLICY, PSEUDONYM, RECORD, SUBJECT = (
    f"piivault.v1.{name}Service"
    for name in ("Audit", "Key", "Policy", "Pseudonym", "Record", "Subject")
)
SERVES: dict[str, set[str]] = {
    "control": {POLICY},
    "broker": {PSEUDONYM},
    "worker-accounts": {KEY, RECORD, SUBJECT},
    "auditor": {AUDIT},
}


def _officers(house: SplitHouse, officer: str) -> OfficersClient:
    return OfficersClient.from_env(house.environment(f"officer-{officer}"))


def _signer(house: SplitHouse, officer: str) -> Signer:
    return Signer(officer, officer_signs(house.running, officer))


# The story.


def test_each_process_of_the_example_runs(split_house: SplitHouse) -> None:
    """With a certificate, a port and a configuration of its own, and nothing for development."""
    assert tuple(split_house.served) == PROCESSES
    assert len({one.pid for one in split_house.served.values()}) == len(PROCESSES)
    for name in PROCESSES:
        settings = split_house.settings_of(name)
        assert not settings.server.development
        assert settings.server.certificate.name == f"{name}.pem"


def test_the_sdk_tells_the_same_story(split_house: SplitHouse) -> None:
    """Issued by the broker, kept by four workers, found, revealed, withdrawn, erased."""
    house = split_house
    person = house.register()
    order = house.register("orders", root=person.root)
    assert order.pseudonym != person.pseudonym
    accounts = house.client("orders").compartment("accounts", purpose="services")
    got = accounts.reveal(person.pseudonym, ["first_name", "phone"])
    assert got["first_name"].expose() == person.values["first_name"]
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.find(email=person.values["email"]) == person.pseudonym
    with pytest.raises(errors.NotFound):
        support.reveal(order.pseudonym, ["first_name"])
    person.subject.withdraw("accounts", ["services"])
    with pytest.raises(errors.ConsentRequired):
        accounts.reveal(person.pseudonym, ["phone"])
    person.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        support.reveal(person.pseudonym, ["last_name"])
    assert house.client("portal").subject(person.root).view("orders").etag == order.etag


def test_what_a_worker_touched_is_in_controls_chain(split_house: SplitHouse) -> None:
    """Its login in the control database is good for that, and for no edition."""
    split_house.phone_of(split_house.register())
    kinds = split_house.sql_as("piivault_control_auditor", "SELECT DISTINCT kind FROM chain")
    assert ("touch",) in kinds


def test_a_block_by_control_takes_hold_at_every_worker(split_house: SplitHouse) -> None:
    house, person = split_house, split_house.register()
    web = house.client("analytics").compartment("web", purpose="statistics")
    visit = house.register("web", root=person.root)
    assert web.reveal(visit.pseudonym, ["user_agent"])
    with _officers(house, "aida") as aida, _officers(house, "bakyt") as bakyt:
        body = block_body("analytics", "a test", os.urandom(16).hex())
        assert _signer(house, "aida").approve(aida, BLOCK, body).effective
        _until(errors.ServiceBlocked, lambda: web.reveal(visit.pseudonym, ["user_agent"]))
        lifting = unblock_body(statement(BLOCK, body), "the test is over")
        assert not _signer(house, "aida").approve(aida, UNBLOCK, lifting).effective
        assert _signer(house, "bakyt").approve(bakyt, UNBLOCK, lifting).effective
    _until(None, lambda: web.reveal(visit.pseudonym, ["user_agent"]))


def _until(expected: type[piivault.PiivaultError] | None, attempt: Callable[[], object]) -> None:
    """Try until it is refused in this way, or answered for None."""

    def found() -> bool:
        try:
            attempt()
        except errors.ServiceBlocked as error:
            return type(error) is expected
        return expected is None

    wait_for(found)


def test_a_process_may_be_restarted_and_others_go_on(split_house: SplitHouse) -> None:
    house, person = split_house, split_house.register()
    one = house.served["worker-accounts"]
    one.stop()
    assert house.client("portal").subject(piivault.new_root()).pseudonym("orders")
    one.start()
    one.wait()
    assert house.phone_of(person)


# What each serves.


@pytest.mark.parametrize(("process", "services"), SERVES.items(), ids=SERVES)
def test_a_process_serves_its_role_alone(
    split_house: SplitHouse, process: str, services: set[str]
) -> None:
    """The health service says so; what isn't served is unknown to it."""
    stub: Any = health_pb2_grpc.HealthStub(split_house.channel_to(process, "orders"))
    found = set()
    for name in (AUDIT, KEY, POLICY, PSEUDONYM, RECORD, SUBJECT):
        try:
            stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
            found.add(name)
        except grpc.RpcError:
            continue
    assert found == services
    whole = stub.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE)
    assert whole.status == health_pb2.HealthCheckResponse.SERVING


def test_an_officer_asks_the_auditor_where_it_is(split_house: SplitHouse) -> None:
    """By its own database roles and login at the key server."""
    person, request_id = split_house.register("orders"), new_request_id()
    request = records.RevealRequest(
        compartment="orders", purpose="services", pseudonym=person.pseudonym, fields=["address"]
    )
    split_house.ask("orders", request, request_id)
    with AuditClient.from_env(split_house.environment("officer-aida")) as trail:
        (event,) = trail.events("orders", EventFilter(request_id=request_id))
        assert (event.service, event.outcome, event.changed) == ("orders", "allowed", False)
        assert trail.summary("orders", EventFilter(request_id=request_id)).total() == 1


def test_officers_ask_each_worker_about_its_own_keys(split_house: SplitHouse) -> None:
    """At its address, as the env file has it; each database is another one."""
    with _officers(split_house, "aida") as officers:
        before = {name: officers.keys(name).status() for name in ("accounts", "web")}
        officers.keys("web").evict()
        assert officers.keys("web").status().epoch == before["web"].epoch + 1
        assert officers.keys("accounts").status().epoch == before["accounts"].epoch
        kek = [key for key in before["web"].keys if key.name.kind == "kek"]
        assert [(key.state, key.transit_version) for key in kek] == [("active", 1)]


@pytest.mark.parametrize("process", SERVES)
def test_outside_development_there_is_no_reflection(split_house: SplitHouse, process: str) -> None:
    channel = split_house.channel_to(process, "orders")
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(channel)
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.ServerReflectionInfo(iter([ask]), timeout=PATIENCE))
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


# What none may be.

Changed = Callable[[SplitHouse], config.Settings]
SOMEWHERE = {"SERVER__ADDRESS": "127.0.0.1:0"}


def _also(process: str, roles: str, section: str = "", of: str = "") -> Changed:
    """Give a process more roles, and the section that they need of another."""

    def change(house: SplitHouse) -> config.Settings:
        settings = house.settings_of(process, **SOMEWHERE, SERVER__ROLES=roles)
        more = {section: getattr(house.settings_of(of), section)} if section else {}
        return settings.model_copy(update=more)

    return change


def _with(process: str, section: str, of: str) -> Changed:
    """Give a process a section of another's, and no role more."""

    def change(house: SplitHouse) -> config.Settings:
        more = {section: getattr(house.settings_of(of), section)}
        return house.settings_of(process, **SOMEWHERE).model_copy(update=more)

    return change


def _both(one: str, other: str, **changes: str) -> Changed:
    """Have a worker serve two compartments; `changes` says what the second takes of the first."""

    def change(house: SplitHouse) -> config.Settings:
        settings = house.settings_of(f"worker-{one}", **SOMEWHERE)
        first = settings.compartments[one]
        second = house.settings_of(f"worker-{other}").compartments[other]
        taken = {part: getattr(first, part) for part in changes.values()}
        both = {one: first, other: second.model_copy(update=taken)}
        return settings.model_copy(update={"compartments": both})

    return change


def _as(process: str, role: str, *, in_control: bool = False) -> Changed:
    """Have a process open a database under another role."""

    def change(house: SplitHouse) -> config.Settings:
        settings = house.settings_of(process, **SOMEWHERE)

        def opened(database: str) -> config.Database:
            file = house.state / "passwords" / role
            return config.Database(url=house.entrance(role, database), password_file=file)

        if in_control:
            return settings.model_copy(update={"control": opened("piivault_control")})
        ((name, section),) = settings.compartments.items()
        changed = section.model_copy(update={"database": opened(f"piivault_{name}")})
        return settings.model_copy(update={"compartments": {name: changed}})

    return change


def _without(process: str, section: str) -> Changed:
    empty: dict[str, object] | None = {} if section == "compartments" else None
    return lambda house: house.settings_of(process, **SOMEWHERE).model_copy(update={section: empty})


ALONE = "plays no other role outside development"
BUSINESS = "which is no business of the role"
REFUSED: dict[str, tuple[Changed, str]] = {
    "a broker that is a worker too": (
        _also("broker", "broker,worker", "compartments", "worker-accounts"),
        f"A broker meets root ids: it {ALONE}"),
    "a broker that is control too": (
        _also("broker", "broker,control"), f"A broker meets root ids: it {ALONE}"),
    "control that is a worker too": (
        _also("worker-web", "control,worker"), "holds no keys and no data of a compartment"),
    "control that is the auditor too": (
        _also("auditor", "control,auditor"), "holds no keys and no data of a compartment"),
    "an auditor that is a worker too": (
        _also("auditor", "auditor,worker", "compartments", "worker-web"), "never holds data keys"),
    "an auditor that is the broker too": (
        _also("auditor", "auditor,broker", "broker", "broker"), "never holds data keys"),
    "a broker that has a compartment": (
        _with("broker", "compartments", "worker-web"), f"[compartments], {BUSINESS} broker"),
    "an auditor that has a compartment": (
        _with("auditor", "compartments", "worker-web"), f"[compartments], {BUSINESS} auditor"),
    "control that has a compartment": (
        _with("control", "compartments", "worker-web"), f"[compartments], {BUSINESS} control"),
    "control that has a key server": (
        _with("control", "key_server", "broker"), f"[key_server], {BUSINESS} control"),
    "control that has the trails": (
        _with("control", "auditor", "auditor"), f"[auditor], {BUSINESS} control"),
    "a worker that has the broker's section": (
        _with("worker-web", "broker", "broker"), f"[broker], {BUSINESS} worker"),
    "a worker that has the auditor's section": (
        _with("worker-web", "auditor", "auditor"), f"[auditor], {BUSINESS} worker"),
    "a worker without compartments": (
        _without("worker-web", "compartments"), "The role worker needs a section [compartments]"),
    "an auditor without trails": (
        _without("auditor", "auditor"), "The role auditor needs a section [auditor]"),
    "a worker without a key server": (
        _without("worker-web", "key_server"), "The role worker needs a section [key_server]"),
    "compartments that aren't joinable": (
        _both("accounts", "web"), "compartments that aren't joinable: accounts and web"),
    "two compartments with one login": (
        _both("accounts", "orders", a="login"), "accounts and orders have the same login"),
    "two compartments with one key": (
        _both("accounts", "orders", a="transit_key"), "have the same transit_key"),
    "two compartments in one database": (
        _both("accounts", "orders", a="database"), "have the same database role"),
    "a worker that owns its tables": (
        _as("worker-web", "piivault_owner"), "The login piivault_owner may"),
    "a worker that reads the trail": (
        _as("worker-web", "piivault_web_auditor"), "may SELECT in the table audit"),
    "a worker under control's role": (
        _as("worker-web", "piivault_control", in_control=True), "in the table approvals"),
    "a broker under a worker's role": (
        _as("broker", "piivault_control_web", in_control=True), "may INSERT in the table chain"),
    "an auditor under the owner's role": (
        _as("auditor", "piivault_owner", in_control=True), "The login piivault_owner may"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says"), REFUSED.values(), ids=REFUSED)
def test_a_process_with_more_than_its_part_is_refused(
    split_house: SplitHouse, change: Changed, says: str
) -> None:
    """Before it serves anything; the message says what to do."""
    with pytest.raises(StartError) as caught, serving(change(split_house)):
        pass
    assert says in str(caught.value)


def test_joinable_compartments_may_have_one_worker(split_house: SplitHouse) -> None:
    """The edition declares that accounts and orders are."""
    with serving(_both("accounts", "orders")(split_house)) as port:
        assert port


def test_a_key_server_with_a_static_seal_is_refused(
    split_house: SplitHouse, sqlite_house: House
) -> None:
    """Sealed in a way that leaves its keys beside its disk: for development alone."""
    settings = split_house.settings_of("worker-accounts", **SOMEWHERE)
    theirs = sqlite_house.settings
    accounts = settings.compartments["accounts"]
    login = theirs.compartments["accounts"].login
    compartments = {"accounts": accounts.model_copy(update={"login": login})}
    changed = {"key_server": theirs.key_server, "compartments": compartments}
    with (
        pytest.raises(StartError, match="static seal"),
        serving(settings.model_copy(update=changed)),
    ):
        pass


def test_in_development_all_that_is_allowed(sqlite_house: House) -> None:
    """One process, every role, compartments that aren't joinable, a static seal."""
    settings = sqlite_house.settings
    assert settings.server.development
    assert settings.server.roles == {"worker", "broker", "control", "auditor"}


# Rows that a role doesn't cover.


def test_a_worker_appends_touches_to_the_chain_and_nothing_else(split_house: SplitHouse) -> None:
    row = "(1000000, '', '{}', '', '')"
    for kind in ("edition", "block", "unblock", "reset"):
        with pytest.raises(DBAPIError, match="row-level security"):
            split_house.sql_as(
                "piivault_control_web", f"INSERT INTO chain VALUES {row.format(kind)}"
            )


def test_the_auditor_sees_wrapped_audit_keys_and_no_others(split_house: SplitHouse) -> None:
    split_house.register()
    query = "SELECT DISTINCT kind FROM keyring"
    assert split_house.sql_as("piivault_accounts_auditor", query) == [("audit",)]
    assert len(split_house.sql_as("piivault_accounts", query)) > 1


def test_a_process_is_logged_in_at_the_key_server_as_itself(split_house: SplitHouse) -> None:
    with pytest.raises(KeyServerForbidden):
        split_house.login("broker").new_wrapped_key("piivault-accounts", b"context")
    assert split_house.login("worker-accounts").new_wrapped_key("piivault-accounts", b"context")


# The auditor.


def test_the_auditor_notices_a_trail_whose_end_was_changed(split_house: SplitHouse) -> None:
    """When it starts; it serves all the same, since somebody must say so."""
    house, one = split_house, split_house.served["auditor"]
    house.phone_of(house.register())
    where = "sequence = (SELECT max(sequence) FROM audit)"
    (kept,) = house.sql("accounts", f"SELECT writer, sequence, previous FROM audit WHERE {where}")
    change = "UPDATE audit SET previous = '\\x{}' WHERE writer = '\\x{}' AND sequence = {}"
    house.sql("accounts", change.format("00" * 32, kept[0].hex(), kept[1]))
    try:
        one.stop()
        one.start()
        one.wait()
        said = one.log.read_text(encoding="utf-8")
    finally:
        house.sql("accounts", change.format(kept[2].hex(), kept[0].hex(), kept[1]))
    where = f"the trail of accounts, writer {kept[0].hex()}, event {kept[1]}"
    assert f"{where}: does not authenticate" in said
    assert f"{where}: doesn't follow from the event before it" in said


# The stack that they run on.


def test_sqlite_is_one_processs(tmp_path: Path, split_house: SplitHouse) -> None:
    with pytest.raises(DevError, match="need PostgreSQL"):
        Stack(tmp_path, plan_of(split_house.edition), split=True)


def test_a_state_folder_keeps_its_seal(tmp_path: Path, split_house: SplitHouse) -> None:
    """One that began with a static seal isn't for processes that refuse such."""
    folder = tmp_path / "state"
    (folder / "openbao").mkdir(parents=True)
    (folder / "lock").touch()
    (folder / "openbao" / "unseal.key").write_bytes(bytes(32))
    plan = plan_of(split_house.edition)
    with pytest.raises(DevError, match="has a static seal"):
        Stack(folder, plan, postgres=True, split=True).start()


def test_dev_shows_the_processes_and_stops_them_all(tmp_path: Path) -> None:
    """By Ctrl-C. Apart, they are on PostgreSQL, asked for or not."""
    state = tmp_path / "state"
    argv: list[str | Path] = [COMMAND, "dev", "--split", "--state", state]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        shown = ""
        for line in started.stdout:
            shown += line
            if "Ctrl-C" in line:
                break
        pids = [int(f.read_text()) for f in (state / "run").glob("*.lock")]
        started.send_signal(signal.SIGINT)
        assert started.wait(PATIENCE) == 0
    assert len(pids) == len(PROCESSES) + 2
    for name in PROCESSES:
        assert name in shown
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
