"""Fixtures for all tests: real parts, in folders of their own, stopped at the end."""

from tests.stack import login_as, plan, running, sqlite_urls

__all__ = ["login_as", "plan", "running", "sqlite_urls"]
