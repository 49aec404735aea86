"""The configuration: one file and the environment; what nobody knows is refused, all at once."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.identity_provider import ISSUER, IdentityProvider
from vault import config
from vault.config import ConfigError, Settings, load
from vault.dev import configuration
from vault.setup.configuration import settings
from vault.setup.processes import processes
from vault.setup.toml import toml

DATABASES = {
    "piivault_accounts": {
        "url": "postgresql+asyncpg://piivault_accounts@/piivault_accounts",
        "password_file": "passwords/accounts",
    },
    "piivault_accounts_auditor": {"url": "sqlite+aiosqlite:///accounts.db"},
    "piivault_control": {"url": "sqlite+aiosqlite:///control.db"},
    "piivault_broker": {"url": "sqlite+aiosqlite:///broker.db"},
    "piivault_broker_auditor": {"url": "sqlite+aiosqlite:///broker.db"},
}
PLACE = configuration.place(
    address="127.0.0.1:8443",
    key_server="https://127.0.0.1:8200",
    databases=DATABASES,
    officers={"aida": (bytes(32), "spiffe://oshto.kg/officer/aida")},
    capability_keys={1: bytes(32)},
    checkpoint_keys={1: bytes(32)},
    signing_keys={"accounts": ["A" * 43]},
)
TOML = toml(settings(processes(["accounts"]), PLACE), configuration.HEAD)
SECRET = "planted-password"

Load = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Load what `piivault dev` writes, changed, in an environment."""

    def loaded(old: str = "", new: str = "", **environment: str) -> Settings:
        assert old in TOML
        (tmp_path / "piivault.toml").write_text(TOML.replace(old, new, 1), encoding="utf-8")
        return load(tmp_path / "piivault.toml", environment)

    return loaded


PROVIDER = IdentityProvider()
KEY = f"""
[[broker.identity_providers.keys]]
id = "2026-1"
algorithm = "EdDSA"
public_key = \"\"\"
{PROVIDER.pem}\"\"\"
"""


def _provider(more: str, issuer: str = ISSUER) -> str:
    """Write an identity provider, before the broker's login."""
    return f'[[broker.identity_providers]]\nissuer = "{issuer}"\n{more or KEY}\n[broker.login]'


FAULTS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "an unknown section": ("[server]", "[colour]\n[server]", ("colour: Extra",)),
    "an unknown key in the server": (
        "[server]", f'[server]\ncolour = "{SECRET}"', ("server.colour: Extra",)),
    "a misspelt key": ("client_ca", "clientca", ("server.client_ca: Field", "server.clientca")),
    "an unknown key of a compartment": (
        "transit_key", "colour = 1\ntransit_key", ("compartments.accounts.colour: Extra",)),
    "a password in clear": (
        "password_file", f'password = "{SECRET}"\npassword_file',
        ("compartments.accounts.database.password: Extra",)),
    "a secret in clear": (
        "role_id_file", f'secret_id = "{SECRET}"\nrole_id_file', ("login.secret_id: Extra",)),
    "an unknown key of an officer": (
        'name = "aida"', 'name = "aida", shoe_size = 37', ("officers.0.shoe_size: Extra",)),
    "a key server over plaintext": (
        "https://127.0.0.1:8200", "http://127.0.0.1:8200", ("key_server.address: ",)),
    "a key server without a scheme": (
        "https://127.0.0.1:8200", "127.0.0.1:8200", ("key_server.address: ",)),
    "an unknown role": ('"broker"', '"cook"', ("server.roles.",)),
    "no role": ("roles = ", "rolls = ", ("server.roles: Field required", "server.rolls: Extra")),
    "no deadline at all": ("[server]", "[server]\ndefault_deadline = 0", ("server.default_dead",)),
    "a deadline above a minute": (
        "[server]", "[server]\ndefault_deadline = 61", ("server.default_deadline: ",)),
    "a number in words": (
        "[server]", f'[server]\nfind_per_second = "{SECRET}"', ("server.find_per_second: ",)),
    "capabilities for more than a day": (
        "[broker]", "[broker]\ncapability_ttl = 86401",
        ("broker.capability_ttl: ",)),
    "a provider without keys": (
        "[broker.login]", _provider("keys = []"),
        ("broker.identity_providers.0: keys has none",)),
    "a provider without an issuer": (
        "[broker.login]", _provider("", issuer=""), ("identity_providers.0.issuer: ",)),
    "a provider's key that is none": (
        "[broker.login]", _provider(KEY.replace("BEGIN", "BEGUN")),
        ("identity_providers.0.keys.0: public_key should be a public key in PEM",)),
    "a provider's key for another algorithm": (
        "[broker.login]", _provider(KEY.replace("EdDSA", "RS256")),
        ("identity_providers.0.keys.0: public_key isn't a key for RS256",)),
    "a provider's key for HMAC": (
        "[broker.login]", _provider(KEY.replace("EdDSA", "HS256")),
        ("identity_providers.0.keys.0.algorithm: Input should be 'EdDSA', 'ES256' or 'RS256'",)),
    "two keys of one name": (
        "[broker.login]", _provider(KEY + KEY), ("identity_providers.0: two keys have the same",)),
    "two providers of one name": (
        "[broker.login]", _provider(KEY).removesuffix("[broker.login]") + _provider(KEY),
        ("broker.identity_providers: two have the same issuer",)),
    "a provider that speaks to a service": (
        "[broker.login]", _provider('audience = "spiffe://oshto.kg/portal"\n' + KEY),
        ("identity_providers.0: audience is piivault's name",)),
    "an officer without a usable name": ('"aida"', '"Аида Ж"', ("officers.0.name: ",)),
    "an officer whose name only begins well": ('"aida"', '"aida!"', ("officers.0.name: ",)),
    "an officer without a SPIFFE id": ('"spiffe://', '"https://', ("officers.0.spiffe: ",)),
    "a list where a table belongs": (
        "[control]", "[[control]]", ("control: Input should be",)),
    "three faults at once": (
        "[server]", "[server]\ncolour = 1\ndefault_deadline = -1\nmore = 2",
        ("server.colour: ", "server.default_deadline: ", "server.more: ")),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "says"), FAULTS.values(), ids=FAULTS)
def test_what_is_wrong_is_named_with_its_place(
    read: Load, old: str, new: str, says: tuple[str, ...]
) -> None:
    """Never with what stands there: it may be a secret in the wrong place."""
    with pytest.raises(ConfigError) as caught:
        read(old, new)
    text = str(caught.value)
    assert "piivault.toml can't be used:" in text
    assert not [fault for fault in says if fault not in text]
    assert len(text.splitlines()) == 1 + len(says)
    assert SECRET not in text


def test_a_good_one_is_read_and_frozen(read: Load) -> None:
    settings = read()
    assert settings.server.roles == {"worker", "broker", "control", "auditor"}
    assert settings.server.default_deadline == 5.0
    assert settings.broker is not None
    assert settings.broker.capability_ttl == 900
    with pytest.raises(ValidationError, match="frozen"):
        settings.server.address = "0.0.0.0:8443"


def test_identity_providers_are_read_as_people_write_them(read: Load) -> None:
    settings = read("[broker.login]", _provider(KEY))
    assert settings.broker is not None
    (provider,) = settings.broker.identity_providers
    assert (provider.issuer, provider.audience) == (ISSUER, "piivault")
    assert [(key.id, key.algorithm) for key in provider.keys] == [("2026-1", "EdDSA")]


def test_identity_providers_are_written_as_they_are_read(tmp_path: Path) -> None:
    place = replace(PLACE, identity_providers=[PROVIDER.section])
    text = toml(settings(processes(["accounts"]), place), configuration.HEAD)
    (tmp_path / "piivault.toml").write_text(text, encoding="utf-8")
    broker = load(tmp_path / "piivault.toml", {}).broker
    assert broker is not None
    assert broker.identity_providers == (PROVIDER.settings,)


def test_paths_are_relative_to_the_files_folder(read: Load, tmp_path: Path) -> None:
    """Wherever the process was started; absolute ones stay."""
    settings = read('"ca.pem"', '"/etc/piivault/ca.pem"', PIIVAULT__KEY_SERVER__CA="other.pem")
    assert settings.server.certificate == tmp_path / "certificates/server.pem"
    assert settings.server.client_ca == Path("/etc/piivault/ca.pem")
    assert settings.key_server is not None
    assert settings.key_server.ca == tmp_path / "other.pem"
    database = settings.compartments["accounts"].database
    assert database.password_file == tmp_path / "passwords/accounts"
    overridden = read(PIIVAULT__CONTROL__URL="sqlite+aiosqlite:///data/control.db")
    assert overridden.control.url == f"sqlite+aiosqlite:///{tmp_path}/data/control.db"


def test_the_environment_overrides_the_file(read: Load) -> None:
    settings = read(
        PIIVAULT__SERVER__ADDRESS="0.0.0.0:9443",
        PIIVAULT__SERVER__DEFAULT_DEADLINE="2.5",
        PIIVAULT__SERVER__ROLES="worker",
        PIIVAULT__CAPABILITY_KEYS="AAAA,BBBB",
        PIIVAULT__COMPARTMENTS__ACCOUNTS__TRANSIT_KEY="other",
        PIIVAULT__COMPARTMENTS__ACCOUNTS__KEY_HARD_TTL="60",
        PIIVAULT_ADDRESS="an SDK's",
        PATH="/usr/bin",
    )
    assert settings.server.address == "0.0.0.0:9443"
    assert settings.server.default_deadline == 2.5
    assert settings.server.roles == {"worker"}
    assert settings.capability_keys == ("AAAA", "BBBB")
    accounts = settings.compartments["accounts"]
    assert (accounts.transit_key, accounts.key_hard_ttl) == ("other", 60.0)


OVERRIDES = {
    "an unknown key": "PIIVAULT__SERVER__COLOUR",
    "an unknown section": "PIIVAULT__COLOUR",
    "a section that isn't whole": "PIIVAULT__COMPARTMENTS__SHAAR__TRANSIT_KEY",
    "a key below a key": "PIIVAULT__SERVER__ADDRESS__PORT",
    "a key far below a key": "PIIVAULT__SERVER__ADDRESS__PORT__NUMBER",
    "a key in a list": "PIIVAULT__OFFICERS__0__NAME",
    "a section itself": "PIIVAULT__SERVER",
    "nothing": "PIIVAULT__",
    "an empty key": "PIIVAULT__SERVER____ADDRESS",
}


@pytest.mark.parametrize("name", OVERRIDES.values(), ids=OVERRIDES)
def test_a_variable_that_nobody_knows_is_refused(read: Load, name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**{name: SECRET})
    assert SECRET not in str(caught.value)


FILES: dict[str, tuple[bytes | None, str]] = {
    "isn't there": (None, "No such file or directory. Name the configuration with --config"),
    "isn't TOML": (b"[server\n", "at line 1"),
    "isn't UTF-8": (b'address = "\xff"', "utf-8"),
    "is empty": (b"", "server: Field required"),
}


@pytest.mark.parametrize(("content", "says"), FILES.values(), ids=FILES)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "piivault.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError, match=str(file)) as caught:
        load(file, {})
    assert says in str(caught.value)


def test_no_section_has_room_for_a_secret() -> None:
    """Each names a file that holds one."""
    schema = config.Settings.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = {key for section in sections for key in section.get("properties", ())}
    secret = {key for key in keys if set(key.split("_")) & {"password", "secret", "token", "jwt"}}
    assert {"password_file", "secret_id_file"} <= secret
    assert all(key.endswith("_file") for key in secret)
