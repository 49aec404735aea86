"""Starting: what isn't there, or isn't the one that wrote the data, is noticed before it serves."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from tests.house import House
from vault import config
from vault.dev import Running, Stack
from vault.dev.local import plan_of, serving
from vault.keys.provision import BROKER, worker
from vault.opening import StartError

Changed = Callable[[House, Path], config.Settings]


def _with(**overrides: str) -> Changed:
    return lambda house, tmp_path: house.configured(**overrides)


def _compartment(house: House, name: str, **changes: Any) -> config.Settings:
    """Change a compartment's section."""
    settings = house.configured()
    section = settings.compartments[name].model_copy(update=changes)
    compartments = {**settings.compartments, name: section}
    return settings.model_copy(update={"compartments": compartments})


def _swapped(house: House, tmp_path: Path) -> config.Settings:
    """Exchange the databases of two compartments."""
    databases = {name: its.database for name, its in house.settings.compartments.items()}
    return _compartment(house, "accounts", database=databases["orders"])


def _foreign_key(house: House, tmp_path: Path) -> config.Settings:
    """Give a compartment the key and the login of another."""
    other = house.settings.compartments["orders"]
    return _compartment(house, "accounts", transit_key=other.transit_key, login=other.login)


def _login(house: House, **changes: Any) -> config.Settings:
    login = house.settings.compartments["accounts"].login.model_copy(update=changes)
    return _compartment(house, "accounts", login=login)


def _absent_database(house: House, tmp_path: Path) -> config.Settings:
    url = f"sqlite+aiosqlite:///{tmp_path}/nowhere/accounts.db"
    if house.postgres:
        known = make_url(house.settings.compartments["accounts"].database.url)
        changed = known.update_query_dict({"host": str(tmp_path)})
        url = changed.render_as_string(hide_password=False)
    return _database(house, url=url)


def _database(house: House, **changes: Any) -> config.Settings:
    database = house.settings.compartments["accounts"].database.model_copy(update=changes)
    return _compartment(house, "accounts", database=database)


def _written(file: Path, content: str) -> Path:
    file.write_text(content)
    return file


OTHER, RESTORED = "belongs to another compartment", "can't open the canary"
KEYS, ROWS = "compartment accounts: The key server doesn't", "compartment accounts: The database"
PAIR = "`certificate` and `private_key` belong together"
Refused = dict[str, tuple[Changed, str, str]]
STORED: Refused = {
    "the database of another compartment": (_swapped, OTHER, ""),
    "the key of another compartment": (_foreign_key, RESTORED, ""),
    "no database": (_absent_database, ROWS, "storage: "),
    "a database without tables": (
        lambda h, t: _database(h, url=f"sqlite+aiosqlite:///{t}/empty.db", password_file=None),
        "no tables yet. Run `piivault db upgrade`", ""),
    "another kind of tables": (
        lambda h, t: h.configured().model_copy(
            update={"control": h.settings.compartments["accounts"].database}),
        "control: This database is at revision c0005; this release knows k0001", ""),
    "a database of another make": (
        lambda h, t: _database(h, url="mysql+asyncmy://127.0.0.1/accounts"),
        "mysql+asyncmy isn't a database that piivault keeps rows in", ""),
    "a password that isn't there": (
        lambda h, t: _database(h, password_file=t / "nothing"), "/nothing can't be read", ""),
}  # fmt: skip
REFUSED: Refused = {
    "no key server": (
        _with(KEY_SERVER__ADDRESS="https://127.0.0.1:1"), KEYS, "no connection. Check `address`"),
    "a key server of another authority": (
        lambda h, t: h.configured(KEY_SERVER__CA=str(h.running.ca)), KEYS, "TLS failed"),
    "a mount that isn't there": (
        _with(KEY_SERVER__MOUNT="elsewhere"), KEYS, "this login may not"),
    "another compartment's login": (
        lambda h, t: _compartment(
            h, "accounts", login=h.settings.compartments["orders"].login),
        KEYS, "this login may not"),
    "a login that isn't there": (
        lambda h, t: _login(h, role_id_file=t / "nothing"), KEYS, "can't be read"),
    "a login that isn't text": (
        lambda h, t: _login(h, secret_id_file=_written(t / "secret", "жок")),
        KEYS, "not one line of ASCII"),
    "a login that isn't right": (
        lambda h, t: _login(h, secret_id_file=_written(t / "secret", "0" * 36)),
        KEYS, "Have a new secret id issued"),
    "a certificate that isn't there": (
        _with(SERVER__CERTIFICATE="nothing.pem"), "nothing.pem can't be read", ""),
    "a certificate that is none": (
        lambda h, t: h.configured(SERVER__CERTIFICATE=str(_written(t / "a.pem", "жок"))), PAIR, ""),
    "an address that is taken": (
        lambda h, t: h.configured(SERVER__ADDRESS=h.running.grpc_address),
        "Is another server there", ""),
    "an address of another machine": (
        _with(SERVER__ADDRESS="192.0.2.1:8443"), "is the address this machine's", ""),
    "an officer's key that is none": (
        lambda h, t: h.configured().model_copy(update={"officers": (
            config.Officer(name="aida", public_key="жок"),)}),
        "officer aida: an ed25519 public key is 32 bytes in base64url", ""),
    "officers who signed nothing": (
        lambda h, t: h.configured().model_copy(update={"officers": ()}),
        "control: No edition of the policy is in force yet. Publish one", ""),
    "a key for capabilities that is none": (
        _with(CAPABILITY_KEYS="жок"), "capability_keys: an ed25519 public key is 32 bytes", ""),
    "another key for capabilities": (
        _with(CAPABILITY_KEYS="A" * 43), "no worker would take what it issues", ""),
    "another key that signs for subjects": (
        _with(COMPARTMENTS__ACCOUNTS__SIGNING_KEYS="A" * 43),
        "no subject would believe what it signs", ""),
    "a compartment that the edition lacks": (
        lambda h, t: h.configured().model_copy(update={"compartments": {
            "shaar": h.settings.compartments["accounts"]}}),
        "Edition 1 lacks the compartment shaar", ""),
    "a broker without its section": (
        lambda h, t: h.configured().model_copy(update={"broker": None}),
        "needs a section [broker]", ""),
    "a broker beside other roles": (
        _with(SERVER__DEVELOPMENT="false"), "it plays no other role outside development", ""),
}  # fmt: skip


@pytest.mark.parametrize(("change", "says", "logged"), STORED.values(), ids=STORED)
def test_a_wrong_database_is_refused_in_words(
    house: House,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Changed,
    says: str,
    logged: str,
) -> None:
    """The message names the part and what to do; the running house isn't disturbed."""
    assert says in _refusal(change(house, tmp_path))
    assert logged in caplog.text


@pytest.mark.parametrize(("change", "says", "logged"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_configuration_is_refused_in_words(
    sqlite_house: House,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Changed,
    says: str,
    logged: str,
) -> None:
    assert says in _refusal(change(sqlite_house, tmp_path))
    assert logged in caplog.text


def _refusal(settings: config.Settings) -> str:
    with pytest.raises(StartError) as caught, serving(settings):
        pass
    return str(caught.value)


def test_a_revision_from_the_future_is_refused(house: House) -> None:
    (revision,) = house.sql("accounts", "SELECT version_num FROM alembic_version")[0]
    house.sql("accounts", "UPDATE alembic_version SET version_num = 'c9999'")
    try:
        says = _refusal(house.configured())
    finally:
        house.sql("accounts", f"UPDATE alembic_version SET version_num = '{revision}'")
    assert f"accounts: This database is at revision c9999; this release knows {revision}" in says
    assert "a release that knows it" in says


@pytest.fixture(scope="session")
def elsewhere(sqlite_house: House, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Another key server, set up in the same way, with keys of the same names."""
    plan = plan_of(sqlite_house.edition)
    with Stack(tmp_path_factory.mktemp("elsewhere") / "state", plan) as running:
        yield running


def _moved(house: House, elsewhere: Running, **overrides: str) -> config.Settings:
    """Point the house at the other key server, with logins that are good there."""

    def login(app_role: str) -> config.Login:
        files = elsewhere.app_roles[app_role]
        return config.AppRoleLogin(
            method="approle",
            role_id_file=files.role_id_file,
            secret_id_file=files.secret_id_file,
        )

    settings = house.configured(
        KEY_SERVER__ADDRESS=elsewhere.key_server,
        KEY_SERVER__CA=str(elsewhere.key_server_ca),
        **overrides,
    )
    assert settings.broker is not None
    compartments = {
        name: section.model_copy(update={"login": login(worker(name))})
        for name, section in settings.compartments.items()
    }
    broker = settings.broker.model_copy(update={"login": login(BROKER)})
    return settings.model_copy(update={"compartments": compartments, "broker": broker})


def test_a_key_server_that_did_not_write_the_data_is_refused(
    house: House, elsewhere: Running
) -> None:
    """Before anything is written under its keys."""
    before = house.sql("accounts", "SELECT * FROM keyring")
    assert RESTORED in _refusal(_moved(house, elsewhere))
    assert house.sql("accounts", "SELECT * FROM keyring") == before


def test_a_broker_at_another_key_server_is_refused(sqlite_house: House, elsewhere: Running) -> None:
    """It would give everybody another pseudonym, and nobody would find their record again."""
    says = _refusal(_moved(sqlite_house, elsewhere, SERVER__ROLES="broker"))
    assert "Check that [key_server] is the one that this house began with" in says
