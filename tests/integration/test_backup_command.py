"""`piivault backup` and `piivault restore`, as an operator runs them, with the house running."""

import sys
from hashlib import sha256
from pathlib import Path

import piivault
import pytest
from piivault import errors
from sqlalchemy import make_url

from tests.database import Cluster, url_of
from tests.house import House
from tests.verifying import owner_of, run
from vault.cli import main

ACCOUNTS_URL = "COMPARTMENTS__ACCOUNTS__DATABASE__URL"
CONTROL_URL = "CONTROL__URL"


def done(house: House, *arguments: str | Path, **overrides: str) -> str:
    """Run what must work, as the tables' owner; return what it said."""
    ended = run(house, *arguments, *owner_of(house), **overrides)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr == ""
    return ended.stdout


def refused(house: House, *arguments: str | Path, **overrides: str) -> str:
    """Run what must be refused; return what was said, in one line and without a traceback."""
    ended = run(house, *arguments, **overrides)
    assert ended.returncode in (1, 2)
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return " ".join(ended.stderr.split())


@pytest.fixture
def new_url(house: House, tmp_path: Path) -> str:
    """The URL of a database with nothing in it, as the worker of accounts would be configured."""
    if not house.postgres:
        return url_of(tmp_path / "restored.db")
    owner = make_url(house.running.owner_urls["accounts"])
    password = (house.state / "passwords" / "postgres").read_text(encoding="utf-8").strip()
    superuser = owner.set(username="postgres", password=password, database="postgres")
    cluster = Cluster(*(u.render_as_string(hide_password=False) for u in (superuser, owner)))
    database = make_url(cluster.create_database()).database
    worker = make_url(house.settings.compartments["accounts"].database.url)
    cluster.run(f"GRANT CONNECT ON DATABASE {database} TO {worker.username}")
    return worker.set(database=database).render_as_string()


def test_old_data_and_the_newest_keys_bring_back_the_living_alone(
    house: House, tmp_path: Path, new_url: str
) -> None:
    """Through a server on what was restored; and it serves on."""
    living, erased, returned = (house.register() for _ in range(3))
    data = tmp_path / "accounts.data"
    done(house, "backup", "accounts", "--data", data, "--keys", tmp_path / "old.keys")
    erased.subject.erase("accounts")
    returned.subject.erase("accounts")
    back = house.register(root=returned.root)
    newcomer = house.register()
    keys = tmp_path / "new.keys"
    done(house, "backup", "accounts", "--keys", keys)

    there = {ACCOUNTS_URL: new_url}
    done(house, "db", "upgrade", **there)
    said = done(house, "restore", "accounts", "--data", data, "--keys", keys, **there)
    assert "2 records have no data key any more: erased since the data was written" in said
    assert "2 subjects have keys for records that the data doesn't hold" in said

    with house.another_server(**there) as address, _client(house, "orders", address) as orders:
        accounts = orders.compartment("accounts", purpose="services")
        assert accounts.reveal(living.pseudonym, ["phone"])["phone"].expose()
        for gone, error in (
            (erased, errors.Erased),
            (back, errors.NotFound),
            (newcomer, errors.NotFound),
        ):
            with pytest.raises(errors.NotFound) as told:
                accounts.reveal(gone.pseudonym, ["phone"])
            assert type(told.value) is error
        with _client(house, "portal", address) as portal:
            consents = house.consents("accounts")
            portal.subject(newcomer.root).register("accounts", newcomer.values, consents)
        found = accounts.reveal(newcomer.pseudonym, ["phone"])["phone"].expose()
        assert found == newcomer.values["phone"]


def _client(house: House, service: str, address: str) -> piivault.Client:
    return piivault.Client.from_env({**house.environment(service), "PIIVAULT_ADDRESS": address})


def test_it_says_what_it_wrote_with_checksums(house: House, tmp_path: Path) -> None:
    """As `sha256sum` says; and both files are their owner's alone."""
    data, keys = tmp_path / "data", tmp_path / "keys"
    said = done(house, "backup", "accounts", "--data", data, "--keys", keys)
    for path, contents in ((data, "data"), (keys, "keys")):
        assert f"{path}: {contents} of accounts, " in said
        assert sha256(path.read_bytes()).hexdigest() in said
        assert path.stat().st_mode & 0o777 == 0o600


def test_the_control_database_goes_into_one_file_and_comes_back(
    sqlite_house: House, tmp_path: Path
) -> None:
    file, there = tmp_path / "control", {CONTROL_URL: url_of(tmp_path / "control.db")}
    assert ": control of control, " in done(sqlite_house, "backup", "control", "--data", file)
    done(sqlite_house, "db", "upgrade", **there)
    said = done(sqlite_house, "restore", "control", "--data", file, **there)
    assert "control is restored. Rows: chain " in said
    with (
        sqlite_house.another_server(**there) as address,
        _client(sqlite_house, "portal", address) as portal,
    ):
        assert portal.notices("accounts", "ky")


def test_another_compartments_backup_is_refused(sqlite_house: House, tmp_path: Path) -> None:
    """The edition in force says which uuid is meant."""
    data, keys = tmp_path / "data", tmp_path / "keys"
    done(sqlite_house, "backup", "orders", "--data", data, "--keys", keys)
    there = {ACCOUNTS_URL: url_of(tmp_path / "new.db")}
    done(sqlite_house, "db", "upgrade", **there)
    said = refused(sqlite_house, "restore", "accounts", "--data", data, "--keys", keys, **there)
    assert "the one to be restored is" in said


def test_a_served_database_is_never_restored_into(house: House, tmp_path: Path) -> None:
    person = house.register()
    data, keys = tmp_path / "data", tmp_path / "keys"
    done(house, "backup", "accounts", "--data", data, "--keys", keys)
    owner = owner_of(house)
    said = refused(house, "restore", "accounts", "--data", data, "--keys", keys, *owner)
    assert "The database isn't empty" in said
    assert house.phone_of(person) == person.values["phone"]


def test_a_worker_may_not_back_up(postgres_house: House, tmp_path: Path) -> None:
    """Without --owner: the process's own login can't read the trail."""
    said = refused(postgres_house, "backup", "accounts", "--data", tmp_path / "data")
    assert "Use that of the tables' owner: --owner, --owner-password-file." in said
    assert list(tmp_path.iterdir()) == []


CALLED_WRONGLY = {
    "nowhere to write": (["backup", "accounts"], "--data, --keys, or both"),
    "both into one file": (
        ["backup", "accounts", "--data", "one", "--keys", "one"],
        "are two files, to be kept apart",
    ),
    "over a file": (
        ["backup", "accounts", "--data", "there"],
        "exists, and nothing is overwritten",
    ),
    "a compartment that isn't configured": (
        ["backup", "shop", "--data", "new"],
        "has no compartment shop. It has accounts, ",
    ),
    "keys of control": (
        ["backup", "control", "--data", "new", "--keys", "keys"],
        "goes into one file: --data",
    ),
    "restoring without keys": (
        ["restore", "accounts", "--data", "there"],
        "A compartment takes --data and --keys",
    ),
    "restoring control with keys": (
        ["restore", "control", "--data", "there", "--keys", "there"],
        "control takes --data",
    ),
    "restoring what is not there": (
        ["restore", "accounts", "--data", "absent", "--keys", "absent"],
        "does not exist",
    ),
}


@pytest.mark.parametrize(("arguments", "said"), CALLED_WRONGLY.values(), ids=CALLED_WRONGLY)
def test_called_wrongly(
    sqlite_house: House,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is said what is wrong, and no file comes or goes."""
    (tmp_path / "there").write_text("a file")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        sys, "argv", ["piivault", *arguments, "--config", str(sqlite_house.running.config)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code not in (None, 0)
    assert said in " ".join(f"{capsys.readouterr().err} {ended.value.code}".split())
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
