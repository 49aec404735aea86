"""When a commit fails it fails for all who are in it, leaves no trace, and breaks no chain."""

import asyncio
from typing import Any

from sqlalchemy import Connection, event, text

from tests.committing import (
    EPOCH,
    AuditKey,
    Commit,
    adding,
    asked,
    committing,
    ids,
    links,
    outcomes,
    tokens,
    told,
)
from tests.database import Fetch, execute, hot_statements, put
from vault.errors import Reason, VaultError
from vault.store import keys
from vault.store import tables as t
from vault.store.changes import stale
from vault.store.engine import Database
from vault.store.jobs import Transaction


async def test_no_change_without_its_event(database: Database, committer: Commit) -> None:
    """The trail can't be written: nothing changes, nothing may be revealed, all hear of it."""
    await committer.record(asked("before"))
    await execute(database, "ALTER TABLE audit RENAME TO away")
    answered = await outcomes(
        committer.record(asked("lost")),
        committer.change(adding(b"lost"), told("lost")),
        committer.change(adding(b"lost too", then=stale()), told("lost")),
    )
    assert answered == [
        Reason.AUDIT_UNAVAILABLE,
        Reason.STORAGE_UNAVAILABLE,
        Reason.STORAGE_UNAVAILABLE,
    ]
    await execute(database, "ALTER TABLE away RENAME TO audit")
    assert await tokens(database) == []
    assert await ids(database) == ["before"]


async def test_a_new_writer_begins_after_a_failed_commit(
    database: Database, committer: Commit
) -> None:
    """Nobody knows what became of the last batch: the old chain ends where it was known to be."""
    await committer.record(asked("old"))
    await execute(database, "ALTER TABLE audit RENAME TO away")
    assert await outcomes(committer.record(asked("lost"))) == [Reason.AUDIT_UNAVAILABLE]
    await execute(database, "ALTER TABLE away RENAME TO audit")
    for request_id in ("new 1", "new 2"):
        await committer.record(asked(request_id))
    assert sorted(await ids(database)) == ["new 1", "new 2", "old"]
    by_writer: dict[bytes, list[int]] = {}
    for link in await links(database):
        by_writer.setdefault(link.writer, []).append(link.sequence)
    assert sorted(by_writer.values()) == [[0], [0, 1]]


async def test_a_commit_whose_answer_is_lost_breaks_no_chain(
    database: Database, committer: Commit
) -> None:
    """The rows are durable, the caller hears of a failure, and the trail holds all the same."""

    def lose_answer(connection: Connection) -> None:
        connection.connection.commit()
        raise OSError("connection reset by peer")

    async def lose_rows(send_on: Fetch, *statement: Any) -> Any:
        await send_on(*statement)
        raise OSError("connection reset by peer")

    await committer.record(asked("before"))
    engine = database.writes.sync_engine
    event.listen(engine, "commit", lose_answer)
    with hot_statements(lose_rows):
        assert await outcomes(committer.record(asked("doubtful"))) == [Reason.AUDIT_UNAVAILABLE]
    event.remove(engine, "commit", lose_answer)
    await committer.record(asked("after"))
    assert sorted(await ids(database)) == ["after", "before", "doubtful"]


async def test_an_unforeseen_fault_is_heard_by_all_and_undoes_the_batch(
    database: Database, committer: Commit
) -> None:
    """Also a defect of ours: nobody waits for ever, and nothing is half done."""
    answered = await outcomes(
        committer.record(asked("read")),
        committer.change(adding(b"one", then=ZeroDivisionError()), told("fault")),
        committer.change(adding(b"two"), told("change")),
    )
    assert answered[0] is Reason.AUDIT_UNAVAILABLE
    assert isinstance(answered[1], ZeroDivisionError)
    assert isinstance(answered[2], ZeroDivisionError)
    assert await tokens(database) == []
    assert await ids(database) == []
    await committer.record(asked("next"))
    assert await ids(database) == ["next"]


async def test_no_change_under_keys_of_another_epoch(database: Database, committer: Commit) -> None:
    await execute(database, "UPDATE compartment SET epoch = epoch + 1")
    answered = await outcomes(committer.change(adding(b"row"), told("change")))
    assert answered == [Reason.KEYS_UNAVAILABLE]
    assert await tokens(database) == []
    assert await ids(database) == []
    await committer.record(asked("a read asks for no epoch"))
    await execute(database, f"UPDATE compartment SET epoch = {EPOCH}")
    assert await committer.change(adding(b"row"), told("change")) == b"row"


async def test_who_shares_a_batch_with_a_change_of_another_epoch_does_not_notice(
    database: Database, committer: Commit
) -> None:
    answered = await outcomes(
        committer.record(asked("a read")),
        committer.change(adding(b"old"), told("of an older epoch"), EPOCH - 1),
        committer.change(adding(b"row"), told("of this epoch"), EPOCH),
        committer.change(adding(b"new"), told("of a newer epoch"), EPOCH + 1),
    )
    assert answered == [None, Reason.KEYS_UNAVAILABLE, b"row", Reason.KEYS_UNAVAILABLE]
    assert await tokens(database) == [b"row"]
    assert await ids(database) == ["a read", "of this epoch"]


async def test_keys_are_altered_in_any_epoch_and_its_changes_follow(
    database: Database, committer: Commit
) -> None:
    """Two processes alter them at once, and neither waits for the other for ever."""
    other = committing(database)

    async def begin_epoch(transaction: Transaction) -> int:
        return await keys.next_epoch(transaction)

    epochs = await asyncio.gather(
        *(its.alter(begin_epoch, told("alter")) for its in (committer, other) for _ in range(5))
    )
    assert sorted(epochs) == list(range(EPOCH + 1, EPOCH + 11))
    answered = await outcomes(
        committer.change(adding(b"old"), told("old")),
        other.change(adding(b"row"), told("new"), EPOCH + 10),
    )
    assert answered == [Reason.KEYS_UNAVAILABLE, b"row"]
    await other.close()


async def test_a_read_whose_key_is_missing_is_told_of_the_keys(database: Database) -> None:
    async def unavailable() -> AuditKey:
        raise VaultError(Reason.KEYS_UNAVAILABLE, "The key server can't be asked.")

    sealed = committing(database, unavailable)
    answered = await outcomes(
        sealed.record(asked("read")), sealed.change(adding(b"row"), told("change"))
    )
    assert answered == [Reason.KEYS_UNAVAILABLE] * 2
    assert await tokens(database) == []
    await sealed.close()


async def test_a_connection_that_breaks_is_replaced(postgres: Database) -> None:
    """PostgreSQL ends a connection amid a change: it is undone, and the next one goes through."""

    async def end_own_connection(transaction: Transaction) -> None:
        await adding(b"lost")(transaction)
        await transaction.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    await put(postgres, t.compartment, epoch=EPOCH)
    writer = committing(postgres)
    answered = await outcomes(writer.change(end_own_connection, told("lost")))
    assert answered == [Reason.STORAGE_UNAVAILABLE]
    assert await writer.change(adding(b"row"), told("next")) == b"row"
    assert await tokens(postgres) == [b"row"]
    assert await ids(postgres) == ["next"]
    await writer.close()
