"""Officers, in any house: what they decide, and how they look into the trail.

officers.change(("old", "new"))                  # published, approved and in force
officers.approve(BLOCK, body, "aida").effective
run(house, "list", "accounts", "--json")         # `piivault audit …`, as an officer

Houses whose tests publish are a test's own.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from google.protobuf.message import Message
from piivault.auditors import AuditClient
from piivault.officers import Approval, OfficersClient
from piivault.v1 import policy_service_pb2 as policies
from piivault.v1 import record_service_pb2 as records

from tests.house import House, run_house
from tests.people import Registered
from tests.policies import successor
from tests.wire import PATIENCE, wait_for
from vault.cli import cli
from vault.dev.local import officer_signs
from vault.service.ledger import EDITION, statement

__all__ = ["officers", "own", "trail"]

OFFICER = "officer-aida"


class Officers:
    """The officers of a house."""

    def __init__(self, house: House) -> None:
        self.house = house

    def signs(self, officer: str, data: bytes) -> bytes:
        """Return an officer's signature over anything."""
        return officer_signs(self.house.running, officer)(data)

    def sign(self, kind: str, body: bytes, *officers: str) -> dict[str, bytes]:
        """Sign as officers of the house."""
        signed = statement(kind, body)
        return {name: self.signs(name, signed) for name in officers}

    def approve(self, kind: str, body: bytes, *officers: str) -> Approval:
        """Have officers approve, each by themselves; return what became of it at last."""
        for name in officers:
            environment = self.house.environment(f"officer-{name}")
            environment["PIIVAULT_TIMEOUT"] = str(PATIENCE)
            with OfficersClient.from_env(environment) as control:
                approval = control.approve(
                    kind, body, name, self.signs(name, statement(kind, body))
                )
        return approval

    def newest(self) -> str:
        """Return the text of the edition that was published last."""
        first = self.house.ask(OFFICER, policies.GetEditionRequest())
        request = policies.GetEditionRequest(number=first.newest)
        return str(self.house.ask(OFFICER, request).document)

    def draft(self, *changes: tuple[str, str]) -> str:
        """Write an edition that follows the newest one."""
        return successor(self.newest(), *changes)

    def publish(self, text: str, *officers: str) -> None:
        """Publish an edition, by one officer or by as many as are named."""
        assert self.approve(EDITION, text.encode(), *(officers or ("aida",))).effective

    def change(self, *changes: tuple[str, str]) -> None:
        """Publish what follows the newest edition, and wait until it is in force."""
        text = self.draft(*changes)
        self.publish(text, "aida", "bakyt")
        number = yaml.safe_load(text)["edition"]
        wait_for(lambda: self._number() == number, what=f"edition {number}")

    def _number(self) -> int:
        """Return the number of the edition that a reading service is decided under."""
        support = self.house.client("support").compartment("accounts", purpose="account")
        return support.describe().edition


@pytest.fixture
def own(tmp_path: Path) -> Iterator[House]:
    """A house of the test's own: what is published and touched there concerns nobody else."""
    with run_house(tmp_path / "state", postgres=False) as started:
        yield started


@pytest.fixture
def officers(own: House) -> Officers:
    """The officers of this house."""
    return Officers(own)


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
