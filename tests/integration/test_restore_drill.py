"""The restore drill, as the command runs it, with the house running: on both kinds of storage."""

import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from piivault.officers import OfficersClient
from sqlalchemy import make_url

from tests.database import Cluster, url_of
from tests.house import House
from tests.verifying import flipped, owner_of, put_back, run, saved
from tests.wire import wait_for
from vault.store import tables as t

THERE = "enterprises"  # where no other test damages anything


def back_up(house: House, folder: Path, *, data: bool = True) -> tuple[Path, Path]:
    """Write a backup; return its data and its keys."""
    files = folder / f"{uuid4()}.data", folder / f"{uuid4()}.keys"
    options: list[str | Path] = ["--data", files[0]] if data else []
    written = run(house, "backup", THERE, *options, "--keys", files[1], *owner_of(house))
    assert written.returncode == 0, written.stderr
    return files


def folders() -> set[Path]:
    """Return the folders of drills."""
    return set(Path(tempfile.gettempdir()).glob("piivault-drill-*"))


def drill(house: House, data: Path, keys: Path, *more: str | Path) -> tuple[int, dict[str, str]]:
    """Run a drill; return how it ended, the table line by line, and under "" all that it said."""
    ended = run(house, "restore-drill", THERE, "--data", data, "--keys", keys, *more)
    assert "Traceback" not in ended.stderr
    told = {"": " ".join((ended.stdout + ended.stderr).split())}
    for line in ended.stdout.splitlines():
        if line.startswith("│"):
            what, value = (cell.strip() for cell in line.strip("│").split("│"))
            told[what] = value
    return ended.returncode, told


def test_the_living_read_and_the_erased_dont(house: House, tmp_path: Path) -> None:
    living, erased, returned = (house.register(THERE) for _ in range(3))
    data, _ = back_up(house, tmp_path)
    erased.subject.erase(THERE)
    returned.subject.erase(THERE)
    house.register(THERE, root=returned.root)
    house.register(THERE)
    _, keys = back_up(house, tmp_path, data=False)
    before = folders()
    code, told = drill(house, data, keys)
    assert code == 0, told[""]
    in_backup = int(told["records in the data backup"])
    assert int(told["restored"]) == int(told["restored records that read"]) == in_backup - 2
    assert told["erased since, and left out"] == "2"
    assert told["registered since: in the keys alone"] == "2"
    assert told["living, and back"] == told["restored"]
    assert (told["living, and not back"], told["erased, and back"]) == ("0", "0")
    assert told["erased, and gone"] == "2"
    assert told["the data backup was written"] == "0 h 0 min ago"
    assert "Every living record reads, and no erased one does." in told[""]
    assert folders() == before
    assert living.subject.view(THERE).etag == living.etag
    for person in (living, erased, returned):
        assert person.pseudonym not in told[""]


def test_old_keys_bring_back_the_erased(house: House, tmp_path: Path) -> None:
    """Who erased their data after the key backup is the proof that it isn't the newest."""
    erased = house.register(THERE)
    data, keys = back_up(house, tmp_path)
    erased.subject.erase(THERE)
    code, told = drill(house, data, keys)
    assert code == 1
    assert told["erased, and back"] == "1"
    assert "FAILED: records come back whose subjects erased them" in told[""]
    code, told = drill(house, data, keys, "--without-live")
    assert code == 0
    assert "Who lives wasn't asked of the live database." in told[""]


def test_a_data_backup_from_before_data_keys_were_dropped(house: House, tmp_path: Path) -> None:
    """It brings back nobody who was there: none of them passes for erased, but who erased."""
    living = [house.register(THERE) for _ in range(2)]
    erased, returned = (house.register(THERE) for _ in range(2))
    data, old_keys = back_up(house, tmp_path)
    erased.subject.erase(THERE)
    returned.subject.erase(THERE)
    house.register(THERE, root=returned.root)
    with OfficersClient.from_env(house.environment("officer-aida")) as officer:
        ring = officer.keys(THERE)
        for level in ("data-key", "superseded"):
            ring.rotate(level)
            wait_for(lambda: all(rotation.state == "done" for rotation in ring.rotations()))
    _, keys = back_up(house, tmp_path, data=False)
    code, told = drill(house, data, keys)
    assert code == 1, told[""]
    lost = int(told["records in the data backup"]) - 2
    assert lost >= len(living)
    assert told["living, and back"] == "0"
    assert told["living, and not back"] == str(lost)
    assert told["living, but their old data key is gone"] == str(lost)
    assert (told["erased, and gone"], told["erased, and back"]) == ("2", "0")
    assert "FAILED: people live whose old data keys are gone" in told[""]
    code, told = drill(house, *back_up(house, tmp_path))
    assert code == 0, told[""]
    code, told = drill(house, data, old_keys)
    assert (told["living, and back"], told["erased, and back"]) == (str(lost), "2")


def test_a_living_record_that_doesnt_read(house: House, tmp_path: Path) -> None:
    """It was damaged before the backup."""
    person = house.register(THERE)
    whole = saved(house, person.pseudonym, THERE)
    row = whole[t.records][0]
    broken = {t.records: [{**row, "sealed": flipped(row["sealed"])}]}
    put_back(house, person.pseudonym, broken, THERE)
    files = back_up(house, tmp_path)
    put_back(house, person.pseudonym, whole, THERE)
    code, told = drill(house, *files)
    assert code == 1
    assert int(told["restored records that read"]) == int(told["restored"]) - 1
    assert "damaged-record: 1" in told[""]
    assert "FAILED" in told[""]


@pytest.fixture
def empty_url(house: House, tmp_path: Path) -> tuple[str, list[str | Path]]:
    """The URL of a scratch database, and the options for its password."""
    if not house.postgres:
        return url_of(tmp_path / "scratch.db"), []
    owner = make_url(house.running.owner_urls[THERE])
    password = (house.state / "passwords" / "postgres").read_text(encoding="utf-8").strip()
    superuser = owner.set(username="postgres", password=password, database="postgres")
    cluster = Cluster(*(u.render_as_string(hide_password=False) for u in (superuser, owner)))
    made = make_url(cluster.create_database())
    file = tmp_path / "password"
    file.write_text(str(made.password), encoding="utf-8")
    url = made.set(password="wrong").render_as_string(hide_password=False)
    return url, ["--scratch-password-file", file]


def test_a_scratch_of_ones_own_is_cleared(
    house: House, tmp_path: Path, empty_url: tuple[str, list[str | Path]]
) -> None:
    """Twice: the first drill leaves it as empty as it was."""
    house.register(THERE)
    files = back_up(house, tmp_path)
    url, password = empty_url
    for _ in range(2):
        code, told = drill(house, *files, "--scratch", url, *password)
        assert code == 0, told[""]


def test_a_database_with_tables_is_no_scratch(house: House, tmp_path: Path) -> None:
    person = house.register(THERE)
    files = back_up(house, tmp_path)
    url = house.running.owner_urls[THERE]
    code, told = drill(house, *files, "--scratch", url)
    assert code == 1
    assert "The scratch database has tables (alembic_version, audit, " in told[""]
    assert person.subject.view(THERE).etag == person.etag


def test_a_damaged_backup(house: House, tmp_path: Path) -> None:
    house.register(THERE)
    data, keys = back_up(house, tmp_path)
    data.write_bytes(flipped(data.read_bytes(), -100))
    before = folders()
    code, told = drill(house, data, keys)
    assert code == 1
    assert str(data) in told[""].replace(" ", "")
    assert folders() == before
