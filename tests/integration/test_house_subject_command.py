"""`piivault-subject`: a person makes keys, gets packages, opens them, and reads what is held."""

import json
import stat
import subprocess
import sysconfig
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import piivault
import pytest
from piivault._subject_command import main
from piivault.export_keys import ExportKeys, read_public
from piivault.exports import read_merged

from tests.exporting import signing_keys
from tests.house import House
from tests.people import Registered

PLACES = ("accounts", "orders")


@dataclass(frozen=True, slots=True)
class Desk:
    """A person's own folder: keys, what came, and the compartments' published keys."""

    folder: Path
    people: Mapping[str, Registered]

    def path(self, name: str) -> Path:
        return self.folder / name

    def open(self, *more: str, keys: str = "mine.keys", signing: str = "published.json") -> None:
        """Run `open` on all that came."""
        packages = [str(self.path(f"{name}.package")) for name in PLACES]
        main(["open", "--keys", str(self.path(keys)), "--signing-keys", str(self.path(signing)),
              *packages, *more])  # fmt: skip


@pytest.fixture(scope="module")
def people(sqlite_house: House) -> Mapping[str, Registered]:
    root = piivault.new_root()
    there = {name: sqlite_house.register(name, root=root) for name in PLACES}
    there["orders"].subject.put("orders", {"item_note": "бир\nэки\t\u202eүч"})
    return there


@pytest.fixture
def desk(sqlite_house: House, people: Mapping[str, Registered], tmp_path: Path) -> Desk:
    main(["new", str(tmp_path / "mine.keys"), *PLACES])
    public = read_public((tmp_path / "mine.keys.public").read_text())
    for name in PLACES:
        package = people[name].subject.export(name, public[name]).package
        (tmp_path / f"{name}.package").write_bytes(package)
    published = json.dumps({n: list(keys) for n, keys in signing_keys(sqlite_house).items()})
    (tmp_path / "published.json").write_text(published)
    return Desk(tmp_path, people)


def test_new_keys_are_the_persons_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.keys"
    main(["new", str(file), "accounts", "--suite", "X25519"])
    kept = file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = ExportKeys.read(kept).public["accounts"]
    assert read_public((tmp_path / "mine.keys.public").read_text()) == {"accounts": key}
    said = capsys.readouterr().out
    assert key.thumbprint in said
    assert (
        json.loads(kept)["keys"][0]["d"] not in said + (tmp_path / "mine.keys.public").read_text()
    )
    with pytest.raises(SystemExit, match="File exists"):
        main(["new", str(file), "accounts"])
    assert file.read_text() == kept


def test_opens_verifies_and_merges(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.open("-o", str(desk.path("mine.json")))
    told = capsys.readouterr().out
    for name in PLACES:
        for value in desk.people[name].values.values():
            assert value in told or name == "orders"
    for words in ("User accounts (accounts)", "Orders (orders)", "Last name", "3 years", "consent"):
        assert words in told
    exports = read_merged(json.loads(desk.path("mine.json").read_text()))
    assert [export.compartment for export in exports] == list(PLACES)
    published = json.loads(desk.path("published.json").read_text())
    for export in exports:
        export.verify(published[export.compartment])
    assert stat.S_IMODE(desk.path("mine.json").stat().st_mode) == 0o600


@pytest.mark.parametrize(("language", "word"), [("ky", "Фамилиясы"), ("ru", "Фамилия")])
def test_speaks_the_persons_language(
    desk: Desk, capsys: pytest.CaptureFixture[str], language: str, word: str
) -> None:
    desk.open("--language", language)
    assert word in capsys.readouterr().out


def test_no_value_steers_the_terminal(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.open()
    told = capsys.readouterr().out
    assert "бир эки  үч" in told
    assert "\u202e" not in told


def test_says_what_is_still_missing(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    main(["open", "--keys", str(desk.path("mine.keys")), str(desk.path("orders.package")),
          "--signing-keys", str(desk.path("published.json"))])  # fmt: skip
    assert "Not among these, though there are keys for it: accounts." in capsys.readouterr().out


def test_takes_the_operators_keys_from_the_environment_too(
    desk: Desk, sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = [str(desk.path("accounts.package")), "--keys", str(desk.path("mine.keys"))]
    with pytest.raises(SystemExit, match="Whose word is to be believed"):
        main(["open", *package])
    for name, value in sqlite_house.environment("portal").items():
        monkeypatch.setenv(name, value)
    main(["open", *package])


Tamper = Callable[[Desk], object]


def _swap_signing(desk: Desk) -> None:
    published = json.loads(desk.path("published.json").read_text())
    published["accounts"], published["orders"] = published["orders"], published["accounts"]
    desk.path("published.json").write_text(json.dumps(published))


def _swap_packages(desk: Desk) -> None:
    accounts, orders = (desk.path(f"{name}.package") for name in PLACES)
    orders.write_bytes(accounts.read_bytes())


def _flip(desk: Desk) -> None:
    file = desk.path("orders.package")
    file.write_bytes(file.read_bytes()[:-1] + b"?")


def _relay(desk: Desk) -> None:
    """Export once more, to a key of the relay's own."""
    theirs = ExportKeys.new(["orders"]).public["orders"]
    package = desk.people["orders"].subject.export("orders", theirs).package
    desk.path("orders.package").write_bytes(package)


def _crossed(desk: Desk) -> None:
    """Export orders to the key that was made for accounts."""
    public = read_public(desk.path("mine.keys.public").read_text())
    package = desk.people["orders"].subject.export("orders", public["accounts"]).package
    desk.path("orders.package").write_bytes(package)


TAMPERED: dict[str, tuple[Tamper, str]] = {
    "signed by another compartment's key": (
        _swap_signing, "No key of this compartment signed this.* from the operator itself"),
    "keys that aren't published": (
        lambda d: d.path("published.json").write_text("{}"), "No public key is known"),
    "published keys that are none": (
        lambda d: d.path("published.json").write_text('{"accounts": ["x"]}'), "32 bytes"),
    "no JSON for published keys": (
        lambda d: d.path("published.json").write_text("keys"), "Signing keys are JSON"),
    "changed on the way": (_flip, "doesn't open: it was changed on the way"),
    "one twice": (_swap_packages, "two exports of accounts"),
    "sealed to the relay's key": (_relay, "somebody put in a key of their own"),
    "sealed to the key of another compartment": (_crossed, "made for orders"),
    "no package": (
        lambda d: d.path("orders.package").write_text("hello"), "no package of an export"),
    "no file": (lambda d: d.path("orders.package").unlink(), "No such file"),
    "no keys": (lambda d: d.path("mine.keys").write_text("{}"), "no export keys"),
    "keys that are no text": (
        lambda d: d.path("mine.keys").write_bytes(b"\xff"), "isn't text"),
    "other keys": (
        lambda d: d.path("mine.keys").write_text(ExportKeys.new(PLACES).expose()),
        "sealed to a key that isn't among these"),
}  # fmt: skip


@pytest.mark.parametrize(("tamper", "says"), TAMPERED.values(), ids=TAMPERED)
def test_is_refused_whole_and_nothing_is_written(
    desk: Desk, capsys: pytest.CaptureFixture[str], tamper: Tamper, says: str
) -> None:
    capsys.readouterr()
    tamper(desk)
    with pytest.raises(SystemExit, match=f"(?s)^piivault-subject: .*{says}") as refused:
        desk.open("-o", str(desk.path("mine.json")))
    assert capsys.readouterr().out == ""
    assert not desk.path("mine.json").exists()
    for value in desk.people["accounts"].values.values():
        assert value not in str(refused.value)


def test_what_is_there_stays(desk: Desk) -> None:
    desk.path("mine.json").write_text("older")
    with pytest.raises(SystemExit, match="File exists"):
        desk.open("-o", str(desk.path("mine.json")))
    assert desk.path("mine.json").read_text() == "older"


def test_it_is_a_command(desk: Desk) -> None:
    """It ships with the SDK; a fault is a sentence and an exit code, never a traceback."""
    command = Path(sysconfig.get_path("scripts"), "piivault-subject")
    asked: list[str | Path] = [
        command,
        "open",
        "--keys",
        desk.path("mine.keys"),
        desk.path("accounts.package"),
    ]
    asked += ["--signing-keys", desk.path("published.json")]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert desk.people["accounts"].values["email"] in done.stdout
    desk.path("mine.keys").unlink()
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
