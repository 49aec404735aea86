"""Fixtures for all tests: real parts, in folders of their own, stopped at the end."""

from tests.house import house, postgres_house, sqlite_house
from tests.stack import login_as, plan, running, sqlite_urls

__all__ = [
    "house",
    "login_as",
    "plan",
    "postgres_house",
    "running",
    "sqlite_house",
    "sqlite_urls",
]
