"""What is read from the environment, and what is said when it can't be used."""

from typing import Any

import pytest
from piivault import TLS, AsyncClient, Client
from piivault._settings import Settings
from piivault.errors import ConfigurationError

ENVIRONMENT = {
    "PIIVAULT_ADDRESS": "vault.example.kg:8443",
    "PIIVAULT_CA": "ca.pem",
    "PIIVAULT_CERTIFICATE": "portal.pem",
    "PIIVAULT_PRIVATE_KEY": "portal.key",
}


def test_four_variables_are_enough() -> None:
    settings = Settings.from_env(ENVIRONMENT)
    assert settings.tls == TLS("ca.pem", "portal.pem", "portal.key")
    assert (settings.timeout, settings.connections) == (2.0, 1)
    assert settings.address_of("accounts") == settings.address_of(None) == "vault.example.kg:8443"


def test_processes_that_run_apart_have_addresses_of_their_own() -> None:
    settings = Settings.from_env(
        ENVIRONMENT
        | {
            "PIIVAULT_TIMEOUT": "0.5",
            "PIIVAULT_CONNECTIONS": "4",
            "PIIVAULT_BROKER_ADDRESS": "broker:1",
            "PIIVAULT_COMPARTMENT_WEB_VISITS_ADDRESS": "web:2",
        }
    )
    assert (settings.timeout, settings.connections) == (0.5, 4)
    assert settings.address_of(None) == "broker:1"
    assert settings.address_of("web-visits") == "web:2"
    assert settings.address_of("accounts") == "vault.example.kg:8443"


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("missing", ENVIRONMENT)
def test_a_missing_variable_is_named_with_the_remedy(
    client: type[Client] | type[AsyncClient], missing: str
) -> None:
    environ = {name: value for name, value in ENVIRONMENT.items() if name != missing}
    with pytest.raises(ConfigurationError) as error:
        client.from_env(environ)
    assert missing in str(error.value)
    assert ". .piivault/env/portal.env" in str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PIIVAULT_ADDRESS", "https://vault.example.kg:8443", "host:port"),
        ("PIIVAULT_ADDRESS", "vault.example.kg", "host:port"),
        ("PIIVAULT_BROKER_ADDRESS", "broker", "host:port"),
        ("PIIVAULT_COMPARTMENT_WEB_ADDRESS", "web", "host:port"),
        ("PIIVAULT_TIMEOUT", "soon", "PIIVAULT_TIMEOUT must be a number"),
        ("PIIVAULT_TIMEOUT", "0", "above 0"),
        ("PIIVAULT_TIMEOUT", "nan", "above 0"),
        ("PIIVAULT_TIMEOUT", "3600", "at most 60"),
        ("PIIVAULT_CONNECTIONS", "many", "PIIVAULT_CONNECTIONS must be a whole number"),
        ("PIIVAULT_CONNECTIONS", "1.5", "PIIVAULT_CONNECTIONS must be a whole number"),
        ("PIIVAULT_CONNECTIONS", "0", "at least 1"),
    ],
)
def test_a_wrong_setting_is_refused(name: str, value: str, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        Settings.from_env(ENVIRONMENT | {name: value})


@pytest.mark.parametrize("timeout", [0, -1, 61, float("inf")])
def test_no_call_waits_forever(portal: TLS, timeout: Any) -> None:
    with Client("127.0.0.1:1", tls=portal) as vault, pytest.raises(ConfigurationError):
        vault.notices("accounts", "ky", timeout=timeout)
