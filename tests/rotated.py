"""A house whose keys rotate, and an officer's ways to it: others' tests count on first versions.

done = piivault_keys("rotate", "accounts", "kek", "--yes")
rotation = ended(ring, ring.rotate("kek"))
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from piivault.keys import Keys
from piivault.officers import OfficersClient
from piivault.rotations import Rotation

from tests.house import House, run_house
from tests.people import Registered
from tests.verifying import owner_of
from tests.wire import PATIENCE
from vault.cli.keys import keys as command

__all__ = ["piivault_keys", "ring", "rotated_house", "somebody"]

CLOSE = ("close-epoch", "accounts", "--yes", "--no-backup")

Run = Callable[..., Result]


@pytest.fixture(scope="session")
def rotated_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """On PostgreSQL; keys are of whatever version by now."""
    with run_house(tmp_path_factory.mktemp("rotated") / "state", postgres=True) as started:
        yield started


@pytest.fixture
def ring(rotated_house: House) -> Iterator[Keys]:
    """The keys of accounts, for an officer."""
    with OfficersClient.from_env(rotated_house.environment("officer-aida")) as officers:
        yield officers.keys("accounts")


@pytest.fixture
def piivault_keys(rotated_house: House) -> Run:
    """Run `piivault keys …` as an officer; asked, they say yes."""

    def run(*arguments: str, officer: str = "aida") -> Result:
        environment = rotated_house.environment(f"officer-{officer}")
        return CliRunner().invoke(command, arguments, env=environment, input="y\ny\ny\n")

    return run


@pytest.fixture
def somebody(rotated_house: House) -> Registered:
    """Who is registered there."""
    return rotated_house.register()


def backup_to(house: House, file: Path) -> list[str]:
    """Return the options of `close-epoch` that have the backup of the keys written."""
    options = ["--backup", file, "--config", house.running.config, *owner_of(house)]
    return [str(option) for option in options]


def ended(ring: Keys, rotation: Rotation) -> Rotation:
    """Return a rotation when the workers have done their part; it must not fail."""
    ends = time.monotonic() + PATIENCE
    while rotation.state == "running" and not rotation.awaits_officer:
        assert time.monotonic() < ends, rotation
        time.sleep(0.05)
        rotation = ring.rotation(rotation.id)
    assert rotation.state != "failed", rotation
    return rotation
