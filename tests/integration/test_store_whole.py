"""Whole records come and go: the same rows and the same words, at once or one after another."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import text

from tests.database import load, put, rows
from vault.crypto.record import SealedRecord
from vault.errors import Reason, VaultError
from vault.store import tables as t
from vault.store.changes import IndexRow, RequestMark
from vault.store.engine import Database
from vault.store.hot import HotTransaction
from vault.store.jobs import Change, Transaction
from vault.store.load import WrappedDataKey
from vault.store.requests import Finish
from vault.store.together import Replacement, carry_out
from vault.store.whole import Erasure, Registration

AIGUL, BAKYT, CYNARA, DAMIR = b"A" * 32, b"B" * 32, b"C" * 32, b"D" * 32
TOMBSTONE = b"tombstone of Aigul"
RECORD = SealedRecord(b"v1", b"sealed")
KEY = WrappedDataKey(b"key id", 3, b"wrapped")
EMAIL, PHONE = 4, 5
HELD = (t.records, t.data_keys, t.blind_index)


def email(value: bytes, version: int = 1) -> IndexRow:
    return IndexRow("email", EMAIL, version, value, unique=True)


def phone(value: bytes, version: int = 1) -> IndexRow:
    return IndexRow("phone", PHONE, version, value, unique=False)


def opening(
    who: bytes, *index: IndexRow, consenting: bool = True, request: bytes = b"", asks: bytes = b""
) -> Registration:
    mark = RequestMark(request, asks, 20_000) if request else None
    return Registration(who, RECORD, KEY, index, tombstone(who), consenting, mark)


def erasing(
    who: bytes, read: SealedRecord | None = None, request: bytes = b"", begun: bytes = b"begun"
) -> Erasure:
    mark = RequestMark(request, b"", 20_000) if request else None
    finish = Finish(b"asked by " + who, begun, b"done")
    return Erasure(who, "accounts", tombstone(who), read, read is not None, finish, mark)


def tombstone(who: bytes) -> bytes:
    return TOMBSTONE if who == AIGUL else b"tombstone of " + who


async def done(transaction: Transaction, change: Change[Any]) -> Any:
    (outcome,) = await carry_out(transaction, [change])
    if isinstance(outcome, VaultError):
        raise outcome
    return outcome


async def opened(database: Database, pseudonym: bytes, *index: IndexRow) -> object:
    async with database.writes.begin() as transaction:
        return await done(transaction, opening(pseudonym, *index))


async def erased(database: Database, pseudonym: bytes) -> SealedRecord | None:
    async with database.writes.begin() as transaction:
        row: SealedRecord | None = await done(transaction, erasing(pseudonym))
        return row


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
    assert [await erased(database, AIGUL) for _ in range(2)] == [RECORD, None]
    for table in HELD:
        assert {row.pseudonym for row in await rows(database, table)} == {BAKYT}
    assert [row.token for row in await rows(database, t.tombstones)] == [TOMBSTONE]


async def test_erasing_nobody_leaves_no_tombstone(database: Database) -> None:
    await opened(database, BAKYT)
    with pytest.raises(VaultError, match="accounts") as refused:
        await erased(database, AIGUL)
    assert refused.value.reason is Reason.NOT_FOUND
    assert await rows(database, t.tombstones) == []


async def test_who_is_erased_while_their_place_is_waited_for_keeps_no_tombstone(
    postgres: Database,
) -> None:
    """Another process erases and hasn't committed when this one registers."""
    await opened(postgres, AIGUL)
    async with postgres.writes.connect() as other:
        async with other.begin():
            assert await done(other, erasing(AIGUL)) == RECORD
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


GONE, REGISTERED, TAKEN = Reason.NOT_FOUND, Reason.ALREADY_REGISTERED, Reason.VALUE_TAKEN
ERASED, STALE, REUSED = Reason.ERASED, Reason.STALE_ETAG, Reason.REQUEST_ID_REUSED
OTHER = SealedRecord(b"v0", b"older")

# Aigul and Bakyt are registered, Cynara was erased. What is asked at once, and what each is told.
TOGETHER: dict[str, tuple[Sequence[Change[Any]], Sequence[object]]] = {
    "several come": (
        [opening(CYNARA, email(b"c"), phone(b"one")), opening(DAMIR, email(b"d"), phone(b"one"))],
        [True, True],
    ),
    "one is there": (
        [opening(AIGUL, email(b"new")), opening(DAMIR, email(b"d"))],
        [REGISTERED, True],
    ),
    "one value is another's": (
        [opening(CYNARA, phone(b"c"), email(b"aigul")), opening(DAMIR, email(b"d"))],
        [TAKEN, True],
    ),
    "two want one value": (
        [opening(CYNARA, email(b"wanted")), opening(DAMIR, email(b"wanted"))],
        [True, TAKEN],
    ),
    "who was erased doesn't consent": (
        [opening(CYNARA, email(b"c"), consenting=False), opening(DAMIR, consenting=False)],
        [ERASED, True],
    ),
    "all are refused": (
        [opening(AIGUL), opening(BAKYT), erasing(DAMIR)],
        [REGISTERED] * 2 + [GONE],
    ),
    "several go": ([erasing(AIGUL), erasing(BAKYT)], [RECORD, RECORD]),
    "one is gone, one never was": (
        [erasing(CYNARA), erasing(DAMIR), erasing(AIGUL)],
        [None, GONE, RECORD],
    ),
    "one must be as it was read": (
        [erasing(AIGUL, OTHER), erasing(BAKYT, RECORD)],
        [STALE, RECORD],
    ),
    "one asked before, and it was closed": (
        [erasing(AIGUL, begun=b"other"), erasing(BAKYT)],
        [RECORD, RECORD],
    ),
    "one comes and goes": (
        [opening(DAMIR, email(b"d")), erasing(DAMIR), opening(CYNARA, email(b"d"))],
        [True, RECORD, True],
    ),
    "one goes and comes back": ([erasing(AIGUL), opening(AIGUL, email(b"new"))], [RECORD, True]),
    "one takes what another leaves": (
        [erasing(AIGUL), opening(DAMIR, email(b"aigul"))],
        [RECORD, True],
    ),
    "a new version meanwhile": (
        [
            Replacement(AIGUL, b"v1", SealedRecord(b"v2", b"new")),
            erasing(BAKYT),
            opening(DAMIR, email(b"d")),
        ],
        [True, RECORD, True],
    ),
    "repetitions": (
        [
            opening(DAMIR, request=b"one"),
            opening(DAMIR, request=b"one"),
            erasing(AIGUL, request=b"two"),
            erasing(AIGUL, request=b"two"),
        ],
        [True, None, RECORD, None],
    ),
    "a request id twice": (
        [opening(DAMIR, request=b"one"), erasing(AIGUL, request=b"one"), erasing(BAKYT)],
        [True, None, RECORD],
    ),
    "a request id of another request": (
        [opening(DAMIR, request=b"one"), opening(CYNARA, request=b"one", asks=b"other")],
        [True, REUSED],
    ),
}
ALL = (*HELD, t.tombstones, t.idempotency, t.requests, t.epochs)


async def together(database: Database, batch: Sequence[Change[Any]]) -> tuple[list[Any], list[Any]]:
    """What all are told, and the rows that are left."""
    await put(database, t.epochs, tombstones=1)
    for who in (AIGUL, BAKYT):
        await put(database, t.requests, id=b"asked by " + who, sealed=b"begun")
    await opened(database, AIGUL, email(b"aigul"), phone(b"one"))
    await opened(database, BAKYT, email(b"bakyt"), phone(b"one"))
    await opened(database, CYNARA)
    await erased(database, CYNARA)
    async with database.writes.begin() as transaction:
        told = await carry_out(transaction, batch)
    left = [sorted(tuple(row) for row in await rows(database, table)) for table in ALL]
    return [its.reason if isinstance(its, VaultError) else its for its in told], left


@pytest.mark.parametrize(("batch", "told"), TOGETHER.values(), ids=TOGETHER)
async def test_many_come_and_go_at_once_as_they_do_one_by_one(
    postgres: Database, sqlite: Database, batch: Sequence[Change[Any]], told: Sequence[object]
) -> None:
    """The same answers and rows as on SQLite, where all go alone."""
    answered, left = await together(postgres, batch)
    assert answered == told
    assert (answered, left) == await together(sqlite, batch)


async def test_who_gives_back_takes_nothing_along_that_was_there(postgres: Database) -> None:
    """A restored data key has no record yet: the registration that is refused isn't its end."""
    await put(postgres, t.data_keys, pseudonym=DAMIR, id=b"older")
    await opened(postgres, AIGUL, email(b"aigul"))
    with pytest.raises(VaultError):
        await opened(postgres, DAMIR, phone(b"d"), email(b"aigul"))
    held = [(row.pseudonym, row.id) for row in await rows(postgres, t.data_keys)]
    assert sorted(held) == [(AIGUL, KEY.id), (DAMIR, b"older")]


async def test_all_are_few_statements_on_postgresql(
    postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[str] = []
    fetch = HotTransaction.fetch

    async def counted(self: HotTransaction, statement: str, *arguments: object) -> Sequence[Any]:
        sent.append(statement)
        return await fetch(self, statement, *arguments)

    monkeypatch.setattr(HotTransaction, "fetch", counted)
    come = [opening(who, email(who), request=b"come" + who) for who in (AIGUL, BAKYT, CYNARA)]
    go = [erasing(who, request=b"go" + who) for who in (AIGUL, BAKYT, CYNARA)]
    for batch in (come, go):
        async with postgres.writes.begin() as transaction:
            sent.clear()
            await carry_out(transaction, batch)
            # The requests are noted; who comes is looked for among the erased, who goes is locked.
            assert len(sent) == 3
