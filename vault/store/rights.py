"""Who may do what on PostgreSQL: every database and role of a deployment, on one page.

    database             role                        what it may do there
    piivault_<c>         piivault_<c>                Rights.WORKER
    piivault_<c>         piivault_<c>_auditor        Rights.AUDITOR
    piivault_control     piivault_control            Rights.CONTROL
    piivault_control     piivault_control_<c>        Rights.HISTORY: the worker of a compartment
    piivault_control     piivault_control_broker     Rights.READER
    piivault_control     piivault_control_auditor    Rights.READER
    piivault_broker      piivault_broker             Rights.BROKER
    piivault_broker      piivault_broker_auditor     Rights.BROKERS_AUDITOR

OWNER owns all of them, runs the migrations and grants. Nobody else may enter a database, and no
process has two roles in one. SQL is written here as text, which `piivault setup` shows to the
administrator and the stack for development runs by psql.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Table, text

from vault.names import BROKER
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors

OWNER = "piivault_owner"
CONTROL = "control"  # beside the compartments' names, wherever databases are named
_NAME_BYTES = 56  # PostgreSQL cuts off at 63; policies are called after roles


class Rights(Enum):
    """The kinds of roles."""

    WORKER = "worker"
    AUDITOR = "auditor"
    CONTROL = "control"
    HISTORY = "history"
    READER = "reader"
    BROKER = "broker"
    BROKERS_AUDITOR = "auditor of the broker"


# A worker can't read the trail back, change it or cut it; nobody can change it or cut it. FUNCTIONS
# has what a worker may ask of it.
PRIVILEGES: Mapping[Rights, Mapping[Table, str]] = {
    Rights.WORKER: {
        t.compartment: "SELECT, INSERT, UPDATE",
        t.records: "SELECT, INSERT, UPDATE, DELETE",
        t.data_keys: "SELECT, INSERT, UPDATE, DELETE",
        t.blind_index: "SELECT, INSERT, DELETE",
        t.keyring: "SELECT, INSERT, UPDATE",
        t.rotations: "SELECT, INSERT, UPDATE",
        t.epochs: "SELECT, INSERT, UPDATE",
        t.audit: "INSERT",
        t.tombstones: "SELECT, INSERT, DELETE",
        t.idempotency: "SELECT, INSERT, DELETE",
        t.requests: "SELECT, INSERT, UPDATE, DELETE",
    },
    Rights.AUDITOR: {
        t.compartment: "SELECT",
        t.keyring: "SELECT",
        t.audit: "SELECT",
        t.checkpoints: "SELECT, INSERT",
    },
    Rights.CONTROL: {t.chain: "SELECT, INSERT", t.approvals: "SELECT, INSERT, UPDATE, DELETE"},
    Rights.HISTORY: {t.chain: "SELECT, INSERT"},
    Rights.READER: {t.chain: "SELECT"},
    Rights.BROKER: {  # it adds what a new database begins with, and alters nothing ever
        t.brokers_identity: "SELECT, INSERT",
        t.brokers_keyring: "SELECT, INSERT",
        t.brokers_audit: "INSERT",
    },
    Rights.BROKERS_AUDITOR: {
        t.brokers_identity: "SELECT",
        t.brokers_keyring: "SELECT",
        t.brokers_audit: "SELECT",
        t.brokers_checkpoints: "SELECT, INSERT",
    },
}

# What each may ask the tables' owner to do, by a function that does that and no more.
FUNCTIONS: Mapping[Rights, tuple[str, ...]] = {
    Rights.WORKER: ("subject_events(bytea[],bytea,bigint,integer)",),  # events by their tokens
}

# Where a right doesn't cover every row of a table, those that it covers. A table that is named here
# has row level security, with a policy for each role and privilege.
ROWS: Mapping[tuple[Rights, Table, str], str] = {
    (Rights.AUDITOR, t.keyring, "SELECT"): "kind = 'audit'",
    (Rights.HISTORY, t.chain, "INSERT"): "kind = 'touch'",
}
_BY_ROW = {table for _, table, _ in ROWS}
_EVERY_PRIVILEGE = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")


class RoleError(Exception):
    """Roles can't be made, or one may do more than its kind; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role, and the one database that it may enter."""

    name: str
    database: str
    rights: Rights


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


def database_of(name: str) -> str:
    """Name the database of a compartment, of "control" or of "broker"."""
    return f"piivault_{name}"


def worker_role(compartment: str) -> str:
    """Name the role of a worker in its compartment's database, or of "broker" in its own."""
    return database_of(compartment)


def auditor_role(compartment: str) -> str:
    """Name the role of the auditor in a compartment's database, or in that of "broker"."""
    return f"{database_of(compartment)}_auditor"


def auditor_rights(name: str) -> Rights:
    """Return what the auditor may do in a compartment's database, or in that of "broker"."""
    return Rights.BROKERS_AUDITOR if name == BROKER else Rights.AUDITOR


def control_role(of: str = "") -> str:
    """Name the role of a worker's compartment, "broker" or "auditor" in the control database."""
    return f"{database_of(CONTROL)}_{of}" if of else database_of(CONTROL)


def roles(compartments: Iterable[str]) -> tuple[Role, ...]:
    """Return every role of a deployment; raise RoleError if names clash or are too long."""
    control = database_of(CONTROL)
    made = [
        Role(control, control, Rights.CONTROL),
        Role(control_role("broker"), control, Rights.READER),
        Role(control_role("auditor"), control, Rights.READER),
        Role(worker_role(BROKER), database_of(BROKER), Rights.BROKER),
        Role(auditor_role(BROKER), database_of(BROKER), Rights.BROKERS_AUDITOR),
    ]
    for c in compartments:
        made += [
            Role(worker_role(c), database_of(c), Rights.WORKER),
            Role(auditor_role(c), database_of(c), Rights.AUDITOR),
            Role(control_role(c), control, Rights.HISTORY),
        ]
    seen = {OWNER}
    for role in made:
        if role.name in seen or len(role.name.encode()) > _NAME_BYTES:
            raise RoleError(
                f"Two roles of PostgreSQL would be called {role.name}, or its name is longer than "
                f"{_NAME_BYTES} bytes. Rename the compartment."
            )
        seen.add(role.name)
    return tuple(made)


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
