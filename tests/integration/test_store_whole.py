"""Whole records come and go: the same rows and the same words, at once or one after another."""

import asyncio
from collections.abc import Sequence

import pytest
from sqlalchemy import text

from tests.database import load, put, rows, seen
from vault.crypto.record import SealedRecord
from vault.errors import Reason, VaultError
from vault.store import changes, whole
from vault.store import tables as t
from vault.store.changes import IndexRow
from vault.store.engine import Database
from vault.store.load import WrappedDataKey

AIGUL, BAKYT = b"A" * 32, b"B" * 32
TOMBSTONE = b"tombstone of Aigul"
RECORD = SealedRecord(b"v1", b"sealed")
KEY = WrappedDataKey(b"key id", 3, b"wrapped")
EMAIL, PHONE = 4, 5
HELD = (t.records, t.data_keys, t.blind_index)


def email(value: bytes, version: int = 1) -> IndexRow:
    return IndexRow("email", EMAIL, version, value, unique=True)


def phone(value: bytes, version: int = 1) -> IndexRow:
    return IndexRow("phone", PHONE, version, value, unique=False)


async def opened(database: Database, pseudonym: bytes, *index: IndexRow) -> bool:
    async with database.writes.begin() as transaction:
        return await whole.open_record(transaction, pseudonym, RECORD, KEY, index, TOMBSTONE)


async def erased(database: Database, pseudonym: bytes) -> bool:
    async with database.writes.begin() as transaction:
        await changes.take_row(transaction, pseudonym)
        return await whole.erase_record(transaction, pseudonym, TOMBSTONE)


async def everything(database: Database) -> list[list[tuple[object, ...]]]:
    tables = (*HELD, t.tombstones)
    return [sorted(tuple(row) for row in await rows(database, table)) for table in tables]


async def test_a_record_comes_with_its_data_key_and_its_index_rows(database: Database) -> None:
    await opened(database, BAKYT, email(b"bakyt"), phone(b"shared"))
    await opened(database, AIGUL, email(b"a"), email(b"a2", 2), phone(b"shared"))
    record = await load(database, AIGUL)
    assert record is not None
    assert (record.row_version, record.sealed) == (b"v1", b"sealed")
    assert record.data_keys == {KEY.id: KEY}
    found = [tuple(row) for row in await rows(database, t.blind_index) if row.pseudonym == AIGUL]
    assert sorted(found) == [
        (EMAIL, 1, b"a", b"", AIGUL),
        (EMAIL, 2, b"a2", b"", AIGUL),
        (PHONE, 1, b"shared", AIGUL, AIGUL),
    ]


@pytest.mark.parametrize("index", [(), (phone(b"one"),)], ids=["none indexed", "not unique"])
async def test_a_record_needs_no_unique_value(
    database: Database, index: Sequence[IndexRow]
) -> None:
    await opened(database, AIGUL, *index)
    assert [row.pseudonym for row in await rows(database, t.records)] == [AIGUL]
    assert len(await rows(database, t.blind_index)) == len(index)


REFUSED = {
    "who is registered": (AIGUL, [email(b"new")], Reason.ALREADY_REGISTERED, ""),
    "who is, with their own value": (AIGUL, [email(b"aigul")], Reason.ALREADY_REGISTERED, ""),
    "a value that is another's": (BAKYT, [email(b"aigul")], Reason.VALUE_TAKEN, "fields.email"),
    "one of several": (
        BAKYT,
        [phone(b"free"), email(b"free"), email(b"aigul2", 2)],
        Reason.VALUE_TAKEN,
        "fields.email",
    ),
}


@pytest.mark.parametrize(("who", "index", "reason", "path"), REFUSED.values(), ids=REFUSED)
async def test_who_is_refused_changes_nothing_and_is_told_why(
    database: Database, who: bytes, index: Sequence[IndexRow], reason: Reason, path: str
) -> None:
    await put(database, t.tombstones, token=TOMBSTONE)
    await opened(database, AIGUL, email(b"aigul"), email(b"aigul2", 2))
    before = await everything(database)
    with pytest.raises(VaultError) as refused:
        await opened(database, who, *index)
    assert refused.value.reason is reason
    assert list(refused.value.violations) == ([path] if path else [])
    assert await everything(database) == before


async def test_who_comes_back_has_no_tombstone_and_no_epoch_claims_it(database: Database) -> None:
    await put(database, t.epochs, tombstones=2)
    await opened(database, AIGUL, email(b"aigul"))
    assert await erased(database, AIGUL)
    assert await opened(database, AIGUL, email(b"aigul"))
    assert await rows(database, t.tombstones) == []
    assert [row.tombstones for row in await rows(database, t.epochs)] == [1]


async def test_erasing_takes_all_rows_of_a_subject_and_nobody_elses(database: Database) -> None:
    await opened(database, AIGUL, email(b"aigul"), phone(b"shared"))
    await put(database, t.data_keys, pseudonym=AIGUL, id=b"older")
    await opened(database, BAKYT, email(b"bakyt"), phone(b"shared"))
    assert [await erased(database, AIGUL) for _ in range(2)] == [True, False]
    for table in HELD:
        assert {row.pseudonym for row in await rows(database, table)} == {BAKYT}
    assert [row.token for row in await rows(database, t.tombstones)] == [TOMBSTONE]


async def test_erasing_nobody_leaves_no_tombstone(database: Database) -> None:
    await opened(database, BAKYT)
    assert not await erased(database, AIGUL)
    assert await rows(database, t.tombstones) == []


async def test_who_is_erased_while_their_place_is_waited_for_keeps_no_tombstone(
    postgres: Database,
) -> None:
    """Another process erases and hasn't committed when this one registers."""
    await opened(postgres, AIGUL)
    async with postgres.writes.connect() as other:
        async with other.begin():
            await changes.take_row(other, AIGUL)
            assert await whole.erase_record(other, AIGUL, TOMBSTONE)
            coming_back = asyncio.create_task(opened(postgres, AIGUL))
            await waits_for_a_lock(postgres)
        await coming_back
    assert await coming_back
    assert [row.pseudonym for row in await rows(postgres, t.records)] == [AIGUL]
    assert await rows(postgres, t.tombstones) == []


async def waits_for_a_lock(database: Database) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with database.reads.connect() as connection:
        for _ in range(3000):
            if (await connection.execute(waiting)).scalar_one():
                return
            await asyncio.sleep(0.01)
    raise AssertionError("nobody waits for a lock")


async def test_either_is_few_statements_on_postgresql(postgres: Database) -> None:
    with seen(postgres.writes, "") as sent:
        await opened(postgres, AIGUL, email(b"aigul"), phone(b"one"))
        opening = len(sent)
        await erased(postgres, AIGUL)
    assert (opening, len(sent) - opening) == (2, 2)  # an erasure locks first
