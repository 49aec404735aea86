"""Changes in their order; those of single records go together, by few statements.

They give records new versions, open new ones or erase (`whole`).

One of them alone is a savepoint and some seven statements, each of which waits for the database: a
stream of puts was bound by that. PostgreSQL does many at once (docs/adr/0016-changes-together.md).
Each statement does what it can and says for whom. Whoever lacks anything is given back what they
took, and goes alone after the others, as all do on SQLite: only there is anybody refused.

Those that go together have no order: a value that one gives up is free for who wanted it before.
Changes of one record keep theirs, and so does whatever is of another kind.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from operator import attrgetter, itemgetter
from typing import Any, TypeAlias

from sqlalchemy.ext.asyncio import AsyncConnection

from vault.crypto.record import SealedRecord
from vault.errors import VaultError
from vault.frozen import dataclass
from vault.store import changes
from vault.store.changes import IndexRow, RequestMark
from vault.store.hot import HotTransaction, columns
from vault.store.jobs import Change
from vault.store.whole import Erasure, Registration, erase_each, register_each

# Columns of rows go in as arrays, so that each statement is prepared once.
_REMEMBER = """
    INSERT INTO idempotency (token, content, day)
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::integer[])
    ON CONFLICT DO NOTHING RETURNING token
"""
_REMEMBERED = "SELECT token, content FROM idempotency WHERE token = ANY($1::bytea[])"
_FORGET = "DELETE FROM idempotency WHERE token = ANY($1::bytea[])"
_REPLACE = """
    UPDATE records SET row_version = its.new, sealed = its.sealed
    FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::bytea[])
        AS its (pseudonym, old, new, sealed)
    WHERE records.pseudonym = its.pseudonym AND records.row_version = its.old
    RETURNING records.pseudonym
"""
_TAKE = """
    INSERT INTO blind_index (field, version, value, slot, pseudonym)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bytea[])
    ON CONFLICT DO NOTHING RETURNING field, version, value, slot, pseudonym
"""
_HELD = """
    SELECT field, version, value, slot, pseudonym FROM blind_index
    WHERE pseudonym = ANY($1::bytea[])
"""
_GIVE_UP = """
    DELETE FROM blind_index
    WHERE pseudonym = ANY($1::bytea[])
        AND (pseudonym, field) IN (SELECT * FROM unnest($2::bytea[], $3::bigint[]))
        AND (field, version, value, slot) NOT IN (
            SELECT * FROM unnest($4::bigint[], $5::bigint[], $6::bytea[], $7::bytea[])
        )
"""
_GIVE_BACK = """
    DELETE FROM blind_index AS held
    USING unnest($1::bigint[], $2::bigint[], $3::bytea[], $4::bytea[])
        AS its (field, version, value, slot)
    WHERE held.field = its.field AND held.version = its.version
        AND held.value = its.value AND held.slot = its.slot
"""

_Row: TypeAlias = tuple[int, int, bytes, bytes, bytes]  # of `blind_index`; but the last, its key


@dataclass(frozen=True, slots=True, eq=False)
class Replacement:
    """A change that puts a record's new version in the place of the one that was read.

    `replaces` is that one's row version; None where the caller meant another: then it is stale.
    `index_rows` take the place of all rows that the pseudonym has in the fields `index_of`.
    """

    pseudonym: bytes = field(repr=False)
    replaces: bytes | None
    by: SealedRecord
    mark: RequestMark | None = None
    index_of: Collection[int] = ()
    index_rows: Sequence[IndexRow] = ()

    async def __call__(self, connection: AsyncConnection) -> bool | None:
        """Return True, or None where this very request was carried out before.

        Raises VaultError(REQUEST_ID_REUSED, STALE_ETAG, VALUE_TAKEN).
        """
        if self.mark and not await changes.remember_request(connection, self.mark):
            return None
        if self.replaces is None:
            raise changes.stale()
        new = (self.by.row_version, self.by.sealed)
        await changes.replace_record(connection, self.pseudonym, self.replaces, *new)
        index = (self.index_of, self.index_rows)
        await changes.replace_index_rows(connection, self.pseudonym, *index)
        return True

    @property
    def rows(self) -> list[_Row]:
        """The rows of `blind_index` that it needs."""
        return [row.row(self.pseudonym) for row in self.index_rows]


_Single: TypeAlias = Replacement | Registration | Erasure  # changes of one record: they go together


async def carry_out(connection: AsyncConnection, all_: Sequence[Change[Any]]) -> list[Any]:
    """Carry out changes; return what each returned, or the VaultError that refused it.

    Who is refused is undone alone.
    """
    outcomes: dict[int, Any] = {}
    for run in _runs(all_):
        done = await _together(connection, run.values())
        for place, change in run.items():
            outcomes[place] = done[change] if change in done else await _alone(connection, change)
    return [outcomes[place] for place in range(len(all_))]


def _runs(all_: Sequence[Change[Any]]) -> Iterator[Mapping[int, Change[Any]]]:
    """Yield changes by their places: those that may go together, or one of another kind."""
    run: dict[int, Change[Any]] = {}
    met: set[bytes] = set()
    for place, change in enumerate(all_):
        own = _met(change) if isinstance(change, _Single) else set()
        if run and (not own or not met or own & met):
            yield run
            run, met = {}, set()
        run[place] = change
        met |= own
    if run:
        yield run


def _met(change: _Single) -> set[bytes]:
    """Return what no two have in common that go together."""
    return {change.pseudonym, change.mark.token} if change.mark else {change.pseudonym}


async def _alone(connection: AsyncConnection, change: Change[Any]) -> Any:
    try:
        async with connection.begin_nested():
            return await change(connection)
    except VaultError as e:
        return e


async def _together(
    connection: AsyncConnection, run: Iterable[Change[Any]]
) -> Mapping[Change[Any], Any]:
    """Carry out what can be at once; return what those return. Of all others nothing is left.

    Rows are written in their keys' order, so that two processes seldom wait for each other.
    """
    its = [change for change in run if isinstance(change, _Single)]
    if connection.dialect.name != "postgresql" or not its:
        return {}
    within = await HotTransaction.of(connection)
    new, repeated = await _remember(within, its)
    erased = await erase_each(within, [c for c in new if isinstance(c, Erasure)])
    opened = await register_each(within, [c for c in new if isinstance(c, Registration)])
    replaced = await _replace_each(within, [c for c in new if isinstance(c, Replacement)])
    done: dict[Change[Any], Any] = dict.fromkeys(repeated)
    done.update([*erased.items(), *opened.items(), *replaced.items()])
    left = [change.mark.token for change in new if change.mark and change not in done]
    await _send(within, _FORGET, left)
    return done


async def _replace_each(
    within: HotTransaction, its: Sequence[Replacement]
) -> Mapping[Change[Any], bool]:
    needed = {change: change.rows for change in its}
    taken, held = await _take(within, [row for rows in needed.values() for row in rows])
    able = [change for change, rows in needed.items() if held.issuperset(rows)]
    replaced = await _replace(within, able)
    await _give_up(within, {change: needed[change] for change in replaced})
    left = {change.pseudonym for change in set(its).difference(replaced)}
    given_back = sorted(row for row in taken if row[4] in left)
    await _send(within, _GIVE_BACK, *columns(given_back, 4))
    return dict.fromkeys(replaced, True)


async def _remember(
    within: HotTransaction, its: Sequence[_Single]
) -> tuple[Sequence[_Single], Sequence[_Single]]:
    """Note their request ids; return those whose request is new, and the repetitions."""
    marks = sorted((c.mark for c in its if c.mark), key=attrgetter("token"))
    parts = ([getattr(mark, name) for mark in marks] for name in ("token", "content", "day"))
    noted = {token for (token,) in await _send(within, _REMEMBER, *parts)}
    before = [mark.token for mark in marks if mark.token not in noted]
    asked = dict(await _send(within, _REMEMBERED, before))
    new = [c for c in its if not c.mark or c.mark.token in noted]
    return new, [c for c in its if c.mark and asked.get(c.mark.token) == c.mark.content]


async def _take(within: HotTransaction, rows: Iterable[_Row]) -> tuple[set[_Row], set[_Row]]:
    """Write index rows, of equal keys the first; return those, and all that they hold."""
    wanted = sorted(rows, key=itemgetter(0, 1, 2, 3))
    taken = {tuple(row) for row in await _send(within, _TAKE, *columns(wanted, 5))}
    lacking = sorted({row[4] for row in wanted if row not in taken})
    return taken, taken | {tuple(row) for row in await _send(within, _HELD, lacking)}


async def _replace(within: HotTransaction, its: Sequence[Replacement]) -> Sequence[Replacement]:
    """Put new versions in the place of those that were read; return whose that was done."""
    rows = sorted((c.pseudonym, c.replaces, c.by.row_version, c.by.sealed) for c in its)
    replaced = {pseudonym for (pseudonym,) in await _send(within, _REPLACE, *columns(rows, 4))}
    return [change for change in its if change.pseudonym in replaced]


async def _give_up(within: HotTransaction, needed: Mapping[Replacement, Iterable[_Row]]) -> None:
    """Delete all rows of their fields but those that they need.

    Looked at once the record is locked: nobody adds to its rows any more.
    """
    of = [(change.pseudonym, uid) for change in needed for uid in change.index_of]
    whose = [change.pseudonym for change in needed if change.index_of]
    kept = [row for rows in needed.values() for row in rows]
    await _send(within, _GIVE_UP, whose, *columns(of, 2), *columns(kept, 4))


async def _send(
    within: HotTransaction, statement: str, *arguments: Sequence[object]
) -> Sequence[Any]:
    """Run a statement on rows, given by columns; on none there is nothing to do."""
    if not arguments[0]:
        return ()
    return await within.fetch(statement, *arguments)
