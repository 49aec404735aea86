"""Four workers of one compartment under load, and the auditor beside them, as in a deployment."""

import asyncio
import base64
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import pytest
from click.testing import CliRunner
from piivault.v1 import record_service_pb2 as pb

from tests import wire
from tests.command import piivault
from tests.split import SplitHouse
from tests.trails import fits, new_chain, write
from vault.audit.export import ExportError, Header, end_line, event_line
from vault.audit.signed import CONTROL, Signed
from vault.cli import cli
from vault.dev.layout import Layout
from vault.dev.plan import Server
from vault.dev.served import Served
from vault.keys.provision import AUDIT_KEY
from vault.names import Pseudonym
from vault.service.checkpoints import Checkpoints, Pace
from vault.service.prune import PruneError
from vault.service.shipping import Shipping
from vault.service.signer import Signer
from vault.store.backup_file import BackupError
from vault.store.checkpoints import cut_off
from vault.store.engine import connect

WORKERS = 4
CALLERS = 3  # a worker, each with one request after another
EACH = 40


@contextmanager
def _more_workers(house: SplitHouse, count: int) -> Iterator[Sequence[str]]:
    """Start further processes of the worker of accounts; yield their addresses."""
    with ThreadPoolExecutor(count) as pool:
        layout = Layout(house.state)
        template = house.running.servers["worker-accounts"]
        started = []
        for number in range(2, count + 2):
            name = f"worker-accounts-{number}"
            address = f"127.0.0.1:{layout.port(name)}"
            text = template.config.read_text(encoding="utf-8").replace(template.address, address)
            config = template.config.with_name(f"piivault-{name}.toml")
            config.write_text(text, encoding="utf-8")
            started.append(Served(layout, Server(name, template.played, config, address)))
        try:
            for one in started:
                one.start()
            for one in started:
                one.wait()
            yield [one.server.address for one in started]
        finally:
            list(pool.map(Served.stop, started))


@pytest.fixture(scope="module")
def loaded(split_house: SplitHouse) -> set[str]:
    """Ask four workers for the same person at once; return the request ids that were answered."""
    person = split_house.register("accounts")
    request = pb.RevealRequest(
        compartment="accounts", purpose="services", pseudonym=person.pseudonym, fields=["phone"]
    )

    def ask(channel: grpc.Channel) -> set[str]:
        ids = {wire.new_request_id() for _ in range(EACH)}
        for request_id in ids:
            wire.send(channel, request, request_id)
        return ids

    with _more_workers(split_house, WORKERS - 1) as addresses:
        first = split_house.running.servers["worker-accounts"].address
        tls = split_house.tls("orders")
        channels = [wire.open_channel(address, tls) for address in (first, *addresses)]
        with ThreadPoolExecutor(WORKERS * CALLERS) as pool:
            answered = list(pool.map(ask, channels * CALLERS))
        for channel in channels:
            channel.close()
    return set().union(*answered)


def test_nothing_that_was_answered_is_missing(split_house: SplitHouse, loaded: set[str]) -> None:
    assert len(loaded) == WORKERS * CALLERS * EACH
    trail = split_house.trail("accounts")
    assert trail.breaks == ()
    assert loaded <= {event.request_id for event in trail.events}
    writers = "SELECT count(DISTINCT writer) FROM audit WHERE sequence > 10"
    assert split_house.sql("accounts", writers)[0][0] >= WORKERS


# The auditor, under its own logins; and the commands, as the security team runs them.


@pytest.fixture(scope="module")
def shipped(
    split_house: SplitHouse, loaded: set[str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Have a checkpoint made of what was written; return where it was shipped to."""
    file = tmp_path_factory.mktemp("shipped") / "checkpoints.jsonl"
    asyncio.run(_checkpoint(split_house, file))
    return file


async def _checkpoint(house: SplitHouse, file: Path | None, name: str = "accounts") -> None:
    signer = Signer(house.login("auditor"), AUDIT_KEY)
    database = connect(house.urls[f"piivault_{name}_auditor"])
    uuid, shipping = house.edition.compartment(name).uuid, Shipping(file)
    try:
        checkpoints = Checkpoints(name, uuid, database, signer, shipping, Pace())
        await checkpoints.look(now=True)
        assert checkpoints.faults == ()
    finally:
        await database.close()


def _run(house: SplitHouse, *arguments: object, code: int = 0) -> str:
    config = str(house.running.servers["auditor"].config)
    done = CliRunner().invoke(cli, ["audit", *map(str, arguments), "--config", config])
    assert done.exit_code == code, (done.output, done.exception)
    # A crash ends with 1, too.
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.output


def _verify(house: SplitHouse, shipped: Path, code: int = 0) -> str:
    return _run(house, "verify", "--compartment", "accounts", "--checkpoints", shipped, code=code)


def test_all_of_it_is_verified_with_public_keys_alone(
    split_house: SplitHouse, loaded: set[str], shipped: Path
) -> None:
    """By the auditor's login at the database; the key server isn't asked."""
    said = _verify(split_house, shipped)
    assert "all hold" in said
    events = int(said.split()[1].replace(",", ""))
    assert events >= len(loaded)


def test_the_control_chain_is_verified_too(split_house: SplitHouse, tmp_path: Path) -> None:
    """By what the auditor's process wrote on its standard output when it started."""
    log = split_house.served["auditor"].log
    wire_lines = [ln for ln in log.read_text().splitlines() if ln.startswith('{"checkpoint"')]
    assert CONTROL in {Signed.from_line(line).kind for line in wire_lines}
    said = _run(split_house, "verify", "--compartment", "control", "--checkpoints", log)
    assert said.startswith("control: ")
    assert "all hold" in said
    ended = tmp_path / "ended.jsonl"
    line = next(ln for ln in wire_lines if Signed.from_line(ln).kind == CONTROL)
    ended.write_text(line.replace('"signature":"', '"signature":"00', 1) + "\n")
    said = _run(split_house, "verify", "--compartment", "control", "--checkpoints", ended, code=1)
    assert "isn't what the auditor signed" in said


def test_the_public_keys_are_those_that_setup_pins(split_house: SplitHouse) -> None:
    settings = split_house.settings_of("auditor")
    assert settings.auditor is not None
    assert _run(split_house, "keys").split() == list(settings.auditor.checkpoint_keys)


@contextmanager
def _changed(house: SplitHouse, change: str, back: str) -> Iterator[None]:
    house.sql("accounts", change)
    try:
        yield
    finally:
        house.sql("accounts", back)


def test_a_tail_that_was_cut_off_is_named(split_house: SplitHouse, shipped: Path) -> None:
    copy = "CREATE TABLE kept AS SELECT * FROM audit WHERE sequence > 20"
    split_house.sql("accounts", copy)
    cut = "DELETE FROM audit WHERE sequence > 20"
    with _changed(split_house, cut, "INSERT INTO audit SELECT * FROM kept"):
        said = _verify(split_house, shipped, code=1)
    split_house.sql("accounts", "DROP TABLE kept")
    assert "The first bad event: writer" in said
    assert "event 21: this event, and all up to" in said
    assert "To be trusted" in said
    _verify(split_house, shipped)


def test_a_machine_reads_what_was_found(split_house: SplitHouse, shipped: Path) -> None:
    """An object a line: what holds, and the first bad event with what can still be trusted."""
    whole = _found(split_house, shipped, code=0)
    assert whole["holds"]
    assert (whole["trail"], whole["found"], whole["first"]) == ("accounts", [], None)
    assert whole["trusted"] == whole["newest"]
    where = "sequence = 2 AND writer = (SELECT writer FROM audit WHERE sequence = 21 LIMIT 1)"
    ((writer, kept),) = split_house.sql(
        "accounts", f"SELECT encode(writer, 'hex'), encode(token, 'hex') FROM audit WHERE {where}"
    )
    change = "UPDATE audit SET token = '\\x{}' WHERE " + where
    with _changed(split_house, change.format("00" * 16), change.format(kept)):
        found = _found(split_house, shipped, code=1)
    assert not found["holds"]
    what = "doesn't follow from the event before it"
    assert found["faults"] == 1
    assert found["first"] == {"writer": writer, "sequence": 3, "what": what}


def _found(house: SplitHouse, shipped: Path, code: int) -> dict[str, Any]:
    argv = ["verify", "--compartment", "accounts", "--checkpoints", shipped, "--json"]
    (said,) = map(json.loads, _run(house, *argv, code=code).splitlines())
    return dict(said)


def test_what_no_worker_writes_is_named(split_house: SplitHouse, shipped: Path) -> None:
    put = "INSERT INTO audit VALUES ('', 7, '', '', ''), (repeat('w', 16)::bytea, -1, '', '', '')"
    with _changed(split_house, put, "DELETE FROM audit WHERE writer = '' OR sequence < 0"):
        said = _verify(split_house, shipped, code=1)
        listed = _run(split_house, "export", "accounts", "--output", shipped.with_name("opened"))
    assert "its writer has 0 bytes, and not 16" in said
    assert "its sequence is below 0" in said
    assert "2 faults" in said, listed
    _verify(split_house, shipped)


def test_an_export_is_verified_anywhere(
    split_house: SplitHouse, shipped: Path, tmp_path: Path
) -> None:
    """With no configuration; and what was changed in it is found."""
    file = tmp_path / "accounts.jsonl"
    _run(split_house, "export", "accounts", "--output", file)
    assert file.stat().st_mode & 0o777 == 0o600
    (key,) = _run(split_house, "keys").split()
    argv = ["audit", "verify", "--export", str(file), "--checkpoints", str(shipped)]
    argv += ["--public-key", key, "--config", str(tmp_path / "none.toml")]
    done = CliRunner().invoke(cli, argv)
    assert done.exit_code == 0, done.output
    assert "accounts: " in done.output
    alone = CliRunner().invoke(cli, [*argv[:4], *argv[6:]])
    assert alone.exit_code == 0, alone.output
    uuid = UUID(bytes=split_house.edition.compartment("accounts").uuid)
    assert f"It says that it is of {uuid}" in alone.output
    lines = file.read_text(encoding="ascii").splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if '"sequence":5,' in line)
    event = json.loads(lines[at])
    event["token"] = base64.b64encode(bytes(16)).decode()
    lines[at] = json.dumps(event) + "\n"
    file.write_text("".join(lines), encoding="ascii")
    done = CliRunner().invoke(cli, argv)
    assert done.exit_code == 1
    assert "event 6: doesn't follow from the event before it" in done.output


@pytest.mark.parametrize("renamed", [False, True], ids=["and whose it was", "under another id"])
def test_a_trail_that_is_wholly_gone_does_not_hold(
    split_house: SplitHouse, shipped: Path, renamed: bool
) -> None:
    """Though there is nothing left in which anything could be wrong."""
    tables = ("audit", "checkpoints", "compartment")
    for table in tables:
        split_house.sql("accounts", f"CREATE TABLE kept_{table} AS SELECT * FROM {table}")
        split_house.sql("accounts", f"DELETE FROM {table}")
    if renamed:
        split_house.sql("accounts", "INSERT INTO compartment SELECT * FROM kept_compartment")
        split_house.sql("accounts", "UPDATE compartment SET uuid = sha256(uuid)")
    said = _verify(split_house, shipped, code=1)
    for table in tables:
        split_house.sql("accounts", f"DELETE FROM {table}")
        split_house.sql("accounts", f"INSERT INTO {table} SELECT * FROM kept_{table}")
        split_house.sql("accounts", f"DROP TABLE kept_{table}")
    assert "all hold" not in said
    assert ("of another compartment" if renamed else "There is no trail") in said
    _verify(split_house, shipped)


def test_an_export_that_is_made_up_does_not_hold(
    split_house: SplitHouse, shipped: Path, tmp_path: Path
) -> None:
    """Of a compartment that was never shipped: its hashes may well be right."""
    file, other = tmp_path / "made_up.jsonl", bytes(16)
    links = write(new_chain(other), 3)
    lines = [Header(other, "accounts").line, *map(event_line, links), end_line(0, 3)]
    file.write_bytes(b"".join(lines))
    (key,) = _run(split_house, "keys").split()
    argv = ["verify", "--export", file, "--checkpoints", shipped, "--public-key", key]
    assert "none of the shipped checkpoints is of this" in _run(split_house, *argv, code=1)


def test_lines_that_are_damaged_are_counted(
    split_house: SplitHouse, shipped: Path, tmp_path: Path
) -> None:
    file, whole = tmp_path / "damaged.jsonl", shipped.read_text(encoding="ascii")
    file.write_text(whole[:100] + "\n" + whole + "2026-11-22 serving\n", encoding="ascii")
    assert f"1 lines of {file} speak of a checkpoint" in _verify(split_house, file)


def test_a_file_that_can_not_be_written_or_read_is_said_in_words(
    split_house: SplitHouse, tmp_path: Path
) -> None:
    config = str(split_house.running.servers["auditor"].config)
    done = piivault("audit", "export", "accounts", "--config", config, "-o", tmp_path / "no" / "x")
    assert done.returncode == 1
    assert done.stderr.strip().endswith(f"piivault: {tmp_path}/no/x: No such file or directory")


def test_an_opened_export_says_who_did_what_and_to_nobody(
    split_house: SplitHouse, loaded: set[str], tmp_path: Path
) -> None:
    """No value, no pseudonym, no token; and it can't pass for one that is verified."""
    person = split_house.register("accounts")
    split_house.phone_of(person)
    file = tmp_path / "opened.jsonl"
    _run(split_house, "export", "accounts", "--opened", "--output", file)
    text = file.read_text(encoding="ascii")
    _, *events, end = map(json.loads, text.splitlines())
    assert all(fits(line, "opened") for line in text.encode().splitlines())
    assert end == {"checkpoints": 0, "events": len(events), "type": "end"}
    reveals = [its for its in events if its["request_id"] in loaded]
    assert len(reveals) == len(loaded)
    assert {(its["service"], its["purpose"], its["outcome"]) for its in reveals} == {
        ("orders", "services", "allowed")
    }
    assert {field["name"] for its in reveals for field in its["fields"]} == {"phone"}
    for value in (*person.values.values(), person.pseudonym, person.pseudonym[4:], "token"):
        assert value not in text
    (key,) = _run(split_house, "keys").split()
    argv = ["audit", "verify", "--export", str(file), "--public-key", key]
    done = CliRunner().invoke(cli, argv)
    assert isinstance(done.exception, ExportError)
    assert "--sealed" in str(done.exception)


def test_a_sealed_export_and_what_is_shipped_hold_nothing_in_clear(
    split_house: SplitHouse, tmp_path: Path
) -> None:
    """Bytes decoded: no value, no root id, no pseudonym, and nobody who asked."""
    person = split_house.register("accounts")
    split_house.phone_of(person)
    sealed, shipped = tmp_path / "sealed.jsonl", tmp_path / "shipped.jsonl"
    _run(split_house, "export", "accounts", "--output", sealed)
    asyncio.run(_checkpoint(split_house, shipped))
    pseudonym = Pseudonym.parse(person.pseudonym).raw
    secret = [person.pseudonym[4:].encode(), pseudonym, pseudonym.hex().encode()]
    secret += [bytes(person.root), bytes(person.root).hex().encode(), b"municipal_services"]
    secret += [value.encode() for value in person.values.values()]
    blobs = []
    for line in sealed.read_bytes().splitlines():
        if (said := json.loads(line))["type"] == "event":
            blobs += [base64.b64decode(said[part]) for part in ("sealed", "token", "previous")]
    clear = sealed.read_bytes() + shipped.read_bytes() + b"".join(blobs)
    assert blobs
    assert [its for its in secret if its in clear] == []


def test_what_was_accepted_counts_no_more(split_house: SplitHouse) -> None:
    """After an inquiry, say: the event stays as it is, and the trail is verified again."""
    house = split_house
    house.register("orders")
    asyncio.run(_checkpoint(house, None, "orders"))
    where = "sequence = 0 AND writer = (SELECT writer FROM audit ORDER BY writer LIMIT 1)"
    (kept,) = house.sql("orders", f"SELECT token FROM audit WHERE {where}")
    change = "UPDATE audit SET token = '\\x{}' WHERE " + where
    house.sql("orders", change.format("00" * 16))
    try:
        said = _run(house, "verify", "--compartment", "orders", code=1)
        assert "The first bad event: writer" in said
        said = _run(house, "accept", "orders", "--yes")
        assert "orders: accepted by checkpoint " in said
        said = _run(house, "verify", "--compartment", "orders")
        assert "faults were accepted earlier" in said
        assert "There is nothing to accept." in _run(house, "accept", "orders")
    finally:
        house.sql("orders", change.format(kept[0].hex()))


def test_nothing_old_enough_is_not_cut_off(split_house: SplitHouse, shipped: Path) -> None:
    house = split_house
    password = house.state / "passwords" / "piivault_owner"
    owner = ["--owner", "piivault_owner", "--owner-password-file", password]
    config = str(house.running.servers["auditor"].config)
    argv = ["audit", "prune", "accounts", "--checkpoints", shipped, "--config", config, *owner]
    done = CliRunner().invoke(cli, list(map(str, argv)))
    assert isinstance(done.exception, PruneError)
    assert "Set `keep_days`" in str(done.exception)


async def test_no_process_may_cut_anything_off(split_house: SplitHouse) -> None:
    for role in ("piivault_accounts_auditor", "piivault_accounts"):
        database = connect(split_house.urls[role])
        with pytest.raises(BackupError, match="--owner"):
            await cut_off(database, 0, {bytes(16): 0})
        await database.close()
