"""Fixtures for all tests: real parts, in folders of their own, stopped at the end."""

import os

import pytest

from tests.attack.attempts import Gathering
from tests.clauses import Walked
from tests.house import house, postgres_house, sqlite_house
from tests.split import split_house
from tests.stack import login_as, plan, running, sqlite_urls

__all__ = [
    "house",
    "login_as",
    "plan",
    "postgres_house",
    "running",
    "split_house",
    "sqlite_house",
    "sqlite_urls",
]

# The stack's programs are started while servers serve. gRPC's fork handlers would stop its threads
# for that, and children of ours never use gRPC.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"


def pytest_configure(config: pytest.Config) -> None:
    """Gather what tests note for tables; xdist's controller reads no conftest but this one."""
    config.pluginmanager.register(Gathering())
    config.pluginmanager.register(Walked())
