"""What a client must know before its first call: where, as whom, and how long to wait.

PIIVAULT_ADDRESS                     host:port of the server
PIIVAULT_CA                          the file of the CA that the server is known by
PIIVAULT_CERTIFICATE                 the file of this service's certificate
PIIVAULT_PRIVATE_KEY                 the file of its private key
PIIVAULT_TIMEOUT                     seconds a call, 2 by default
PIIVAULT_CONNECTIONS                 connections an address, 1 by default
PIIVAULT_BROKER_ADDRESS              where the broker is, if elsewhere
PIIVAULT_COMPARTMENT_<NAME>_ADDRESS  where one compartment's worker is, if elsewhere
PIIVAULT_COMPARTMENT_<NAME>_SIGNING_KEYS  the public keys that its attestations are verified by,
                                     in base64url, with commas between them
"""

import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, TypeVar

from piivault._certificate import TLS
from piivault.errors import ConfigurationError

DEFAULT_TIMEOUT = 2.0
LONGEST_TIMEOUT = 60.0

_REQUIRED = ("PIIVAULT_ADDRESS", "PIIVAULT_CA", "PIIVAULT_CERTIFICATE", "PIIVAULT_PRIVATE_KEY")
_ADDRESS = re.compile(r"PIIVAULT_COMPARTMENT_([A-Z0-9_]+)_ADDRESS")
_SIGNING_KEYS = re.compile(r"PIIVAULT_COMPARTMENT_([A-Z0-9_]+)_SIGNING_KEYS")
_HOST_AND_PORT = re.compile(r"[^/\s]+:[0-9]{1,5}")

Number = TypeVar("Number", int, float)


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a client is opened with, checked."""

    address: str
    tls: TLS
    timeout: float = DEFAULT_TIMEOUT
    connections: int = 1
    broker_address: str | None = None
    compartment_addresses: Mapping[str, str] = field(default_factory=dict)
    signing_keys: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_timeout(self.timeout)
        if self.connections < 1:
            raise ConfigurationError("connections must be at least 1.")
        for address in (self.address, self.address_of(None), *self.compartment_addresses.values()):
            if not _HOST_AND_PORT.fullmatch(address):
                raise ConfigurationError(
                    "An address is written host:port, such as vault.example.kg:8443 "
                    "(no https://, no path)."
                )
        known = {_key(name): address for name, address in self.compartment_addresses.items()}
        object.__setattr__(self, "compartment_addresses", known)
        keys = {_key(name): tuple(its) for name, its in self.signing_keys.items()}
        object.__setattr__(self, "signing_keys", keys)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """Read the variables above; raise ConfigurationError that names what is missing."""
        missing = [name for name in _REQUIRED if not environ.get(name)]
        if missing:
            raise ConfigurationError(
                f"Not set in the environment: {', '.join(missing)}. `piivault dev` writes an env "
                "file for every service: `. .piivault/env/portal.env` sets them for the portal."
            )
        address, ca, certificate, private_key = (environ[name] for name in _REQUIRED)
        return cls(
            address=address,
            tls=TLS(ca=ca, certificate=certificate, private_key=private_key),
            timeout=_number(environ, "PIIVAULT_TIMEOUT", DEFAULT_TIMEOUT, float),
            connections=_number(environ, "PIIVAULT_CONNECTIONS", 1, int),
            broker_address=environ.get("PIIVAULT_BROKER_ADDRESS"),
            compartment_addresses=_by_compartment(_ADDRESS, environ),
            signing_keys=_signing_keys(environ),
        )

    def address_of(self, compartment: str | None) -> str:
        """Where the compartment's worker is; where the broker is for None."""
        if compartment is None:
            return self.broker_address or self.address
        return self.compartment_addresses.get(_key(compartment), self.address)

    def signing_keys_of(self, compartment: str) -> Sequence[str]:
        """The public keys that a compartment's attestations are verified by."""
        return self.signing_keys.get(_key(compartment), ())


def check_timeout(seconds: float) -> float:
    """Return it; raise ConfigurationError unless it is above 0 and at most 60."""
    if not 0 < seconds <= LONGEST_TIMEOUT:
        raise ConfigurationError(
            f"A timeout is above 0 and at most {LONGEST_TIMEOUT:g} seconds: no call waits forever."
        )
    return seconds


class Deadline:
    """When a method must be done, all its calls and their retries together."""

    __slots__ = ("_ends", "seconds")

    def __init__(self, seconds: float) -> None:
        self.seconds = check_timeout(seconds)
        self._ends = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds that are left, never below 0."""
        return max(0.0, self._ends - time.monotonic())


def signing_keys_in(
    environ: Mapping[str, str], compartments: Iterable[str]
) -> dict[str, Sequence[str]]:
    """Read the public keys of these compartments from the environment, as far as they are there."""
    found = _signing_keys(environ)
    return {name: found[_key(name)] for name in compartments if _key(name) in found}


def _signing_keys(environ: Mapping[str, str]) -> dict[str, Sequence[str]]:
    return {
        name: [key.strip() for key in keys.split(",")]
        for name, keys in _by_compartment(_SIGNING_KEYS, environ).items()
    }


def _by_compartment(pattern: re.Pattern[str], environ: Mapping[str, str]) -> dict[str, str]:
    found = ((pattern.fullmatch(name), value) for name, value in environ.items())
    return {match[1]: value for match, value in found if match}


def _key(compartment: str) -> str:
    """Write a compartment's name as environment variables do."""
    return compartment.upper().replace("-", "_")


def _number(
    environ: Mapping[str, str], name: str, default: Number, kind: Callable[[str], Number]
) -> Number:
    text = environ.get(name)
    if not text:
        return default
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number of seconds"
        raise ConfigurationError(f"{name} must be {what}.") from None
