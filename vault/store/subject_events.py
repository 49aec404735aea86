"""A subject's own events, for the worker that opened their record and so knows their tokens.

A worker's role can't read the trail. On PostgreSQL it may ask one function of the tables' owner,
which gives events for tokens that the caller names and can't be made to list any (migration
c0005, rights.FUNCTIONS). Tokens are keyed by a salt inside the sealed record.
"""

from collections.abc import Sequence

from sqlalchemy import literal, select, text, tuple_

from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.events import COLUMNS, StoredEvent

BEGINNING = (b"", -1)  # before any writer and sequence

_ASK = text(
    "SELECT writer, sequence, previous, token, sealed FROM public.subject_events("
    "CAST(:tokens AS bytea[]), :writer, :sequence, :most)"
)


async def subject_events(
    database: Database, tokens: Sequence[bytes], after: tuple[bytes, int], most: int
) -> list[StoredEvent]:
    """Return up to `most` events: token by token as asked, each by writer and sequence.

    Of the first token only those after this writer and sequence. The function takes 500 tokens and
    gives 500 events at most. Raises VaultError(STORAGE_UNAVAILABLE).
    """
    if database.is_postgresql:
        asked = {"tokens": list(tokens), "writer": after[0], "sequence": after[1], "most": most}
        with storage_errors():
            async with database.reads.connect() as connection:
                return [tuple(row) for row in await connection.execute(_ASK, asked)]
    return await _plainly(database, tokens, after, most)


async def _plainly(
    database: Database, tokens: Sequence[bytes], after: tuple[bytes, int], most: int
) -> list[StoredEvent]:
    found: list[StoredEvent] = []
    known = select(t.audit.c.token).where(t.audit.c.token.in_(list(tokens))).distinct()
    place = tuple_(t.audit.c.writer, t.audit.c.sequence)
    with storage_errors():
        async with database.reads.connect() as connection:
            there = set((await connection.execute(known)).scalars())
            for token in tokens:
                if token in there and len(found) < most:
                    query = (
                        select(*COLUMNS)
                        .where(t.audit.c.token == token, place > tuple_(*map(literal, after)))
                        .order_by(t.audit.c.writer, t.audit.c.sequence)
                        .limit(most - len(found))
                    )
                    found += [tuple(row) for row in await connection.execute(query)]
                after = BEGINNING
    return found
