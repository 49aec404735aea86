"""Subjects' requests as they are put on record."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.database import rows
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.requests import Requests


@pytest.fixture
async def requests(database: Database) -> AsyncIterator[Requests]:
    begun = Requests(database)
    yield begun
    await begun.close()


@pytest.fixture
async def postgres_requests(postgres: Database) -> AsyncIterator[Requests]:
    begun = Requests(postgres)
    yield begun
    await begun.close()


async def kept(database: Database) -> dict[bytes, bytes]:
    return {row.id: row.sealed for row in await rows(database, t.requests)}


async def test_those_who_come_together_are_each_told_of_their_own(
    database: Database, requests: Requests
) -> None:
    assert await requests.add(b"A", b"before")
    asked = [(b"A", b"again"), (b"B", b"new"), (b"C", b"other")]
    assert await asyncio.gather(*(requests.add(*its) for its in asked)) == [False, True, True]
    assert await kept(database) == {b"A": b"before", b"B": b"new", b"C": b"other"}


async def test_of_one_id_that_comes_twice_at_once_one_is_written(
    database: Database, requests: Requests
) -> None:
    """Even the same bytes: the other's caller reads what there is."""
    same = (b"A", b"sealed")
    asked = [same, (b"A", b"other"), same]
    told = await asyncio.gather(*(requests.add(*its) for its in asked))
    assert told == [True, False, False]
    assert await kept(database) == {b"A": b"sealed"}


async def test_two_processes_that_are_given_the_same_never_wait_for_each_other(
    postgres: Database, postgres_requests: Requests
) -> None:
    """The one in the opposite order: in a deadlock all who share a statement would be refused."""
    other = Requests(postgres)
    ids = [bytes([place]) for place in range(100)]
    told = await asyncio.gather(
        *(postgres_requests.add(id_, b"one") for id_ in ids),
        *(other.add(id_, b"other") for id_ in reversed(ids)),
    )
    await other.close()
    assert sum(told) == len(ids)
