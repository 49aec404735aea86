"""A database role's connection, as an attacker has it: what a statement ends with, bare."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
from sqlalchemy import make_url

NO_PASSWORD = ("28P01", "28000")  # invalid_password, invalid_authorization_specification


class Session:
    """A role's connection to a database; what it does is undone."""

    def __init__(self, runner: asyncio.Runner, url: str, password: str | None = None) -> None:
        at = make_url(url)
        self._runner = runner
        self._connection = runner.run(
            asyncpg.connect(
                host=str(at.query["host"]),
                user=at.username,
                password=at.password if password is None else password,
                database=at.database,
                passfile="/dev/null",
                server_settings={"statement_timeout": "10000"},  # ms
            )
        )

    def state_of(self, statement: str) -> str:
        """Run a statement; return the SQLSTATE that it ends with, empty if it succeeds."""
        try:
            self._runner.run(self._undone(self._connection.execute, (statement,)))
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
        return ""

    def rows(self, *statements: str) -> Sequence[Any]:
        """Run statements in a transaction that is rolled back; return the last one's rows."""
        return self._runner.run(self._undone(self._connection.fetch, statements))

    def alone(self, statement: str) -> str:
        """Run a statement that no transaction may hold; return its SQLSTATE."""
        try:
            self._runner.run(self._connection.execute(statement))
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
        return ""

    def close(self) -> None:
        """Close it."""
        self._runner.run(self._connection.close())

    async def _undone(self, run: Callable[[str], Any], statements: Sequence[str]) -> Any:
        undone = self._connection.transaction()
        await undone.start()
        try:
            return [await run(statement) for statement in statements][-1]
        finally:
            await undone.rollback()


def entering(runner: asyncio.Runner, url: str, password: str | None = None) -> str:
    """Open a connection and close it; return the SQLSTATE of a refusal."""
    try:
        Session(runner, url, password).close()
    except asyncpg.PostgresError as error:
        return str(error.sqlstate)
    except asyncpg.InterfaceError:  # asked for a password, and there is none
        return NO_PASSWORD[0]
    return ""
