"""An officer who looks into the trail, and requests for them to see."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.message import Message
from piivault.auditors import AuditClient
from piivault.v1 import record_service_pb2 as records

from tests.house import House
from tests.people import Registered
from tests.wire import PATIENCE
from vault.cli import cli

__all__ = ["trail"]

OFFICER = "officer-aida"


def soon(what: Callable[[], Any]) -> Any:
    """Wait until something holds, and return it."""
    ends = time.monotonic() + PATIENCE
    while not (found := what()):
        assert time.monotonic() < ends, "it never came"
        time.sleep(0.05)
    return found


def reveal(person: Registered, *fields: str, purpose: str = "services") -> Message:
    """Write a request to reveal fields in accounts."""
    return records.RevealRequest(
        compartment="accounts", purpose=purpose, pseudonym=person.pseudonym, fields=fields
    )


def run(house: House, *argv: str) -> str:
    """Run `piivault audit …` as an officer, and return what it prints."""
    done = CliRunner().invoke(cli, ["audit", *argv], env=house.environment(OFFICER))
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def trail(house: House) -> Iterator[AuditClient]:
    """The SDK's client for an officer, on each kind of house."""
    with AuditClient.from_env(house.environment(OFFICER)) as client:
        yield client
