"""Verify: each kind of damage is found and named, and nothing else is; whole again, it is clean."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from piivault import errors
from piivault.v1 import subject_service_pb2 as subjects
from sqlalchemy import Table

from tests import verifying
from tests.command import piivault
from tests.house import House, run_house
from tests.people import Registered
from tests.verifying import ACCOUNTS, Saved, Verifier, flipped, found, put_back, run, saved
from tests.wire import PATIENCE, wait_for
from vault import app
from vault.crypto import padding
from vault.crypto import record as sealing
from vault.crypto.envelope import Kind as Envelope
from vault.crypto.envelope import seal
from vault.crypto.primitives import derive
from vault.crypto.record import Address, SealedRecord
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.names import Pseudonym, from_base64url
from vault.service import verify
from vault.service.verify import Kind
from vault.store import tables as t

SECONDS = 2.0  # of traffic
Rows = dict[Table, list[dict[str, Any]]]


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def house(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[House]:
    """A house of its own: other tests' damage isn't to be found here."""
    state = tmp_path_factory.mktemp(request.param) / "state"
    with run_house(state, postgres=request.param == "postgres") as started:
        for _ in range(3):
            started.register()
        yield started


@pytest.fixture(scope="module")
def verified(house: House) -> Iterator[Verifier]:
    opened = Verifier(house)
    yield opened
    opened.close()


# Damage to one person's rows. Each changes what is given, as a copy of what the database has.


def one_bit_of(table: Table, column: str) -> Callable[[Rows], None]:
    def damage(rows: Rows) -> None:
        rows[table][0][column] = flipped(rows[table][0][column])

    return damage


def without(table: Table) -> Callable[[Rows], None]:
    return lambda rows: rows[table].clear()


def truncated(rows: Rows) -> None:
    rows[t.records][0]["sealed"] = b"\1\1"


def under_an_unknown_kek(rows: Rows) -> None:
    rows[t.data_keys][0]["kek_version"] = 9


def nothing_but_the_data_key(rows: Rows) -> None:
    rows[t.records].clear()
    rows[t.blind_index].clear()


def nothing_but_the_index(rows: Rows) -> None:
    rows[t.records].clear()
    rows[t.data_keys].clear()


def one_more_index_row(rows: Rows) -> None:
    """Of a field that the record has no value in."""
    rows[t.blind_index].append({**rows[t.blind_index][0], "field": 99, "value": bytes(16)})


def one_index_row_of_another_value(rows: Rows) -> None:
    """Beside the right one: Find gives somebody else's value to this record."""
    rows[t.blind_index].append({**rows[t.blind_index][0], "value": bytes(16)})


def unique_no_more(rows: Rows) -> None:
    next(r for r in rows[t.blind_index] if r["slot"] == b"")["slot"] = b"another slot"


DAMAGE: Mapping[str, tuple[Callable[[Rows], None], dict[Kind, int]]] = {
    "a bit of the record envelope": (
        one_bit_of(t.records, "sealed"), {Kind.DAMAGED_RECORD: 1}),
    "a bit of the row version": (
        one_bit_of(t.records, "row_version"), {Kind.DAMAGED_RECORD: 1}),
    "an envelope cut short": (truncated, {Kind.DAMAGED_RECORD: 1}),
    "a bit of the wrapped data key": (
        one_bit_of(t.data_keys, "wrapped"), {Kind.DAMAGED_DATA_KEY: 1}),
    "a data key under another id": (
        one_bit_of(t.data_keys, "id"), {Kind.DAMAGED_DATA_KEY: 1, Kind.MISSING_DATA_KEY: 1}),
    "no data key": (without(t.data_keys), {Kind.MISSING_DATA_KEY: 1}),
    "a KEK that isn't in the keyring": (under_an_unknown_kek, {Kind.DAMAGED_KEY: 1}),
    "a data key without a record": (nothing_but_the_data_key, {Kind.DANGLING_DATA_KEY: 1}),
    "index rows without a record": (nothing_but_the_index, {Kind.DANGLING_INDEX: 2}),
    "an index row without a value": (one_more_index_row, {Kind.DANGLING_INDEX: 1}),
    "no index rows": (without(t.blind_index), {Kind.MISSING_INDEX: 2}),
    "an index row of another value": (
        one_bit_of(t.blind_index, "value"), {Kind.WRONG_INDEX: 1}),
    "one index row too many": (one_index_row_of_another_value, {Kind.WRONG_INDEX: 1}),
    "a unique value that others may have": (unique_no_more, {Kind.WRONG_INDEX: 1}),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "expected"), DAMAGE.values(), ids=DAMAGE)
def test_damage_is_found_without_the_trail_too(
    house: House, verified: Verifier, damage: Callable[[Rows], None], expected: dict[Kind, int]
) -> None:
    person = house.register()
    whole = saved(house, person.pseudonym)
    damaged = {table: [dict(row) for row in rows] for table, rows in whole.items()}
    damage(damaged)
    put_back(house, person.pseudonym, damaged)
    report = verified(trail=False)
    put_back(house, person.pseudonym, whole)
    assert found(report) == expected
    assert_shows_nothing(report, person)
    again = verified(trail=False)
    assert again.is_clean
    assert again.opened == again.records == again.total


# What only the trail tells. Each returns what undoes it.


@dataclass(frozen=True)
class Tampering:
    """Who tampers, and whose record it is."""

    house: House
    person: Registered

    def rows(self) -> Saved:
        return saved(self.house, self.person.pseudonym)

    def put_back(self, rows: Saved) -> None:
        put_back(self.house, self.person.pseudonym, rows)

    def move(self, city: str) -> Saved:
        """Have the subject change a value; return the rows from before."""
        before = self.rows()
        self.person.subject.put(ACCOUNTS, {"city": city})
        return before


def an_old_row(by: Tampering) -> None:
    by.put_back({t.records: by.move("Өзгөн")[t.records]})


def an_old_row_after_an_older_one(by: Tampering) -> None:
    oldest = by.move("Өзгөн")
    by.move("Ноокат")
    by.put_back({t.records: oldest[t.records]})


def before_a_withdrawal(by: Tampering) -> None:
    consented = by.rows()
    by.person.subject.withdraw(ACCOUNTS, ["services"])
    by.put_back(consented)


def an_erased_record(by: Tampering) -> None:
    rows = by.rows()
    by.person.subject.erase(ACCOUNTS)
    by.put_back(rows)


def an_erased_record_without_its_tombstone(by: Tampering) -> None:
    known = verifying.all_of(by.house, t.tombstones)
    an_erased_record(by)
    verifying.replace_all(by.house, t.tombstones, known)


def an_erased_record_over_its_successor(by: Tampering) -> None:
    """The subject came back, and what is put back is their life before."""
    rows = by.rows()
    by.person.subject.erase(ACCOUNTS)
    again = by.house.register(root=by.person.root)
    assert again.pseudonym == by.person.pseudonym
    by.put_back(rows)


def by_whoever_has_the_keys(by: Tampering) -> None:
    """Sealed as a worker seals, and no event says so."""
    rows = by.rows()
    sealed = asyncio.run(resealed(by, rows, break_field=False))
    by.put_back({t.records: [{**rows[t.records][0], **sealed}]})


def a_field_alone(by: Tampering) -> None:
    rows = by.rows()
    sealed = asyncio.run(resealed(by, rows, break_field=True))
    by.put_back({t.records: [{**rows[t.records][0], **sealed}]})


async def resealed(by: Tampering, rows: Saved, *, break_field: bool) -> dict[str, bytes]:
    row = SealedRecord(rows[t.records][0]["row_version"], rows[t.records][0]["sealed"])
    wrapped = rows[t.data_keys][0]["wrapped"]
    async with app.opened(by.house.settings, ACCOUNTS) as (served, _):
        address = Address(served.uuid, Pseudonym.parse(by.person.pseudonym).raw)
        kek = await served.keyring.get(KeyName(KeyKind.KEK))
    data_key = sealing.unwrap_data_key(kek, address, wrapped)
    about = sealing.open_record(address, data_key, row)
    values = sealing.open_fields(address, data_key, row, about).values()
    if not break_field:
        sealed = sealing.seal_record(address, data_key, about, values)
        return {"row_version": sealed.row_version, "sealed": sealed.sealed}
    about.fields[0].envelope = flipped(about.fields[0].envelope)
    data = about.SerializeToString()
    padded = padding.pad(data, padding.step_size(len(data), 1024))
    place = (address.compartment, address.pseudonym, row.row_version)
    key = derive(data_key.key, b"record")
    return {"sealed": seal(key, Envelope.RECORD, data_key.id, place, padded)}


TAMPERED: Mapping[str, tuple[Callable[[Tampering], None], dict[Kind, int], dict[Kind, int]]] = {
    "a whole old row": (an_old_row, {Kind.ROLLBACK: 1}, {}),
    "a row from two changes ago": (an_old_row_after_an_older_one, {Kind.ROLLBACK: 1}, {}),
    "a consent that was withdrawn": (before_a_withdrawal, {Kind.ROLLBACK: 1}, {}),
    "an erased record": (an_erased_record, {Kind.ERASED_BACK: 1}, {Kind.ERASED_BACK: 1}),
    "an erased record, its tombstone gone": (
        an_erased_record_without_its_tombstone, {Kind.ERASED_BACK: 1}, {}),
    "an erased record over its successor": (
        an_erased_record_over_its_successor, {Kind.ERASED_BACK: 1}, {}),
    "a change that nobody recorded": (by_whoever_has_the_keys, {Kind.UNKNOWN_CHANGE: 1}, {}),
    "a field envelope alone": (
        a_field_alone, {Kind.DAMAGED_FIELD: 1, Kind.UNKNOWN_CHANGE: 1}, {Kind.DAMAGED_FIELD: 1}),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "expected", "untold"), TAMPERED.values(), ids=TAMPERED)
def test_what_the_trail_tells(
    house: House,
    verified: Verifier,
    tamper: Callable[[Tampering], None],
    expected: dict[Kind, int],
    untold: dict[Kind, int],
) -> None:
    """All of it, or a sample that this person is in; without the trail only what shows without."""
    person = house.register()
    tamper(Tampering(house, person))
    whole, without_trail = verified(), verified(trail=False)
    sampled = sample_from(verified, person)
    put_back(house, person.pseudonym, {table: [] for table in verifying.OF_A_RECORD})
    assert found(whole) == found(sampled) == expected
    assert found(without_trail) == untold
    assert sampled.records == 1
    assert_shows_nothing(whole, person)
    again = verified()
    assert again.is_clean
    assert again.compared == again.records


def sample_from(verified: Verifier, person: Registered) -> verify.Report:
    """Verify a sample of one: this one."""
    raw = int.from_bytes(Pseudonym.parse(person.pseudonym).raw, "big")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vault.service.verify.secrets.randbelow", lambda _: raw - 1)
        return verified(sample=1)


def assert_shows_nothing(report: verify.Report, person: Registered) -> None:
    shown = json.dumps(report.to_tree())
    raw = Pseudonym.parse(person.pseudonym).raw
    for secret in (raw.hex(), raw.hex()[:16], person.pseudonym, *person.values.values()):
        assert secret not in shown


def test_a_finding_leads_to_the_row(house: House, verified: Verifier) -> None:
    person = house.register()
    tampering = Tampering(house, person)
    an_old_row(tampering)
    (finding,) = verified().findings
    row = tampering.rows()[t.records][0]
    put_back(house, person.pseudonym, {table: [] for table in verifying.OF_A_RECORD})
    assert (finding.table, finding.column) == ("records", "row_version")
    assert row[finding.column].hex() == finding.begins
    assert from_base64url(person.etag) == row["row_version"]


def test_an_erasure_repeated_is_no_erasure(house: House, verified: Verifier) -> None:
    """The same request again, after the subject came back: what they have now is their own."""
    person = house.register()
    request_id = "0b8f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f"
    request = subjects.EraseRequest(compartment=ACCOUNTS, capability=person.capability)
    house.ask("portal", request, request_id)
    house.register(root=person.root)
    house.ask("portal", request, request_id)
    assert verified().is_clean
    assert sample_from(verified, person).is_clean


def test_a_damaged_event(house: House, verified: Verifier) -> None:
    events = verifying.all_of(house, t.audit)
    damaged = [{**events[0], "sealed": flipped(events[0]["sealed"])}, *events[1:]]
    verifying.replace_all(house, t.audit, damaged)
    report = verified()
    verifying.replace_all(house, t.audit, events)
    assert report.counts[Kind.DAMAGED_EVENT] == 1
    assert verified().is_clean


def test_a_trail_whose_older_part_was_cut_off(house: House, verified: Verifier) -> None:
    """What changed last before it begins is not covered; what changed since is."""
    person, other = house.register(), house.register()
    events = verifying.all_of(house, t.audit)
    verifying.replace_all(house, t.audit, [])
    begins = (int(time.time()) + 1) * 1_000_000
    uncut = verified()
    assert found(uncut) == {Kind.UNKNOWN_CHANGE: uncut.total}
    cut = verified(begins=begins)
    assert cut.is_clean
    assert (cut.not_covered, cut.compared) == (cut.total, 0)

    oldest = Tampering(house, person).move("Өзгөн")
    known = Tampering(house, other).move("Ноокат")
    covered = verified(begins=begins)
    assert covered.is_clean
    assert covered.compared == 2
    put_back(house, person.pseudonym, {t.records: oldest[t.records]})
    assert found(verified(begins=begins)) == {Kind.ROLLBACK: 1}
    # Older than the trail, of a subject that changed since: no event of theirs knows this row.
    verifying.replace_all(house, t.audit, [])
    Tampering(house, other).move("Араван")
    put_back(house, other.pseudonym, {t.records: known[t.records]})
    assert found(verified(begins=begins)) == {Kind.UNKNOWN_CHANGE: 1}
    for gone in (person, other):
        put_back(house, gone.pseudonym, {table: [] for table in verifying.OF_A_RECORD})
    verifying.replace_all(house, t.audit, events)
    assert verified().is_clean


def test_traffic_is_nobodys_damage(
    house: House, verified: Verifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registering, changing, erasing, coming back, in between of every few rows."""
    monkeypatch.setattr(verify, "_PAGE", 2)
    people = [house.register() for _ in range(4)]
    stop = Event()

    def busy(person: Registered) -> int:
        for turn in itertools.count():
            if stop.is_set():
                return turn
            person.subject.put(ACCOUNTS, {"city": f"Ош {turn}"})
            person.subject.erase(ACCOUNTS)
            house.register(root=person.root)
            house.register()
        raise AssertionError

    with ThreadPoolExecutor(len(people)) as pool:
        writers = [pool.submit(busy, person) for person in people]
        try:
            began = time.monotonic()
            reports = [verified(), verified(sample=3)]

            def grew() -> bool:
                return reports[-1].total > reports[0].total

            while time.monotonic() < began + (SECONDS if grew() else PATIENCE):
                reports.append(verified())
        finally:
            stop.set()
    assert all(writer.result() for writer in writers)
    assert [found(report) for report in reports] == [{}] * len(reports)
    assert reports[1].records == 3
    assert grew()


def test_what_officers_stopped_is_counted_apart(house: House, verified: Verifier) -> None:
    """A suspended KEK is nobody's damage; a suspended compartment isn't verified at all."""
    kek = "UPDATE keyring SET state = '{}' WHERE kind = 'kek'"
    house.sql(ACCOUNTS, kek.format("suspended"))
    report = verified()
    house.sql(ACCOUNTS, kek.format("active"))
    assert report.is_clean
    assert report.unopened == {Reason.KEYS_SUSPENDED: report.data_keys}
    assert (report.opened, report.records) == (0, report.total)
    house.sql(ACCOUNTS, "UPDATE compartment SET state = 'suspended'")
    with pytest.raises(VaultError, match="suspended by the security team"):
        verified()
    house.sql(ACCOUNTS, "UPDATE compartment SET state = 'serving'")
    assert verified().opened == report.total
    wait_for(lambda: _serves(house), what="the house has seen that it goes on")


def _serves(house: House) -> bool:
    try:
        house.register()
    except errors.KeysSuspended:
        return False
    return True


def test_a_sample_has_no_record_twice(house: House, verified: Verifier) -> None:
    for _ in range(4):
        house.register()
    total = verified().total
    for wanted in (1, 2, total - 1, total, total + 10):
        report = verified(sample=wanted)
        assert report.is_clean
        assert report.records == report.compared == min(wanted, total)


def test_spans_of_a_sample_share_all_pseudonyms() -> None:
    for wanted in (1, 100, 5000):
        spans = list(verify._strewn(wanted))
        ends = sorted((span.after or b"", span.until or b"\xff" * 33) for _, span in spans)
        assert ends[0][0] == b""
        assert ends[-1][1] == b"\xff" * 33
        assert all(before[1] == after[0] for before, after in itertools.pairwise(ends))
        assert max(most for most, _ in spans) == wanted


def test_nothing_is_listed_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    report = verify.Report(ACCOUNTS)
    for number in range(1200):
        report.add(verify.Finding(Kind.ROLLBACK, "records", "row_version", f"{number:032x}"))
    assert (len(report.findings), report.counts[Kind.ROLLBACK]) == (1000, 1200)


def test_the_command(house: House, tmp_path: Path) -> None:
    """It ends with 1 if anything is wrong, and shows nobody: neither people nor programs."""
    person = house.register()
    clean = run(house, "verify", "--compartment", ACCOUNTS)
    assert (clean.returncode, clean.stderr) == (0, "")
    assert "Nothing is wrong" in clean.stdout
    an_old_row(Tampering(house, person))
    told = run(house, "verify", "--compartment", ACCOUNTS)
    programs = run(house, "verify", "--compartment", ACCOUNTS, "--json")
    sampled = run(house, "verify", "--compartment", ACCOUNTS, "--sample", "1", "--json")
    put_back(house, person.pseudonym, {table: [] for table in verifying.OF_A_RECORD})
    assert told.returncode == programs.returncode == 1
    assert "rollback: records, row_version " in told.stdout
    (tree,) = json.loads(programs.stdout)["compartments"]
    assert (tree["compartment"], tree["clean"], tree["counts"]) == (
        ACCOUNTS,
        False,
        {"rollback": 1},
    )
    assert json.loads(sampled.stdout)["compartments"][0]["records"] == 1
    shown = told.stdout + programs.stdout + told.stderr + programs.stderr
    raw = Pseudonym.parse(person.pseudonym).raw
    assert all(s not in shown for s in (raw.hex(), person.pseudonym, *person.values.values()))


def test_the_command_without_a_trail_says_so(house: House, tmp_path: Path) -> None:
    """A worker's own configuration has no [auditor]."""
    lines = house.running.config.read_text(encoding="utf-8").splitlines(keepends=True)
    sections = "".join(lines).split("\n[")
    without = "\n[".join(s for s in sections if not s.startswith("auditor"))
    file = house.running.config.with_name("worker.toml")
    file.write_text(without.replace('"auditor", ', "").replace(', "auditor"', ""), encoding="utf-8")
    ended = piivault("verify", "--compartment", ACCOUNTS, "--config", file)
    file.unlink()
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "Rollbacks were not looked for" in ended.stdout


def test_a_compartment_that_isnt_there(house: House) -> None:
    ended = run(house, "verify", "--compartment", "shop")
    assert ended.returncode == 1
    assert "has no compartment shop. It has accounts, " in " ".join(ended.stderr.split())
