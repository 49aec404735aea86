"""Group commit: what was answered is durable, in the order of the chain."""

import asyncio

from tests.committing import (
    Commit,
    adding,
    asked,
    committing,
    events,
    ids,
    links,
    outcomes,
    tokens,
    told,
)
from tests.database import seen
from vault.audit.event import DENIED
from vault.errors import Reason
from vault.store import tables as t
from vault.store.changes import stale
from vault.store.commit import MOST_A_BATCH
from vault.store.engine import Database
from vault.store.jobs import Transaction


async def test_an_event_is_durable_once_record_returns(
    database: Database, committer: Commit
) -> None:
    await committer.record(asked("one"))
    assert await ids(database) == ["one"]


async def test_all_who_wait_share_commits_in_their_order(
    database: Database, committer: Commit
) -> None:
    """300 events, two transactions, and one chain in the order in which they were handed in."""
    with seen(database.writes, "INSERT INTO audit") as inserts:
        await asyncio.gather(*(committer.record(asked(n)) for n in range(MOST_A_BATCH + 44)))
    assert await ids(database) == [str(n) for n in range(MOST_A_BATCH + 44)]
    assert len(inserts) == 2


async def test_a_change_returns_its_result_with_its_event(
    database: Database, committer: Commit
) -> None:
    assert await committer.change(adding(b"row"), told("change")) == b"row"
    assert await tokens(database) == [b"row"]
    assert await ids(database) == ["change"]


async def test_a_refused_change_is_undone_alone_and_told_of(
    database: Database, committer: Commit
) -> None:
    """The batch around it stands, in its order; its own rows are gone, and its event says so."""
    answered = await outcomes(
        committer.record(asked("before")),
        committer.change(adding(b"stays"), told("stays")),
        committer.change(adding(b"goes", then=stale()), told("goes")),
        committer.change(adding(b"stays too"), told("stays too")),
        committer.record(asked("after")),
    )
    assert answered == [None, b"stays", Reason.STALE_ETAG, b"stays too", None]
    assert await tokens(database) == [b"stays", b"stays too"]
    found = await events(database)
    assert [event.request_id for event in found] == [
        "before",
        "stays",
        "goes",
        "stays too",
        "after",
    ]
    denied = [(event.request_id, event.reason) for event in found if event.outcome == DENIED]
    assert denied == [("goes", "STALE_ETAG")]


async def test_changes_of_one_batch_see_one_another(database: Database, committer: Commit) -> None:
    async def count(transaction: Transaction) -> int:
        return len((await transaction.execute(t.tombstones.select())).all())

    answered = await outcomes(
        committer.change(adding(b"one"), told(1)),
        committer.change(count, told(2)),
        committer.change(adding(b"two"), told(3)),
        committer.change(count, told(4)),
    )
    assert answered == [b"one", 1, b"two", 2]


# Callers come and go.


async def test_a_caller_that_leaves_before_its_turn_leaves_nothing(
    database: Database, committer: Commit
) -> None:
    """If it may be taken back: neither event nor change; and nothing from whoever stays."""
    taken: list[str] = []
    gone = [
        asyncio.create_task(committer.record(asked("gone"), lambda: taken.append("event"))),
        asyncio.create_task(
            committer.change(
                adding(b"gone"), told("gone, too"), taken_back=lambda: taken.append("change")
            )
        ),
        asyncio.create_task(committer.record(asked("a refusal"))),
    ]
    stays = asyncio.create_task(committer.record(asked("stays")))
    await asyncio.sleep(0)
    for task in gone:
        task.cancel()
    await stays
    assert all(task.cancelled() for task in gone)
    assert await ids(database) == ["a refusal", "stays"]
    assert await tokens(database) == []
    assert taken == ["event", "change"]


async def test_if_all_leave_nothing_is_committed(database: Database, committer: Commit) -> None:
    with seen(database.writes, "INSERT INTO audit") as inserts:
        gone = asyncio.create_task(committer.record(asked("gone"), lambda: None))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait((gone,))
        await committer.close()
    assert inserts == []


async def test_a_caller_that_leaves_amid_its_batch_takes_nothing_from_it(
    database: Database, committer: Commit
) -> None:
    async def leave(transaction: Transaction) -> bytes:
        gone.cancel()
        await asyncio.sleep(0)
        return await adding(b"row")(transaction)

    taken: list[str] = []
    leaving = committer.change(leave, told("gone"), taken_back=lambda: taken.append("change"))
    gone = asyncio.create_task(leaving)
    stays = asyncio.create_task(committer.record(asked("stays")))
    await stays
    assert gone.cancelled()
    assert await ids(database) == ["gone", "stays"]
    assert await tokens(database) == [b"row"]
    assert taken == []


async def test_many_at_once_are_all_written_each_in_its_own_order(
    database: Database, committer: Commit
) -> None:
    """Eight callers, each of 25 reads and changes in turn: all there, on one chain."""

    async def produce(caller: int) -> None:
        for number in range(25):
            name = f"{caller}/{number:02}"
            if number % 3:
                await committer.record(asked(name))
            else:
                assert await committer.change(adding(name.encode()), told(name)) == name.encode()

    await asyncio.gather(*(produce(caller) for caller in range(8)))
    found = await ids(database)
    for caller in range(8):
        own = [name for name in found if name.startswith(f"{caller}/")]
        assert own == [f"{caller}/{number:02}" for number in range(25)]
    assert len(found) == 200
    assert len({link.writer for link in await links(database)}) == 1
    assert len(await tokens(database)) == 8 * 9


async def test_closing_finishes_what_waits(database: Database, committer: Commit) -> None:
    waiting = [
        *(asyncio.create_task(committer.record(asked(n))) for n in range(MOST_A_BATCH)),
        asyncio.create_task(committer.change(adding(b"row"), told("change"))),
    ]
    await asyncio.sleep(0)
    await committer.close()
    assert len(await ids(database)) == MOST_A_BATCH + 1
    assert await tokens(database) == [b"row"]
    assert await asyncio.gather(*waiting) == [*[None] * MOST_A_BATCH, b"row"]


async def test_after_closing_nobody_waits_for_ever(database: Database, committer: Commit) -> None:
    await committer.record(asked("before"))
    await committer.close()
    answered = await outcomes(
        committer.record(asked("late")), committer.change(adding(b"late"), told("late"))
    )
    assert answered == [Reason.AUDIT_UNAVAILABLE, Reason.STORAGE_UNAVAILABLE]
    assert await ids(database) == ["before"]
    assert await tokens(database) == []


async def test_closing_what_never_wrote_is_nothing(database: Database) -> None:
    await committing(database).close()
