"""Many records' new versions in one batch: each as if it went alone, and by few statements."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.committing import EPOCH, Commit, asked, committing, events, outcomes, told
from tests.database import execute, put, rows, seen
from tests.wire import PATIENCE
from vault.crypto.record import SealedRecord
from vault.errors import Reason
from vault.store import changes, together
from vault.store import tables as t
from vault.store.changes import IndexRow, RequestMark
from vault.store.engine import Database, connect
from vault.store.hot import HotTransaction
from vault.store.jobs import Change, Transaction
from vault.store.together import Replacement

PEOPLE = (b"A", b"B", b"C", b"D")
EMAIL, PHONE = 4, 5
DAY = 20_000
REUSED, STALE, TAKEN = Reason.REQUEST_ID_REUSED, Reason.STALE_ETAG, Reason.VALUE_TAKEN


def email(value: bytes, *, unique: bool = True, version: int = 1) -> IndexRow:
    return IndexRow("email", EMAIL, version, value, unique)


def phone(value: bytes) -> IndexRow:
    return IndexRow("phone", PHONE, 1, value, False)


def put_of(
    who: bytes,
    *index: IndexRow,
    request: bytes = b"",
    asks: bytes = b"asked",
    read: bytes | None = b"v1",
    of: Sequence[int] = (EMAIL, PHONE),
) -> Replacement:
    """A change of one of the people, from what they all have, under a request id of its own."""
    mark = RequestMark(request or b"request of " + who, asks, DAY)
    return Replacement(who, read, SealedRecord(b"v2", b"new of " + who), mark, of, index)


def erasure(who: bytes) -> Change[bool]:
    async def change(transaction: Transaction) -> bool:
        return await changes.erase_record(transaction, who, None)

    return change


Batch = Sequence[Change[Any] | None]


@dataclass(frozen=True, slots=True)
class Case:
    """What is handed in at once, and what each is answered; None in a batch is a read."""

    batch: Batch
    answered: Sequence[object]
    before: Batch = field(default=())
    index: frozenset[tuple[int, bytes, bytes]] | None = None  # field, value, whose


OWN = frozenset((EMAIL, b"old " + who, who) for who in PEOPLE)

CASES = {
    "all well": Case(
        [put_of(who, email(b"new " + who), phone(b"shared")) for who in PEOPLE],
        [True] * 4,
        index=frozenset(
            pair for w in PEOPLE for pair in ((EMAIL, b"new " + w, w), (PHONE, b"shared", w))
        ),
    ),
    "the values that they have": Case(
        [put_of(who, email(b"old " + who)) for who in PEOPLE], [True] * 4, index=OWN
    ),
    "a field that nothing is said of": Case(
        [put_of(b"A", phone(b"new"), of=[PHONE]), put_of(b"B", of=[])],
        [True, True],
        index=OWN | {(PHONE, b"new", b"A")},
    ),
    "a field is cleared": Case(
        [put_of(b"A"), put_of(b"B", email(b"old B"))],
        [True, True],
        index=OWN - {(EMAIL, b"old A", b"A")},
    ),
    "a value that is no longer unique": Case(
        [put_of(b"A", email(b"old A", unique=False)), put_of(b"B", email(b"old A", unique=False))],
        [True, True],
        index=OWN - {(EMAIL, b"old B", b"B")} | {(EMAIL, b"old A", b"B")},
    ),
    "an index that is being built": Case(
        [put_of(b"A", email(b"new"), email(b"new in it", version=2)), put_of(b"B", email(b"b"))],
        [True, True],
    ),
    "one is stale": Case(
        [put_of(b"A", email(b"a")), put_of(b"B", email(b"b"), read=b"v0"), put_of(b"C")],
        [True, STALE, True],
    ),
    "one means another version": Case([put_of(b"A"), put_of(b"B", read=None)], [True, STALE]),
    "one has no record": Case([put_of(b"A"), put_of(b"E", email(b"e"))], [True, STALE]),
    "one value is another record's": Case(
        [put_of(b"A", email(b"a")), put_of(b"B", phone(b"b"), email(b"old D")), put_of(b"C")],
        [True, TAKEN, True],
    ),
    "two want one value": Case(
        [put_of(b"B", email(b"wanted")), put_of(b"A", email(b"wanted")), put_of(b"C")],
        [True, TAKEN, True],
    ),
    "who wants it first is stale": Case(
        [put_of(b"B", email(b"wanted"), read=b"v0"), put_of(b"A", email(b"wanted"))],
        [STALE, True],
    ),
    "two swap values": Case(
        [put_of(b"A", email(b"old B")), put_of(b"B", email(b"old A")), put_of(b"C")],
        [TAKEN, TAKEN, True],
    ),
    "one takes what one before gives up": Case(
        [put_of(b"A", email(b"a")), put_of(b"B", email(b"old A"))], [True, True]
    ),
    "who gives it up is refused": Case(
        [put_of(b"A", email(b"old D")), put_of(b"B", email(b"old A")), put_of(b"C")],
        [TAKEN, TAKEN, True],
    ),
    "a repetition of all": Case(
        [put_of(who, email(b"new " + who), read=b"v2") for who in PEOPLE],
        [None] * 4,
        before=[put_of(who, email(b"new " + who)) for who in PEOPLE],
    ),
    "a repetition by who read it before": Case(
        [put_of(b"A"), put_of(b"B")], [None, True], before=[put_of(b"A")]
    ),
    "a repetition of what was refused": Case(
        [put_of(b"A", email(b"a")), put_of(b"B", email(b"b"))],
        [True, True],
        before=[put_of(b"A", email(b"old B")), put_of(b"B", read=b"v0")],
    ),
    "a request id that was used before": Case(
        [put_of(b"A", email(b"a"), request=b"used", asks=b"more"), put_of(b"B", email(b"b"))],
        [REUSED, True],
        before=[put_of(b"C", request=b"used")],
    ),
    "a request id twice": Case(
        [put_of(b"A", request=b"one"), put_of(b"B", request=b"one", asks=b"more")], [True, REUSED]
    ),
    "a request twice": Case([put_of(b"A"), put_of(b"B"), put_of(b"A")], [True, True, None]),
    "one record twice": Case(
        [
            put_of(b"A", email(b"a")),
            put_of(b"B", email(b"b")),
            put_of(b"A", email(b"c"), request=b"late", read=b"v2"),
        ],
        [True, True, True],
    ),
    "two changes of one version": Case(
        [put_of(b"A"), put_of(b"B"), put_of(b"A", request=b"late")], [True, True, STALE]
    ),
    "with reads": Case(
        [None, put_of(b"A"), None, put_of(b"B"), None], [None, True, None, True, None]
    ),
    "with erasures": Case(
        [
            put_of(b"A", email(b"a")),
            erasure(b"D"),
            put_of(b"B", email(b"old D")),
            put_of(b"D", email(b"d")),
            erasure(b"A"),
            put_of(b"C", email(b"a")),
        ],
        [True, True, True, STALE, True, True],
    ),
    "no request ids": Case(
        [Replacement(who, b"v1", SealedRecord(b"v2", b"new")) for who in PEOPLE], [True] * 4
    ),
}


async def people(database: Database) -> None:
    for who in PEOPLE:
        await put(database, t.records, pseudonym=who, row_version=b"v1", sealed=b"old")
        its = {"field": EMAIL, "version": 1, "value": b"old " + who}
        await put(database, t.blind_index, **its, pseudonym=who)


def hand_in(committer: Commit, batch: Batch) -> list[Awaitable[object]]:
    return [
        committer.change(change, told(n)) if change else committer.record(asked(n))
        for n, change in enumerate(batch)
    ]


KEPT = (t.records, t.blind_index, t.idempotency)


async def carried_out(database: Database, case: Case) -> tuple[Sequence[object], list[Any]]:
    """What all are answered; the rows that are left, and what the events say in their order."""
    await put(database, t.compartment, epoch=EPOCH)
    await people(database)
    committer = committing(database)
    for change in case.before:
        await outcomes(*hand_in(committer, [change]))
    answered = await outcomes(*hand_in(committer, case.batch))
    await committer.close()
    said = [(event.request_id, event.reason) for event in await events(database)]
    return answered, [*[[tuple(row) for row in await rows(database, t_)] for t_ in KEPT], said]


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_who_goes_together_is_answered_as_who_goes_alone(
    postgres: Database, sqlite: Database, case: Case
) -> None:
    """The same answers, rows and events as on SQLite, where all go alone."""
    answered, left = await carried_out(postgres, case)
    assert answered == case.answered
    assert (answered, left) == await carried_out(sqlite, case)
    if case.index is not None:
        assert {(field, value, whose) for field, _, value, _, whose in left[1]} == case.index


async def test_what_one_gives_up_is_free_for_who_wanted_it_before(
    postgres: Database, committer_on_postgres: Commit
) -> None:
    """Both were under way at once, so either may have been first."""
    await people(postgres)
    batch = [put_of(b"B", email(b"old A")), put_of(b"A", email(b"a"))]
    assert await outcomes(*hand_in(committer_on_postgres, batch)) == [True, True]


@pytest.fixture
async def committer_on_postgres(postgres: Database) -> AsyncIterator[Commit]:
    await put(postgres, t.compartment, epoch=EPOCH)
    begun = committing(postgres)
    yield begun
    await begun.close()


@pytest.mark.parametrize(
    ("case", "statements", "alone"),
    [
        ("all well", 4, 0),
        ("the values that they have", 5, 0),
        ("a repetition of all", 2, 0),
        ("one is stale", 6, 1),
        ("two want one value", 6, 1),
    ],
)
async def test_a_batch_is_few_statements(
    postgres: Database, committer_on_postgres: Commit, case: str, statements: int, alone: int
) -> None:
    """Whoever is refused costs a savepoint of their own, and nobody else anything."""
    await people(postgres)
    await outcomes(*hand_in(committer_on_postgres, CASES[case].before))
    with pytest.MonkeyPatch.context() as patch, seen(postgres.writes, "SAVEPOINT") as savepoints:
        sent = counted(patch)
        await outcomes(*hand_in(committer_on_postgres, CASES[case].batch))
    assert (len(sent), len(savepoints)) == (statements, alone)


def counted(patch: pytest.MonkeyPatch) -> list[str]:
    """Collect the statements that are sent for all who go together."""
    sent: list[str] = []
    send_on = together._send

    async def send(within: HotTransaction, statement: str, *columns: Sequence[object]) -> Any:
        if columns[0]:
            sent.append(statement)
        return await send_on(within, statement, *columns)

    patch.setattr(together, "_send", send)
    return sent


async def test_a_deadlock_of_two_processes_that_go_together_hurts_nobody(
    postgres: Database, postgres_url: str
) -> None:
    """Each has one record and wants the other's: one of them is undone, and tried again."""
    await put(postgres, t.compartment, epoch=EPOCH)
    await people(postgres)
    second = connect(postgres_url)
    processes = (committing(postgres), committing(second))
    met = asyncio.Barrier(2)
    tries: list[Awaitable[object]] = []
    for process, (first, then) in zip(processes, ((b"A", b"B"), (b"B", b"A")), strict=True):
        name = b"by who began with " + first

        async def meet(_: Transaction, first_time: list[bool] = [True]) -> None:  # noqa: B006
            if first_time:
                first_time.clear()
                await asyncio.wait_for(met.wait(), PATIENCE)

        late = put_of(then, request=name + b", then")
        tries += hand_in(process, [put_of(first, request=name), meet, late])
    answered = await outcomes(*tries)
    for process in processes:
        await process.close()
    await second.close()
    assert sorted(map(str, answered)) == ["None"] * 2 + [STALE] * 2 + ["True"] * 2


async def test_what_cannot_be_written_together_leaves_nothing_and_tells_nothing(
    postgres: Database, committer_on_postgres: Commit, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault amid the statements: all are undone, and no text holds what was to be written."""
    await people(postgres)
    await execute(postgres, "ALTER TABLE blind_index RENAME TO away")
    planted = "Токтогулова".encode()
    batch = [put_of(b"A", email(planted), request=planted), put_of(b"B")]
    assert (
        await outcomes(*hand_in(committer_on_postgres, batch)) == [Reason.STORAGE_UNAVAILABLE] * 2
    )
    await execute(postgres, "ALTER TABLE away RENAME TO blind_index")
    assert planted.decode() not in caplog.text
    assert planted.hex() not in caplog.text
    assert await rows(postgres, t.idempotency) == []
    assert await events(postgres) == []
    assert await outcomes(*hand_in(committer_on_postgres, batch)) == [True, True]


async def test_a_connection_that_is_lost_amid_the_statements_is_replaced(
    postgres: Database, committer_on_postgres: Commit
) -> None:
    """Nothing of the first try stands: it is tried again, and nobody hears of it."""
    await people(postgres)
    ended: list[bool] = []
    send_on = together._send

    async def send(within: HotTransaction, statement: str, *columns: Sequence[object]) -> Any:
        if "UPDATE records" in statement and not ended:
            ended.append(True)
            ((pid,),) = await within.fetch("SELECT pg_backend_pid()")
            await execute(postgres, f"SELECT pg_terminate_backend({pid})")
        return await send_on(within, statement, *columns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(together, "_send", send)
        answered = await outcomes(*hand_in(committer_on_postgres, [put_of(b"A"), put_of(b"B")]))
    assert answered == [True, True]
    assert ended
    assert len(await events(postgres)) == 2
