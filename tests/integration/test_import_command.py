"""`piivault import`: rows of a file, each put or refused by itself, none twice, none shown."""

import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.house import House
from tests.people import NOBODY
from vault.cli import cli
from vault.cli.bulk_import import request_id
from vault.cli.import_rows import Row

PLANTED = "Коңгуроо-иштебейт"

Import = Callable[..., Result]


@pytest.fixture
def imports(sqlite_house: House) -> Import:
    def run(file: Path, service: str = "orders", purpose: str = "services") -> Result:
        argv = ["import", str(file), "--compartment", "orders", "--purpose", purpose]
        return CliRunner().invoke(cli, argv, env=sqlite_house.environment(service))

    return run


def _write(file: Path, *rows: dict[str, str | None]) -> Path:
    """Write rows as the file's name says."""
    if file.suffix == ".jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    else:
        names = list(rows[0])
        lines = [",".join(names), *(",".join(row[name] or "" for name in names) for row in rows)]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return file


@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl"])
def test_each_row_is_put_or_named_by_its_line(
    sqlite_house: House, imports: Import, tmp_path: Path, name: str
) -> None:
    people = [sqlite_house.register("orders") for _ in range(3)]
    unconsented = sqlite_house.register("orders", consents=[])
    pseudonyms = [people[0].pseudonym, unconsented.pseudonym, NOBODY, people[1].pseudonym]
    rows: list[dict[str, str | None]] = [
        {"pseudonym": psn, "item_note": f"{PLANTED} {n}"} for n, psn in enumerate(pseudonyms)
    ]
    file = _write(tmp_path / name, *rows)
    done = imports(file)
    first = 1 if name.endswith("jsonl") else 2
    assert done.exit_code == 1
    assert done.stdout == "2 rows put, 2 failed\n"
    said = done.stderr.splitlines()
    assert [line.split(": ")[:2] for line in said] == [
        [f"line {first + 1}", "CONSENT_REQUIRED"],
        [f"line {first + 2}", "NOT_FOUND"],
    ]
    assert not [text for text in (PLANTED, "psn_") if text in done.output]
    assert [sqlite_house.note_of(p) for p in people[:2]] == [f"{PLANTED} 0", f"{PLANTED} 3"]


def test_a_second_run_puts_what_is_new_or_changed_and_nothing_twice(
    sqlite_house: House, imports: Import, tmp_path: Path
) -> None:
    one, two, three = (sqlite_house.register("orders") for _ in range(3))
    rows: list[dict[str, str | None]] = [
        {"pseudonym": person.pseudonym, "item_note": PLANTED} for person in (one, two)
    ]
    file = _write(tmp_path / "rows.csv", *rows)
    assert imports(file).stdout == "2 rows put, 0 failed\n"
    orders = sqlite_house.client("orders").compartment("orders", purpose="services")
    orders.put(one.pseudonym, {"item_note": "кийин"})
    rows[1]["item_note"] = "оңдолгон"
    rows.append({"pseudonym": three.pseudonym, "item_note": PLANTED})
    assert imports(_write(file, *rows)).exit_code == 0
    notes = [sqlite_house.note_of(person) for person in (one, two, three)]
    assert notes == ["кийин", "оңдолгон", PLANTED]
    (tmp_path / "rows.csv.import-state").unlink()
    assert imports(file).exit_code == 0
    assert sqlite_house.note_of(one) == PLANTED


@pytest.mark.parametrize("cell", [("rows.csv", ""), ("rows.jsonl", None)], ids=["CSV", "JSON"])
def test_an_empty_cell_leaves_the_field_and_null_removes_it(
    sqlite_house: House, imports: Import, tmp_path: Path, cell: tuple[str, str | None]
) -> None:
    name, value = cell
    person = sqlite_house.register("orders", item_note=PLANTED)
    row = {"pseudonym": person.pseudonym, "address": "Ош", "item_note": value}
    assert imports(_write(tmp_path / name, row)).exit_code == 0
    orders = sqlite_house.client("orders").compartment("orders", purpose="services")
    got = orders.reveal(person.pseudonym, ["address", "item_note"])
    assert got["address"].expose() == "Ош"
    assert ("item_note" in got) == (value == "")


ROWS: dict[str, tuple[str, str, str]] = {
    "no JSON": ("x.jsonl", f'{{"pseudonym": "{PLANTED}"', "line 1: Is no JSON object."),
    "a list": ("x.jsonl", f'["{PLANTED}"]', "line 1: Is no JSON object."),
    "no pseudonym": ("x.jsonl", '{"item_note": "a"}', "line 1: Has no pseudonym."),
    "no field": ("x.jsonl", '{"pseudonym": "psn_a"}', "line 1: Has nothing to put."),
    "a number": (
        "x.jsonl", '{"pseudonym": "psn_a", "item_note": 5}', "line 1: Values are text, or null."),
    "half a letter": (
        "x.jsonl", '{"pseudonym": "psn_a", "item_note": "\\ud800"}', "valid Unicode."),
    "half a letter in a name": (
        "x.jsonl", '{"pseudonym": "psn_a", "\\ud800": "a"}', "valid Unicode."),
    "half a letter in a pseudonym": (
        "x.jsonl", '{"pseudonym": "\\ud800", "item_note": "a"}', "valid Unicode."),
    "too deep": ("x.jsonl", "[" * 200_000, "line 1: Is no JSON object."),
    "a name twice": (
        "x.jsonl", '{"pseudonym": "psn_a", "item_note": "a", "item_note": "b"}', "twice"),
    "too many cells": (
        "x.csv", f"pseudonym,item_note\npsn_a,b,{PLANTED}", "line 2: Has more or fewer cells"),
    "too few": ("x.csv", "pseudonym,item_note\npsn_a", "line 2: Has more or fewer cells"),
    "an open quote": ("x.csv", f'pseudonym,item_note\npsn_a,"{PLANTED}', "line 2: Is no CSV."),
}  # fmt: skip


@pytest.mark.parametrize(("name", "text", "says"), ROWS.values(), ids=ROWS)
def test_a_row_that_cannot_be_sent_is_named_and_the_rest_goes_on(
    imports: Import, tmp_path: Path, name: str, text: str, says: str
) -> None:
    (tmp_path / name).write_text(text + "\n", encoding="utf-8")
    done = imports(tmp_path / name)
    assert (done.exit_code, done.stdout) == (1, "0 rows put, 1 failed\n")
    assert says in done.stderr
    assert PLANTED not in done.output


def test_rows_of_one_record_are_put_in_the_files_order(
    sqlite_house: House, imports: Import, tmp_path: Path
) -> None:
    one, two = (sqlite_house.register("orders") for _ in range(2))
    rows: list[dict[str, str | None]] = [
        {"pseudonym": person.pseudonym, "item_note": f"{number}"}
        for number, person in enumerate([one] * 5 + [two, one] * 40)
    ]
    done = imports(_write(tmp_path / "rows.csv", *rows))
    assert (done.exit_code, done.stdout) == (0, "85 rows put, 0 failed\n")
    assert [sqlite_house.note_of(person) for person in (one, two)] == ["84", "83"]


class Pauses:
    """What an import would sleep, and what happens meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds: list[float] = []
        self.meanwhile: Callable[[int], object] = lambda number: None
        monkeypatch.setattr("vault.cli.bulk_import.sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.meanwhile(len(self.seconds))


def test_what_the_server_could_not_do_is_tried_again_and_put_once(
    sqlite_house: House, imports: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [sqlite_house.register("orders") for _ in range(3)]
    notes = ["бир", "эки", "үч", "төрт"]
    rows: list[dict[str, str | None]] = [
        {"pseudonym": person.pseudonym, "item_note": note}
        for person, note in zip([*people, people[0]], notes, strict=True)
    ]
    pauses = Pauses(monkeypatch)
    with ExitStack() as stack:
        stack.enter_context(sqlite_house.unwritable_trail("orders"))
        pauses.meanwhile = lambda number: stack.close() if number == 3 else None
        done = imports(_write(tmp_path / "rows.jsonl", *rows))
    assert (done.exit_code, done.stdout) == (0, "4 rows put, 0 failed\n")
    assert done.stderr.splitlines() == [
        f"STORAGE_UNAVAILABLE: rows that are tried again in {seconds} s: 3"
        for seconds in ("0.5", "1.0", "2.0")
    ]
    assert pauses.seconds == [0.5, 1, 2]
    assert [sqlite_house.note_of(person) for person in people] == ["төрт", "эки", "үч"]


def test_where_nothing_can_be_put_it_stops_and_the_next_run_goes_on(
    sqlite_house: House, imports: Import, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    people = [sqlite_house.register("orders") for _ in range(3)]
    rows: list[dict[str, str | None]] = [
        {"pseudonym": person.pseudonym, "item_note": PLANTED} for person in people * 40
    ]
    file = _write(tmp_path / "rows.csv", *rows)
    pauses = Pauses(monkeypatch)
    with sqlite_house.unwritable_trail("orders"):
        done = imports(file)
    assert (done.exit_code, done.stdout) == (1, "0 rows put, 67 failed\n")
    assert pauses.seconds == [0.5, 1, 2, 4]
    assert "line 5: Wasn't sent." in done.stderr
    assert "Stopped after line 68, STORAGE_UNAVAILABLE: " in done.stderr.splitlines()[-1]
    assert PLANTED not in done.output
    assert imports(file).stdout == "120 rows put, 0 failed\n"


WHOLE = {
    "no header": ("x.csv", "psn_a,b\n", "orders", "names no column pseudonym"),
    "a column twice": ("x.csv", "pseudonym,item_note,item_note\npsn_a,b,c\n", "orders", "twice"),
    "an empty file": ("x.csv", "", "orders", "names no column pseudonym"),
    "no grant": ("x.csv", "pseudonym,item_note\npsn_a,b\n", "newsletter", "NOT_GRANTED"),
}


@pytest.mark.parametrize(("name", "text", "service", "says"), WHOLE.values(), ids=WHOLE)
def test_what_no_row_could_mend_is_said_once(
    imports: Import, tmp_path: Path, name: str, text: str, service: str, says: str
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    done = imports(tmp_path / name, service)
    assert done.exit_code != 0
    assert says in done.output + str(done.exception)


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl"])
def test_a_file_of_another_encoding_is_said_so(
    sqlite_house: House, imports: Import, tmp_path: Path, name: str
) -> None:
    row: dict[str, str | None] = {"pseudonym": NOBODY, "item_note": "Коңгуроо"}
    text = _write(tmp_path / name, row).read_text(encoding="utf-8")
    (tmp_path / name).write_bytes(text.replace("ң", "н").encode("cp1251"))
    done = imports(tmp_path / name)
    assert done.exit_code == 1
    assert "UTF-8" in done.output


def test_a_request_id_is_the_rows_the_places_and_the_seeds_own() -> None:
    """It stands in the trail: without the seed nobody can try values against it."""
    row, seed = Row(2, "psn_a", {"city": "Ош"}), bytes(32)
    others = [
        request_id(b"1" * 32, "a/b", row),
        request_id(seed, "a/c", row),
        request_id(seed, "a/b", Row(3, "psn_a", {"city": "Ош"})),
        request_id(seed, "a/b", Row(2, "psn_b", {"city": "Ош"})),
        request_id(seed, "a/b", Row(2, "psn_a", {"city": None})),
    ]
    assert request_id(seed, "a/b", row) == request_id(seed, "a/b", row)
    assert len({request_id(seed, "a/b", row), *others}) == 6


def test_the_state_is_its_owners_alone(imports: Import, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text("", encoding="utf-8")
    assert imports(file).stdout == "0 rows put, 0 failed\n"
    state = tmp_path / "rows.jsonl.import-state"
    assert state.stat().st_mode & 0o777 == 0o600
    state.write_text("no state", encoding="utf-8")
    assert "isn't the state of an import" in imports(file).output
