"""Fixtures for all tests: real parts, in folders of their own, stopped at the end."""

import gc
import os
from collections.abc import Generator

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


# The longest files, longest first. On two processors they must not be what is left at the end.
_LONGEST = (
    "tests/attack/test_linking.py",
    "tests/integration/test_demo.py",
    "tests/integration/test_house_watching.py",
    "tests/integration/test_policy_life.py",
    "tests/integration/test_house_restart.py",
    "tests/integration/test_outages.py",
    "tests/integration/test_verify.py",
    "tests/integration/test_audit_kill.py",
    "tests/integration/test_dev_stack.py",
    "tests/integration/test_erasing_thousand.py",
    "tests/integration/test_setup.py",
    "tests/integration/test_house_deny.py",
    "tests/integration/test_history.py",
    "tests/integration/test_workers_restart.py",
)
_SMALL = ("tests/unit", "tests/rpc", "clients")  # they fill what time is left at the end


def pytest_configure(config: pytest.Config) -> None:
    """Gather what tests note for tables; xdist's controller reads no conftest but this one."""
    config.pluginmanager.register(Gathering())
    config.pluginmanager.register(Walked())


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among tests: not while they are collected, nor each time after."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files: longest first; split houses, whose processes cost while they idle, late."""
    split = {_file(item) for item in items if "split_house" in _fixtures(item)}

    def turn(item: pytest.Item) -> tuple[bool, bool, int]:
        file = _file(item)
        place = _LONGEST.index(file) if file in _LONGEST else len(_LONGEST)
        return file.startswith(_SMALL), file in split, place

    items.sort(key=turn)  # stable: within a file, and among all others, they stay as they were


def _file(item: pytest.Item) -> str:
    return item.location[0]


def _fixtures(item: pytest.Item) -> list[str]:
    return item.fixturenames if isinstance(item, pytest.Function) else []
