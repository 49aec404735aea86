"""The statements that change a record: each on its condition, and nothing else is touched."""

from collections.abc import Awaitable, Callable
from typing import Concatenate, ParamSpec, TypeVar

import pytest
from sqlalchemy import Table

from tests.database import load, put, rows
from vault.errors import Reason, VaultError
from vault.store import changes
from vault.store import tables as t
from vault.store.changes import IndexRow, RequestMark
from vault.store.engine import Database
from vault.store.jobs import Transaction
from vault.store.load import WrappedDataKey

P = ParamSpec("P")
T = TypeVar("T")

AIGUL, BAKYT = b"A" * 32, b"B" * 32
KEY = WrappedDataKey(b"key id", 3, b"wrapped")
TOMBSTONE = b"tombstone of Aigul"
EMAIL, PHONE = 4, 5
HELD = (t.records, t.data_keys, t.blind_index)


def email(value: bytes, *, unique: bool = True) -> IndexRow:
    return IndexRow("email", EMAIL, 1, value, unique)


def phone(value: bytes) -> IndexRow:
    return IndexRow("phone", PHONE, 1, value, False)


async def within(
    database: Database,
    change: Callable[Concatenate[Transaction, P], Awaitable[T]],
    *args: P.args,
    **kwargs: P.kwargs,
) -> T:
    """Carry out a change in a transaction of its own."""
    async with database.writes.begin() as transaction:
        return await change(transaction, *args, **kwargs)


async def register(database: Database, pseudonym: bytes, *index: IndexRow) -> None:
    async def change(transaction: Transaction) -> None:
        await changes.insert_record(transaction, pseudonym, b"v1", b"sealed", KEY)
        await changes.replace_index_rows(transaction, pseudonym, (), index)

    await within(database, change)


async def held(database: Database, table: Table) -> list[bytes]:
    """Whose rows a table holds."""
    return [row.pseudonym for row in await rows(database, table)]


async def index(database: Database) -> set[tuple[int, bytes, bytes]]:
    found = await rows(database, t.blind_index)
    return {(row.field, row.value, row.pseudonym) for row in found}


# Records.


async def test_a_record_is_opened_with_its_data_key(database: Database) -> None:
    await register(database, AIGUL)
    record = await load(database, AIGUL)
    assert record is not None
    assert (record.row_version, record.sealed) == (b"v1", b"sealed")
    assert record.data_keys == {KEY.id: KEY}


async def test_a_record_is_opened_once(database: Database) -> None:
    """The second attempt changes nothing: neither the record nor its data keys."""
    await register(database, AIGUL)
    other = WrappedDataKey(b"other id", 4, b"other")
    with pytest.raises(VaultError) as refused:
        await within(database, changes.insert_record, AIGUL, b"v2", b"other", other)
    assert refused.value.reason is Reason.ALREADY_REGISTERED
    assert [row.row_version for row in await rows(database, t.records)] == [b"v1"]
    assert [row.id for row in await rows(database, t.data_keys)] == [KEY.id]


async def test_a_record_is_replaced_by_who_read_it(database: Database) -> None:
    await register(database, AIGUL)
    await register(database, BAKYT)
    await within(database, changes.replace_record, AIGUL, b"v1", b"v2", b"sealed anew")
    found = [(r.pseudonym, r.row_version, r.sealed) for r in await rows(database, t.records)]
    assert found == [(AIGUL, b"v2", b"sealed anew"), (BAKYT, b"v1", b"sealed")]


@pytest.mark.parametrize(
    ("pseudonym", "version"),
    [(AIGUL, b"v0"), (AIGUL, b""), (BAKYT, b"v1")],
    ids=["an older version", "no version", "no record"],
)
async def test_a_record_is_replaced_by_nobody_else(
    database: Database, pseudonym: bytes, version: bytes
) -> None:
    await register(database, AIGUL)
    with pytest.raises(VaultError) as refused:
        await within(database, changes.replace_record, pseudonym, version, b"v2", b"lost")
    assert refused.value.reason is Reason.STALE_ETAG
    assert [row.sealed for row in await rows(database, t.records)] == [b"sealed"]


# Erasure.


async def test_erasing_removes_all_rows_of_a_subject_and_nobody_elses(database: Database) -> None:
    await register(database, AIGUL, email(b"aigul"), phone(b"shared"))
    await put(database, t.data_keys, pseudonym=AIGUL, id=b"older")
    await register(database, BAKYT, email(b"bakyt"), phone(b"shared"))
    assert await within(database, changes.erase_record, AIGUL, TOMBSTONE)
    for table in HELD:
        assert set(await held(database, table)) == {BAKYT}
    assert [row.token for row in await rows(database, t.tombstones)] == [TOMBSTONE]
    assert await load(database, AIGUL) is None


async def test_erasing_nothing_leaves_no_tombstone(database: Database) -> None:
    """Else whoever asks to erase a stranger's pseudonym would mark it as erased."""
    await register(database, BAKYT)
    assert not await within(database, changes.erase_record, AIGUL, TOMBSTONE)
    assert await rows(database, t.tombstones) == []
    assert await held(database, t.records) == [BAKYT]


async def test_erasing_twice_changes_nothing_more(database: Database) -> None:
    await register(database, AIGUL)
    for expected in (True, False):
        assert await within(database, changes.erase_record, AIGUL, TOMBSTONE) is expected
    assert len(await rows(database, t.tombstones)) == 1


async def test_a_tombstone_is_found_until_it_is_lifted(database: Database) -> None:
    await register(database, AIGUL)
    await within(database, changes.erase_record, AIGUL, TOMBSTONE)
    assert await within(database, changes.has_tombstone, TOMBSTONE)
    assert not await within(database, changes.has_tombstone, b"another")
    await within(database, changes.lift_tombstone, b"another")
    assert await within(database, changes.has_tombstone, TOMBSTONE)
    await within(database, changes.lift_tombstone, TOMBSTONE)
    assert not await within(database, changes.has_tombstone, TOMBSTONE)


async def test_a_subject_may_come_back(database: Database) -> None:
    await register(database, AIGUL, email(b"aigul"))
    await within(database, changes.erase_record, AIGUL, TOMBSTONE)
    await register(database, AIGUL, email(b"aigul"))
    assert await held(database, t.records) == [AIGUL]


# The index.


async def test_index_rows_replace_those_of_their_fields_alone(database: Database) -> None:
    await register(database, AIGUL, email(b"old"), phone(b"kept"))
    await register(database, BAKYT, email(b"bakyt"))
    await within(database, changes.replace_index_rows, AIGUL, [EMAIL], [email(b"new")])
    expected = {(EMAIL, b"new", AIGUL), (PHONE, b"kept", AIGUL), (EMAIL, b"bakyt", BAKYT)}
    assert await index(database) == expected


async def test_index_rows_go_when_a_field_is_cleared(database: Database) -> None:
    await register(database, AIGUL, email(b"old"), phone(b"old"))
    await within(database, changes.replace_index_rows, AIGUL, [EMAIL, PHONE], [])
    assert await index(database) == set()


async def test_a_unique_value_is_one_records(database: Database) -> None:
    """The error names the field and not the value, and the other's row stays as it was."""
    await register(database, AIGUL, email(b"taken"))
    with pytest.raises(VaultError) as refused:
        await register(database, BAKYT, email(b"taken"))
    assert refused.value.reason is Reason.VALUE_TAKEN
    assert refused.value.violations == {"fields.email": "is taken"}
    assert "taken'" not in repr(refused.value)
    assert await index(database) == {(EMAIL, b"taken", AIGUL)}
    assert await held(database, t.records) == [AIGUL]


async def test_ones_own_unique_value_may_be_written_again(database: Database) -> None:
    await register(database, AIGUL, email(b"same"))
    await within(database, changes.replace_index_rows, AIGUL, [EMAIL], [email(b"same")])
    assert await index(database) == {(EMAIL, b"same", AIGUL)}


async def test_a_unique_value_is_free_again_once_it_was_changed_or_erased(
    database: Database,
) -> None:
    await register(database, AIGUL, email(b"one"))
    await within(database, changes.replace_index_rows, AIGUL, [EMAIL], [email(b"two")])
    await register(database, BAKYT, email(b"one"))
    await within(database, changes.erase_record, AIGUL, TOMBSTONE)
    await within(database, changes.replace_index_rows, BAKYT, [EMAIL], [email(b"two")])
    assert await index(database) == {(EMAIL, b"two", BAKYT)}


async def test_a_unique_value_is_unique_in_its_field_and_version_alone(database: Database) -> None:
    await register(database, AIGUL, email(b"same"))
    other_field = IndexRow("work_email", 6, 1, b"same", True)
    other_version = IndexRow("email", EMAIL, 2, b"same", True)
    await register(database, BAKYT, other_field, other_version)
    assert len(await index(database)) == 3


async def test_another_value_may_be_shared(database: Database) -> None:
    for pseudonym in (AIGUL, BAKYT):
        await register(database, pseudonym, phone(b"shared"))
    assert await index(database) == {(PHONE, b"shared", AIGUL), (PHONE, b"shared", BAKYT)}


# Request ids.


def mark(content: bytes = b"asked", token: bytes = b"id", day: int = 20_000) -> RequestMark:
    return RequestMark(token, content, day)


async def test_a_request_is_new_once(database: Database) -> None:
    for expected in (True, False, False):
        assert await within(database, changes.remember_request, mark()) is expected


async def test_a_request_id_stands_for_one_request(database: Database) -> None:
    await within(database, changes.remember_request, mark())
    with pytest.raises(VaultError) as refused:
        await within(database, changes.remember_request, mark(b"something else"))
    assert refused.value.reason is Reason.REQUEST_ID_REUSED
    assert await within(database, changes.remember_request, mark(token=b"another"))


async def test_a_request_is_not_remembered_if_it_was_refused(database: Database) -> None:
    """Its mark lies in the same transaction: a repetition is carried out."""

    async def change(transaction: Transaction) -> None:
        await changes.remember_request(transaction, mark())
        raise changes.stale()

    with pytest.raises(VaultError):
        await within(database, change)
    assert await within(database, changes.remember_request, mark())


async def test_requests_are_forgotten_by_their_day(database: Database) -> None:
    for day in (19_998, 19_999, 20_000):
        its = mark(token=str(day).encode(), day=day)
        assert await within(database, changes.remember_request, its)
    await within(database, changes.forget_requests, 20_000)
    assert [row.day for row in await rows(database, t.idempotency)] == [20_000]


def test_nothing_that_could_link_is_shown() -> None:
    """Index values and marks stay out of repr."""
    assert "secret" not in repr([email(b"secret"), mark(b"secret", b"secret")])
