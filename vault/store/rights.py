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
process has two roles in one. `role_sql` says all of this in SQL.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from sqlalchemy import Table

from vault.names import BROKER
from vault.store import tables as t

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


class RoleError(Exception):
    """Roles can't be made, or one may do more than its kind; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Role:
    """A role, and the one database that it may enter."""

    name: str
    database: str
    rights: Rights


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
