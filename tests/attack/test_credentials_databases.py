"""Every database role against every database, table and privilege, and whatever else there is.

Whatever isn't listed as legal must be refused for want of a privilege: SQLSTATE 42501 and no other,
unless it is said here. All is tried in transactions that are rolled back.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.attack import database_statements as sql
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.database_session import NO_PASSWORD, Session, entering
from tests.people import COMPARTMENTS
from tests.split import SplitHouse
from tests.wire import wait_for

ROLES: Mapping[str, tuple[str, str]] = {  # database and kind, by role
    **{f"piivault_{c}": (c, "worker") for c in COMPARTMENTS},
    **{f"piivault_{c}_auditor": (c, "auditor") for c in COMPARTMENTS},
    **{f"piivault_control_{c}": ("control", "history") for c in COMPARTMENTS},
    "piivault_control": ("control", "control"),
    "piivault_control_broker": ("control", "reader"),
    "piivault_control_auditor": ("control", "reader"),
    "piivault_broker": ("broker", "broker"),
    "piivault_broker_auditor": ("broker", "auditor"),
}
SUPERUSER = "postgres"
DATABASES = (
    *(f"piivault_{d}" for d in (*COMPARTMENTS, "control", "broker")),
    "postgres",
    "template1",
)
DENIED = "42501"  # insufficient_privilege
NOTE = 424242  # the oid of a large object
NOT_HERE = ("58P01", "0A000")  # the extension isn't installed, so nobody can have it


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture(scope="module")
def sessions(split_house: SplitHouse, runner: asyncio.Runner) -> Iterator[Mapping[str, Session]]:
    """Every role in its database; a superuser in that of accounts and in control's."""
    for compartment in COMPARTMENTS:
        split_house.register(compartment)
    opened = {
        role: Session(runner, split_house.url(role, f"piivault_{database}"))
        for role, (database, _) in ROLES.items()
    }
    for database in ("accounts", "control"):
        url = split_house.url(SUPERUSER, f"piivault_{database}")
        opened[f"{SUPERUSER} in {database}"] = Session(runner, url)
    yield opened
    for session in opened.values():
        session.close()


def test_a_role_enters_its_own_database(
    split_house: SplitHouse, runner: asyncio.Runner, attempts: Attempts
) -> None:
    """Every role and every database there is; the owner's and the superuser's among them."""
    for role, (own, _) in ROLES.items():
        for database in DATABASES:
            cell = f"{role} in {database}"
            legal = database == f"piivault_{own}"
            state = entering(runner, split_house.url(role, database))
            assert state == ("" if legal else DENIED), cell
            attempts.record(Wall.STORAGE, "enter a database", cell, CONTROL if legal else REFUSED)


def test_a_password_is_good_for_its_own_role(
    split_house: SplitHouse, runner: asyncio.Runner, attempts: Attempts
) -> None:
    """Neither another's, nor a wrong one, nor none; not even for the owner and a superuser."""
    passwords = {role: str(make_url(url).password) for role, url in split_house.urls.items()}
    targets = {role: f"piivault_{database}" for role, (database, _) in ROLES.items()}
    targets |= {"piivault_owner": "piivault_accounts", SUPERUSER: "postgres"}
    for role, database in targets.items():
        url = split_house.url(role, database)
        wrong = {name: value for name, value in passwords.items() if name != role}
        for whose, password in {**wrong, "a guess": "piivault", "nobody": ""}.items():
            cell = f"{role} by the password of {whose}"
            assert entering(runner, url, password) in NO_PASSWORD, cell
            attempts.record(Wall.STORAGE, "log in as another", cell, REFUSED)
        assert entering(runner, url) == ""
        attempts.record(Wall.STORAGE, "log in as another", role, CONTROL)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_its_privileges(
    sessions: Mapping[str, Session], attempts: Attempts, role: str
) -> None:
    """Every table and privilege, and ways round them."""
    database, kind = ROLES[role]
    otherwise = []
    tables = sql.TABLES[database if database in sql.TABLES else "compartment"]
    for table in tables:
        granted = set(sql.LEGAL[kind].get(table, "").split())
        parts = _parts(table, database)
        for name, statement in sql.PRIVILEGES.items():
            needs = sql.NEEDS.get(name)
            legal = needs is not None and needs <= granted
            if name == "lock it":
                legal = bool(granted & {"UPDATE", "DELETE", "TRUNCATE"})
            asked = statement.format(**parts)
            state = sessions[role].state_of(asked)
            cell = f"{role}: {name} {table}"
            if state != ("" if legal else DENIED):
                otherwise.append(f"{cell}: {state or 'done'}")
            else:
                attempts.record(Wall.STORAGE, "use a table", cell, CONTROL if legal else REFUSED)
    assert not otherwise


@pytest.mark.parametrize("role", ROLES)
def test_a_role_calls_nothing_else_that_acts_as_an_owner(
    sessions: Mapping[str, Session], attempts: Attempts, role: str
) -> None:
    """What there is of the kind is listed, and each role calls its own."""
    database, kind = ROLES[role]
    there = sessions[role].rows(
        "SELECT proname FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace"
    )
    assert {row[0] for row in there} == (set(sql.FUNCTIONS) if database in COMPARTMENTS else set())
    for name, (legal, call) in sql.FUNCTIONS.items():
        may = kind in legal
        state = sessions[role].state_of(call)
        undefined = database not in COMPARTMENTS and state == "42883"
        assert undefined or state == ("" if may else DENIED), role
        result = CONTROL if may else REFUSED
        attempts.record(Wall.STORAGE, "call what acts as an owner", f"{role}: {name}", result)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_a_worker_lists_no_events_by_what_finds_a_subjects_own(
    sessions: Mapping[str, Session], attempts: Attempts, compartment: str
) -> None:
    """Whoever has a whole token has read the record that it is keyed by."""
    session = sessions[f"piivault_{compartment}"]
    call = "SELECT * FROM subject_events({}, '', -1, 500)"
    own = r"'\x000102030405060708090a0b0c0d0e0f'::bytea"
    add = f"INSERT INTO audit VALUES ('\\x01', 0, '', {own}, '')"
    for what, tokens in sql.TOKENS.items():
        asked = call.format(tokens.format(token=own))
        assert session.rows(add, asked) == [], what
        attempts.record(Wall.STORAGE, "list a trail by tokens", f"{compartment}: {what}", REFUSED)
    assert len(session.rows(add, call.format(f"ARRAY[{own}]"))) == 1
    attempts.record(Wall.STORAGE, "list a trail by tokens", f"{compartment}: the token", CONTROL)


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_nothing_beyond_its_tables(
    sessions: Mapping[str, Session], attempts: Attempts, role: str
) -> None:
    """No definitions, no other roles, no files, no programs, no logs, no journal."""
    session, names = sessions[role], _names(ROLES[role][0])
    others = {f"be {other}": f'SET ROLE "{other}"' for other in ROLES if other != role}
    found = {
        what: session.state_of(s.format(**names)) for what, s in {**others, **sql.BEYOND}.items()
    }
    found |= {what: session.alone(s.format(**names)) for what, s in sql.ALONE.items()}
    otherwise = {
        what: state or "done"
        for what, state in found.items()
        if state != DENIED and not (what in sql.EXTENSIONS and state in NOT_HERE)
    }
    assert not otherwise
    for what in found:
        attempts.record(Wall.STORAGE, "do beyond tables", f"{role}: {what}", REFUSED)


@pytest.mark.parametrize("database", ["accounts", "control"])
def test_a_superuser_may(
    sessions: Mapping[str, Session], attempts: Attempts, database: str
) -> None:
    """The same statements with no wall before them: they are well formed, and would be done."""
    session, names = sessions[f"{SUPERUSER} in {database}"], _names(database)
    table = "records" if database == "accounts" else "chain"
    parts = _parts(table)
    asked = {f"{what} {table}": s.format(**parts) for what, s in sql.PRIVILEGES.items()}
    asked |= {what: s.format(**names) for what, s in sql.BEYOND.items() if what not in sql.IDLE}
    found = {what: session.state_of(statement) for what, statement in asked.items()}
    assert {what: state for what, state in found.items() if state} == {}
    for what in asked:
        wall = "use a table" if what.endswith(table) else "do beyond tables"
        attempts.record(Wall.STORAGE, wall, f"{SUPERUSER}: {what}", CONTROL)


def _names(database: str) -> dict[str, str]:
    other = "piivault_web" if database != "web" else "piivault_orders"
    return {"other": other, "elsewhere": other, "here": f"piivault_{database}"}


def _parts(table: str, database: str = "") -> dict[str, str]:
    row, change = sql.ROWS.get(f"{database}.{table}") or sql.ROWS[table]
    key = "alembic_version_pkc" if table == "alembic_version" else f"{table}_pkey"
    first = change.partition(" ")[0]
    return {"table": table, "row": row, "change": change, "first": first, "key": key}


# What the views show that everybody may read.


def test_a_role_sees_no_values_in_statistics(
    sessions: Mapping[str, Session], split_house: SplitHouse, attempts: Attempts
) -> None:
    """The most common values of a column are rows of it; of what one may read, they are no news."""
    query = "SELECT count(*) FROM pg_stats WHERE schemaname = 'public' AND tablename = '{}'"
    for database in (*COMPARTMENTS, "control"):
        split_house.sql(database, "ANALYZE")
    for table in ("records", "audit", "keyring", "chain"):
        database = "control" if table == "chain" else "accounts"
        (found,) = split_house.sql(database, query.format(table))
        assert found[0] > 0
        attempts.record(Wall.STORAGE, "read statistics", f"the owner: {table}", CONTROL)
        for role in (r for r, (of, _) in ROLES.items() if of == database):
            kind = ROLES[role][1]
            granted = "SELECT" in sql.LEGAL[kind].get(table, "")
            by_row = table in ("keyring", "chain")  # row level security hides them from all
            ((count,),) = sessions[role].rows(query.format(table))
            assert bool(count) == (granted and not by_row), f"{role}: {table}"
            if not count:
                attempts.record(Wall.STORAGE, "read statistics", f"{role}: {table}", REFUSED)


def test_the_auditor_sees_no_key_but_its_own_by_any_condition(
    sessions: Mapping[str, Session], attempts: Attempts
) -> None:
    """Row level security comes before a condition that would tell a row by failing on it."""
    for compartment in COMPARTMENTS:
        session = sessions[f"piivault_{compartment}_auditor"]
        for what, query in {
            "all": "SELECT DISTINCT kind FROM keyring",
            "by a failure": "SELECT kind FROM keyring WHERE 1 / (CASE kind WHEN 'audit' THEN 1 "
            "ELSE 0 END) = 1",
            "by a cast": "SELECT kind FROM keyring WHERE kind = 'audit' OR wrapped::int = 0",
            "by a join": "SELECT k.kind FROM keyring k JOIN keyring o ON o.kind <> 'none'",
            "by a union": "SELECT kind FROM keyring UNION SELECT kind FROM ONLY keyring",
        }.items():
            assert {row[0] for row in session.rows(query)} == {"audit"}, what
            attempts.record(Wall.STORAGE, "see other rows", f"{compartment}: {what}", REFUSED)
        for setting in ("SET row_security = off", "SET SESSION row_security = off"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                session.rows(setting, "SELECT kind FROM keyring")
            attempts.record(Wall.STORAGE, "see other rows", f"{compartment}: {setting}", REFUSED)
    everything = sessions[f"{SUPERUSER} in accounts"].rows("SELECT DISTINCT kind FROM keyring")
    assert len(everything) > 1
    attempts.record(Wall.STORAGE, "see other rows", "no row level security", CONTROL)


def test_a_role_sees_no_statements_of_others(
    sessions: Mapping[str, Session], attempts: Attempts
) -> None:
    """Neither what others run, nor from where; a superuser does."""
    query = (
        "SELECT usename, query, client_addr, state FROM pg_stat_activity "
        "WHERE usename <> current_user AND datname LIKE 'piivault_%'"
    )
    for role in ROLES:
        for user, text, address, state in sessions[role].rows(query):
            assert (text, address, state) == ("<insufficient privilege>", None, None)
            attempts.record(Wall.STORAGE, "see others' statements", f"{role}: {user}", REFUSED)
    shown = sessions[f"{SUPERUSER} in accounts"].rows(query)
    assert all(row[1] and row[1] != "<insufficient privilege>" for row in shown)
    attempts.record(Wall.STORAGE, "see others' statements", SUPERUSER, CONTROL)


# What one server shows to every role in it, and only servers of their own would hide.
SHARED = {
    "how far the journal is": "SELECT pg_current_wal_lsn()",
    "which transaction is next": "SELECT pg_snapshot_xmax(pg_current_snapshot())",
    "how many rows a database has written": "SELECT tup_inserted FROM pg_stat_database "
    "WHERE datname = '{elsewhere}'",
    "who is connected": "SELECT usename FROM pg_stat_activity WHERE datname = '{elsewhere}'",
}


@pytest.mark.parametrize("what", SHARED)
def test_a_role_can_tell_when_others_write(
    split_house: SplitHouse,
    runner: asyncio.Runner,
    sessions: Mapping[str, Session],
    attempts: Attempts,
    what: str,
) -> None:
    """Timing, so a worker that is broken into can correlate writes with those of others."""

    def seen(role: str) -> Sequence[Any]:
        return sessions[role].rows(SHARED[what].format(**_names(ROLES[role][0])))

    before, others = {role: seen(role) for role in ROLES}, ("orders", "web")
    come = [Session(runner, split_house.url(f"piivault_{c}", f"piivault_{c}")) for c in others]

    def told(role: str) -> bool:
        for compartment in others:
            split_house.register(compartment)
        return seen(role) != before[role]

    for role in ROLES:  # a backend counts what it wrote within a second or so
        wait_for(partial(told, role), what=f"{role} sees {what}")
        attempts.record(Wall.STORAGE, "watch a shared server", f"{role}: {what}", RESIDUAL)
    for session in come:
        session.close()


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_leaves_behind_is_in_its_own_database(
    sessions: Mapping[str, Session], attempts: Attempts, role: str
) -> None:
    """Anybody may write large objects and notify: to those alone who may enter that database."""
    session, (own, _) = sessions[role], ROLES[role]
    assert not session.state_of("NOTIFY mine, 'mine'")
    assert not session.alone(f"SELECT lo_from_bytea({NOTE}, 'mine')")
    look = f"SELECT oid FROM pg_largeobject_metadata WHERE oid = {NOTE}"
    for other, (database, _) in ROLES.items():
        assert bool(sessions[other].rows(look)) == (database == own), other
        result = RESIDUAL if database == own else REFUSED
        attempts.record(Wall.STORAGE, "leave a note", f"{role} to {other}", result)
    assert not session.alone(f"SELECT lo_unlink({NOTE})")
    assert not session.rows(look)
