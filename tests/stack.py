"""Fixtures of the real stack: one OpenBao and one PostgreSQL for the whole session.

In a conftest.py:  `from tests.stack import *`
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vault.dev import Plan, Running, Stack
from vault.keys.transit import Transit

__all__ = ["login_as", "plan", "running", "sqlite_urls"]

TRUST_DOMAIN = "osh.example"
COMPARTMENTS = ("accounts", "enterprises", "orders", "web")
SERVICES = ("portal", "orders", "support", "newsletter", "analytics")


@pytest.fixture(scope="session")
def plan() -> Plan:
    """What the stack is built for: the compartments and services of the example."""
    ids = {name: f"spiffe://{TRUST_DOMAIN}/{name}" for name in SERVICES}
    return Plan(TRUST_DOMAIN, COMPARTMENTS, ids)


@pytest.fixture(scope="session")
def running(plan: Plan, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The stack with PostgreSQL, started once; `running.admin` has the root token."""
    with Stack(tmp_path_factory.mktemp("stack"), plan, postgres=True) as started:
        yield started


@pytest.fixture
def login_as(running: Running) -> Iterator[Callable[[str], Transit]]:
    """Log in at the key server under an AppRole, by its name."""
    opened: list[Transit] = []

    def log_in(app_role: str) -> Transit:
        login = running.app_roles[app_role]
        opened.append(Transit(running.key_server, running.key_server_ca, login))
        return opened[-1]

    yield log_in
    for transit in opened:
        transit.close()


@pytest.fixture
def sqlite_urls(plan: Plan, tmp_path: Path) -> dict[str, str]:
    """URLs of empty SQLite databases for this test, by compartment, and for "control"."""
    names = (*plan.compartments, "control")
    return {name: f"sqlite+aiosqlite:///{tmp_path / name}.db" for name in names}
