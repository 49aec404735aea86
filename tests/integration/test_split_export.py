"""Everywhere, on processes of their own: a subject's exports meet on the subject's side alone.

A capture of all that the servers wrote, logged or hold shows no merged package and no root id.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import piivault
import pytest
from piivault._subject_command import main
from piivault.export_keys import read_public

from tests.exporting import signing_keys
from tests.people import COMPARTMENTS, Registered
from tests.split import SplitHouse
from tests.traces import files, forms, leaks, tables
from tests.wire import new_request_id
from vault.names import Pseudonym

REQUESTS = {name: new_request_id() for name in COMPARTMENTS}


@pytest.fixture(scope="module")
def everywhere(split_house: SplitHouse) -> Mapping[str, Registered]:
    """One subject with a record in each compartment."""
    root = piivault.new_root()
    return {name: split_house.register(name, root=root) for name in COMPARTMENTS}


@pytest.fixture(scope="module")
def desk(
    split_house: SplitHouse,
    everywhere: Mapping[str, Registered],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What the subject has in the end: keys, packages as they were relayed, published keys."""
    folder = tmp_path_factory.mktemp("desk")
    main(["new", str(folder / "mine.keys"), *COMPARTMENTS])
    public = read_public((folder / "mine.keys.public").read_text())
    for name, person in everywhere.items():
        package = person.subject.export(name, public[name], request_id=REQUESTS[name]).package
        (folder / f"{name}.package").write_bytes(package)
    published = {name: list(keys) for name, keys in signing_keys(split_house).items()}
    (folder / "published.json").write_text(json.dumps(published))
    return folder


@pytest.fixture(scope="module")
def merged(desk: Path) -> str:
    packages = [str(desk / f"{name}.package") for name in COMPARTMENTS]
    main(["open", "--keys", str(desk / "mine.keys"), "-o", str(desk / "mine.json"),
          "--signing-keys", str(desk / "published.json"), *packages])  # fmt: skip
    return (desk / "mine.json").read_text(encoding="utf-8")


def test_a_subject_opens_and_merges_what_all_compartments_hold(
    merged: str, everywhere: Mapping[str, Registered]
) -> None:
    exports = {its["holdings"]["compartment"]["name"]: its for its in json.loads(merged)["exports"]}
    assert list(exports) == sorted(COMPARTMENTS)
    for name, person in everywhere.items():
        fields = exports[name]["holdings"]["fields"]
        assert {its["name"]: its["value"] for its in fields} == person.values


def test_what_it_holds_leads_from_no_compartment_to_another(
    merged: str, everywhere: Mapping[str, Registered]
) -> None:
    """But by its values: no pseudonym, no root id, and nothing that two of them have in common."""
    assert "psn_" not in merged
    assert "root_" not in merged
    exports = [its["holdings"] for its in json.loads(merged)["exports"]]
    for part in ("id", "key"):
        assert len({its["request"][part] for its in exports}) == len(COMPARTMENTS)
    assert {its["subject"]["kind"] for its in exports} == {"person", "enterprise"}


def _needles(
    desk: Path, merged: str, everywhere: Mapping[str, Registered]
) -> Iterator[tuple[str, bytes]]:
    root = next(iter(everywhere.values())).root
    for how, form in (forms(bytes(root)) | forms(root.expose().encode())).items():
        yield f"the root id, {how}", form
    for how, form in forms(b"piivault-merged-export").items():
        yield f"a merged export, {how}", form
    for how, form in forms(b'"piivault-export"').items():
        yield f"holdings, {how}", form
    for its in json.loads((desk / "mine.keys").read_text())["keys"]:
        yield f"the private key for {its['kid']}", its["priv"].encode()
    for its in json.loads(merged)["exports"]:
        name = its["holdings"]["compartment"]["name"]
        yield f"the salt of {name}", its["salt"].encode()
    for name, person in everywhere.items():
        package = (desk / f"{name}.package").read_bytes()
        yield f"the package of {name}", package[200:240]
        for field, value in person.values.items():
            yield f"{field} of {name}", value.encode()


def test_nothing_of_it_stays_with_the_servers(
    split_house: SplitHouse, desk: Path, merged: str, everywhere: Mapping[str, Registered]
) -> None:
    """In files, logs, metrics and what they print, and in each table of each database."""
    needles = dict(_needles(desk, merged, everywhere))
    found = files(split_house)
    logs = {name: text for name, text in found.others.items() if name.startswith("log/")}
    processes = ("broker", *(f"worker-{name}" for name in COMPARTMENTS))
    assert {f"log/piivault-{name}.log" for name in processes} <= logs.keys()
    for name, request_id in REQUESTS.items():  # what is there is found
        assert leaks(logs, {"a request": request_id.encode()}) == [
            f"a request in log/piivault-worker-{name}.log"
        ]
    assert not leaks(found.others, needles)
    assert found.with_rows
    assert not leaks(found.with_rows, needles)
    rows = {f"{d}.{table}": cells for d, table, cells in tables(split_house)}
    assert "accounts.requests" in rows
    assert not leaks(rows, needles)


def test_no_process_saw_two_compartments(
    split_house: SplitHouse, everywhere: Mapping[str, Registered], desk: Path
) -> None:
    """Each database holds its own pseudonym and none of the others, and no key of the request."""
    public = read_public((desk / "mine.keys.public").read_text())
    rows = [(d, cells) for d, _, cells in tables(split_house)]
    for name, person in everywhere.items():
        raw = Pseudonym.parse(person.pseudonym).raw
        assert {database for database, cells in rows if raw in cells} == {name}
        keys = (public[name].digest, public[name].raw[-32:])
        assert not [database for database, cells in rows for key in keys if key in cells]


def test_each_worker_noted_its_own_export(split_house: SplitHouse, merged: str) -> None:
    for name in COMPARTMENTS:
        noted = {other: split_house.events(name, REQUESTS[other]) for other in COMPARTMENTS}
        assert [event.operation for event in noted.pop(name)] == ["export"]
        assert not any(noted.values())
