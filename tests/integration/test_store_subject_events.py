"""A subject's own events by their tokens: bounded, in the order asked, and nothing else at all."""

import secrets
from collections.abc import AsyncIterator, Sequence

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from tests.database import Cluster, execute, put, rows
from vault.store import role_sql
from vault.store import tables as t
from vault.store.engine import Database, connect
from vault.store.rights import Rights, RoleError
from vault.store.subject_events import BEGINNING, subject_events

ONE, TWO, THREE, NEVER = (bytes([n]) * 16 for n in range(1, 5))


def _place(event: Sequence[object]) -> tuple[object, object, object]:
    writer, sequence, _, token, _ = event
    return token, writer, sequence


async def _fill(database: Database, *, of_each: int = 3) -> None:
    """Two writers whose events are of three subjects' days in turn, and of others between."""
    for writer in (b"a" * 16, b"b" * 16):
        for sequence in range(of_each * 3):
            token = (ONE, TWO, THREE)[sequence % 3]
            await put(database, t.audit, writer=writer, sequence=sequence, token=token, sealed=b"s")
        other = secrets.token_bytes(16)
        await put(database, t.audit, writer=writer, sequence=of_each * 3, token=other)


async def test_events_come_token_by_token_and_each_once(database: Database) -> None:
    await _fill(database)
    found = await subject_events(database, [TWO, NEVER, ONE], BEGINNING, 100)
    places = [_place(event) for event in found]
    assert [token for token, *_ in places] == [TWO] * 6 + [ONE] * 6
    for half in (places[:6], places[6:]):
        assert half == sorted(half)
    stored = {_place(row) for row in await rows(database, t.audit)}
    assert set(places) == {place for place in stored if place[0] in (ONE, TWO)}


async def test_pages_of_any_size_are_the_whole(database: Database) -> None:
    await _fill(database)
    whole = await subject_events(database, [THREE, ONE], BEGINNING, 100)
    for size in (1, 2, 5, 6, 7, 11, 12, 13):
        tokens, after, found = [THREE, ONE], BEGINNING, []
        while page := await subject_events(database, tokens, after, size):
            assert len(page) <= size
            found += page
            after = (page[-1][0], page[-1][1])
            tokens = tokens[tokens.index(page[-1][3]) :]
        assert found == whole, size


async def test_nobody_asks_for_nothing(database: Database) -> None:
    await _fill(database)
    for tokens, most in (([], 10), ([NEVER], 10), ([ONE], 0), ([ONE], -1)):
        assert await subject_events(database, tokens, BEGINNING, most) == []


# On PostgreSQL, by a worker's role, which reads the trail in no other way.


@pytest.fixture(scope="module")
def worker_url(cluster: Cluster, postgres_home: str) -> str:
    return cluster.create_role(postgres_home)


@pytest.fixture(scope="module")
def other_url(cluster: Cluster, postgres_home: str) -> str:
    """A login of another kind, which may even make tables of its own."""
    url = cluster.create_role(postgres_home)
    at = make_url(url)
    cluster.run(f"GRANT TEMPORARY ON DATABASE {at.database} TO {at.username}")
    return url


async def _given(owner: Database, url: str, kind: Rights) -> Database:
    opened = connect(url)
    role = opened.writes.url.username
    assert role is not None
    await role_sql.grant(owner, role, kind)
    return opened


@pytest.fixture
async def worker(postgres: Database, worker_url: str) -> AsyncIterator[Database]:
    opened = await _given(postgres, worker_url, Rights.WORKER)
    yield opened
    await opened.close()


@pytest.fixture
async def other(postgres: Database, other_url: str) -> AsyncIterator[Database]:
    opened = await _given(postgres, other_url, Rights.WORKER)
    yield opened
    await opened.close()


async def test_a_worker_gets_events_of_tokens_that_it_names(
    postgres: Database, worker: Database
) -> None:
    await _fill(postgres)
    found = await subject_events(worker, [TWO], BEGINNING, 100)
    assert [event[3] for event in found] == [TWO] * 6
    with pytest.raises(DBAPIError, match="permission denied"):
        await execute(worker, "SELECT * FROM audit")


CALL = "SELECT * FROM subject_events({}, ''::bytea, -1::bigint, {})"
ONE_SQL = r"'\x01010101010101010101010101010101'::bytea"
NOTHING: dict[str, tuple[str, str]] = {
    "no tokens": ("ARRAY[]::bytea[]", "100"),
    "a null": ("NULL::bytea[]", "100"),
    "a token that is null": ("ARRAY[NULL]::bytea[]", "100"),
    "an empty token": ("ARRAY[''::bytea]", "100"),
    "the beginning of a token": (r"ARRAY['\x0101'::bytea]", "100"),
    "a pattern": ("ARRAY['%'::bytea]", "100"),
    "no number of events": (f"ARRAY[{ONE_SQL}]", "NULL::int"),
    "a number below 0": (f"ARRAY[{ONE_SQL}]", "-1"),
}


@pytest.mark.parametrize(("tokens", "most"), NOTHING.values(), ids=NOTHING)
async def test_what_names_no_token_finds_nothing(
    postgres: Database, worker: Database, tokens: str, most: str
) -> None:
    """Also where an event has a token that isn't one, which a worker may insert."""
    await _fill(postgres)
    for n, token in enumerate((b"", b"%", b"\x01\x01")):
        await put(postgres, t.audit, writer=b"c" * 16, sequence=n, token=token, sealed=b"s")
    async with worker.reads.connect() as connection:
        assert (await connection.exec_driver_sql(CALL.format(tokens, most))).all() == []


async def test_tokens_and_events_are_bounded(postgres: Database, worker: Database) -> None:
    for n in range(501):
        await put(postgres, t.audit, writer=b"a" * 16, sequence=n, token=ONE, sealed=b"s")
    assert len(await subject_events(worker, [ONE], BEGINNING, 2**31 - 1)) == 500
    with pytest.raises(DBAPIError, match="at most 500 tokens"):
        await execute(worker, CALL.format(f"array_fill({ONE_SQL}, ARRAY[501])", "1"))
    with pytest.raises(DBAPIError, match="at most 500 tokens"):
        await execute(worker, CALL.format(f"array_fill({ONE_SQL}, ARRAY[2, 251])", "1"))


async def test_it_is_for_workers_alone(postgres: Database, other: Database) -> None:
    """Whoever had it has it no more, once they are something else."""
    asked = CALL.format(f"ARRAY[{ONE_SQL}]", "1")
    await execute(other, asked)
    role = other.writes.url.username
    assert role is not None
    await role_sql.grant(postgres, role, Rights.AUDITOR)
    with pytest.raises(DBAPIError, match="permission denied for function"):
        await execute(other, asked)


async def test_a_login_that_may_call_what_acts_as_the_owner_is_refused(
    postgres: Database, worker: Database
) -> None:
    await role_sql.check(worker, Rights.WORKER)
    await execute(
        postgres,
        "CREATE FUNCTION everything() RETURNS SETOF audit LANGUAGE sql SECURITY DEFINER "
        "AS 'SELECT * FROM audit'",
    )
    with pytest.raises(RoleError, match=r"may call everything\(\), which acts as its owner"):
        await role_sql.check(worker, Rights.WORKER)
    await execute(postgres, "DROP FUNCTION everything()")


async def test_no_name_of_the_callers_comes_in_its_way(postgres: Database, other: Database) -> None:
    """A role that may make tables puts one of its own before the trail: it isn't asked."""
    await _fill(postgres)
    async with other.writes.begin() as connection:
        for statement in (
            "CREATE TEMPORARY TABLE audit (LIKE alembic_version)",
            "SET LOCAL search_path = pg_temp, public",
        ):
            await connection.exec_driver_sql(statement)
        call = CALL.format(f"ARRAY[{ONE_SQL}]", "100")
        assert len((await connection.exec_driver_sql(call)).all()) == 6
