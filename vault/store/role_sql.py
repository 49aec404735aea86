"""PostgreSQL's roles and databases in SQL: made, given what `rights` says, held to that.

It is text, which `piivault setup` shows to the administrator and the stack for development runs by
psql.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Table, text

from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.rights import FUNCTIONS, OWNER, PRIVILEGES, ROWS, Rights, Role, RoleError

_BY_ROW = {table for _, table, _ in ROWS}
_EVERY_PRIVILEGE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


@dataclass(frozen=True, slots=True)
class Step:
    """A statement; `unless` is a query that finds a row where the statement was run before."""

    sql: str
    unless: str = ""

    @property
    def psql(self) -> str:
        """The statement as psql may run it again and again."""
        if not self.unless:
            return f"{self.sql};"
        return f"SELECT {_literal(self.sql)} WHERE NOT EXISTS ({self.unless}) \\gexec"


def making(wanted: Iterable[Role], owner: str = OWNER) -> Iterator[Step]:
    """Write what makes roles, without passwords, and databases, which nobody else may enter."""
    wanted = tuple(wanted)
    for role in wanted:
        yield _make_role(role.name)
    for database in dict.fromkeys(role.database for role in wanted):
        known = f"SELECT 1 FROM pg_database WHERE datname = {_literal(database)}"  # noqa: S608
        yield Step(f"CREATE DATABASE {_quoted(database)} OWNER {_quoted(owner)}", known)
        yield Step(f"REVOKE ALL ON DATABASE {_quoted(database)} FROM PUBLIC")
    for role in wanted:
        yield Step(f"GRANT CONNECT ON DATABASE {_quoted(role.database)} TO {_quoted(role.name)}")


def making_owner() -> Iterator[Step]:
    """Write what a superuser runs first: the owner, and doors that nobody else closes."""
    yield _make_role(OWNER)
    yield Step("REVOKE ALL ON DATABASE postgres, template1 FROM PUBLIC")


def setting_password(name: str, verifier: str) -> Step:
    """Write what gives a role its password, by what PostgreSQL stores of it."""
    return Step(f"ALTER ROLE {_quoted(name)} PASSWORD {_literal(verifier)}")


def granting(name: str, rights: Rights) -> Iterator[str]:
    """Write what the owner runs in a role's database, once the tables are there; repeatable."""
    role = _quoted(name)
    yield "REVOKE CREATE ON SCHEMA public FROM PUBLIC"
    yield f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}"
    yield f"REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM {role}"
    yield f"GRANT SELECT ON alembic_version TO {role}"
    for function in FUNCTIONS.get(rights, ()):
        yield f"GRANT EXECUTE ON FUNCTION {function} TO {role}"
    for table, privileges in PRIVILEGES[rights].items():
        yield f"GRANT {privileges} ON {table.name} TO {role}"
        if table in _BY_ROW:
            yield f"ALTER TABLE {table.name} ENABLE ROW LEVEL SECURITY"
            for privilege in privileges.split(", "):
                yield from _policy(name, rights, table, privilege)


async def exists(database: Database, name: str) -> bool:
    """Tell whether there is a role of this name; raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.reads.connect() as connection:
            return (await connection.exec_driver_sql(_known_role(name))).first() is not None


async def run(database: Database, step: Step) -> bool:
    """Run a step unless it was run before; return whether it was run. No transaction is open.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    with storage_errors():
        async with database.reads.connect() as connection:
            if step.unless and (await connection.exec_driver_sql(step.unless)).first():
                return False
            await connection.exec_driver_sql(step.sql)
            return True


async def grant(database: Database, name: str, rights: Rights) -> None:
    """Give a role its rights; raises VaultError(STORAGE_UNAVAILABLE)."""
    with storage_errors():
        async with database.writes.begin() as connection:
            for statement in granting(name, rights):
                await connection.execute(text(statement))


async def check(database: Database, rights: Rights) -> None:
    """Raise RoleError if the login that a database was opened with may do more than `rights`.

    SQLite has no roles, and whoever has its file may do everything.
    """
    if not database.is_postgresql:
        return
    tables = {table.name: table for table in next(iter(PRIVILEGES[rights])).metadata.sorted_tables}
    query = text(
        "SELECT current_user, t, p FROM unnest(CAST(:tables AS text[])) t, "
        "unnest(CAST(:privileges AS text[])) p WHERE has_table_privilege(t, p)"
    )
    asked = {"tables": list(tables), "privileges": list(_EVERY_PRIVILEGE)}
    as_owner = text(
        "SELECT current_user, CAST(CAST(oid AS regprocedure) AS text) FROM pg_proc "
        "WHERE prosecdef AND pronamespace = CAST('public' AS regnamespace) "
        "AND has_function_privilege(oid, 'EXECUTE')"
    )
    with storage_errors():
        async with database.reads.connect() as connection:
            may = (await connection.execute(query, asked)).all()
            calls = (await connection.execute(as_owner)).all()
    for user, table, privilege in may:
        if privilege not in PRIVILEGES[rights].get(tables[table], "").split(", "):
            raise RoleError(
                f"The login {user} may {privilege} in the table {table}, which isn't for this "
                "process to do. Use the role that `piivault setup` writes for it."
            )
    for user, function in calls:
        if function not in FUNCTIONS.get(rights, ()):
            raise RoleError(
                f"The login {user} may call {function}, which acts as its owner and isn't for this "
                "process to call. Use the role that `piivault setup` writes for it."
            )


def _make_role(name: str) -> Step:
    return Step(f"CREATE ROLE {_quoted(name)} LOGIN NOINHERIT", _known_role(name))


def _known_role(name: str) -> str:
    return f"SELECT 1 FROM pg_roles WHERE rolname = {_literal(name)}"  # noqa: S608 -- a literal


def _policy(name: str, rights: Rights, table: Table, privilege: str) -> Iterator[str]:
    policy = _quoted(f"{name} {privilege}")
    rows = ROWS.get((rights, table, privilege), "true")
    checked = f"WITH CHECK ({rows})" if privilege == "INSERT" else f"USING ({rows})"
    yield f"DROP POLICY IF EXISTS {policy} ON {table.name}"
    yield f"CREATE POLICY {policy} ON {table.name} FOR {privilege} TO {_quoted(name)} {checked}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"
