"""Whole records, as they come and go: many at once on PostgreSQL, one after another on SQLite.

A registration is a row in three tables and more, an erasure takes them away. `together` has those
of one batch share a statement or two, as `register_each` and `erase_each` have them: each does what
it can and says for whom. Whoever lacks anything goes alone, by the statements of `changes`: so who
is refused is refused there, by the same words.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from sqlalchemy.ext.asyncio import AsyncConnection

from vault.crypto.record import SealedRecord
from vault.errors import Reason, VaultError
from vault.store import changes, requests
from vault.store.changes import IndexRow, RequestMark
from vault.store.hot import HotTransaction, columns
from vault.store.load import WrappedDataKey
from vault.store.requests import Finish

# Columns of rows go in as arrays, so that each statement is prepared once.
_OPEN = """
    WITH opened AS (
        INSERT INTO records (pseudonym, row_version, sealed)
        SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[])
        ON CONFLICT DO NOTHING RETURNING pseudonym
    ), keyed AS (
        INSERT INTO data_keys (pseudonym, id, kek_version, wrapped)
        SELECT its.* FROM opened JOIN unnest($1::bytea[], $4::bytea[], $5::bigint[], $6::bytea[])
            AS its (pseudonym, id, kek_version, wrapped) USING (pseudonym)
        ON CONFLICT DO NOTHING
    ), indexed AS (
        INSERT INTO blind_index (field, version, value, slot, pseudonym)
        SELECT its.* FROM opened
            JOIN unnest($7::bigint[], $8::bigint[], $9::bytea[], $10::bytea[], $11::bytea[])
            AS its (field, version, value, slot, pseudonym) USING (pseudonym)
        ON CONFLICT DO NOTHING RETURNING field, version, value, slot, pseudonym
    )
    SELECT ARRAY (SELECT pseudonym FROM opened),
        ARRAY (SELECT ROW (field, version, value, slot, pseudonym) FROM indexed)
"""
_TAKE_BACK = """
    WITH keys AS (
        DELETE FROM data_keys AS held USING unnest($1::bytea[], $2::bytea[]) AS its (pseudonym, id)
        WHERE held.pseudonym = its.pseudonym AND held.id = its.id
    ), index AS (
        DELETE FROM blind_index AS held
        USING unnest($3::bigint[], $4::bigint[], $5::bytea[], $6::bytea[])
            AS its (field, version, value, slot)
        WHERE held.field = its.field AND held.version = its.version
            AND held.value = its.value AND held.slot = its.slot
    )
    DELETE FROM records WHERE pseudonym = ANY($1::bytea[])
"""
_TAKE = """
    SELECT pseudonym, row_version, sealed FROM records WHERE pseudonym = ANY($1::bytea[])
    ORDER BY pseudonym FOR UPDATE
"""
# The records' rows are locked by then: nobody adds to the other tables what isn't seen here.
_ERASE = """
    WITH keys AS (DELETE FROM data_keys WHERE pseudonym = ANY($1::bytea[])),
        index AS (DELETE FROM blind_index WHERE pseudonym = ANY($1::bytea[])),
        marks AS (
            INSERT INTO tombstones (token) SELECT unnest($2::bytea[]) ON CONFLICT DO NOTHING
        ),
        done AS (
            UPDATE requests SET sealed = its.done
            FROM unnest($3::bytea[], $4::bytea[], $5::bytea[]) AS its (id, begun, done)
            WHERE requests.id = its.id AND requests.sealed = its.begun
        )
    DELETE FROM records WHERE pseudonym = ANY($1::bytea[])
"""


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """A change that writes a new record, with its data key and index rows.

    Where the subject was erased here, they must be `consenting`: then the tombstone is lifted.
    """

    pseudonym: bytes = field(repr=False)
    record: SealedRecord
    data_key: WrappedDataKey
    index_rows: Sequence[IndexRow]
    tombstone: bytes = field(repr=False)
    consenting: bool
    mark: RequestMark | None = None

    async def __call__(self, connection: AsyncConnection) -> bool | None:
        """Return True, or None where this very request was carried out before.

        Raises VaultError(REQUEST_ID_REUSED, ERASED, ALREADY_REGISTERED, VALUE_TAKEN).
        """
        if self.mark and not await changes.remember_request(connection, self.mark):
            return None
        if not self.consenting and await changes.has_tombstone(connection, self.tombstone):
            raise _erased()
        its = (self.record.row_version, self.record.sealed, self.data_key)
        await changes.insert_record(connection, self.pseudonym, *its)
        await changes.replace_index_rows(connection, self.pseudonym, (), self.index_rows)
        # By a statement of its own: it sees what was erased while the place was waited for.
        if await changes.lift_tombstone(connection, self.tombstone) and not self.consenting:
            raise _erased()  # by another process, since it was looked for
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Erasure:
    """A change that deletes all rows of a record, leaving a tombstone, and closes the request.

    Where it is `unchanged`, the record must be as it was `read`.
    """

    pseudonym: bytes = field(repr=False)
    compartment: str  # its name, for an error
    tombstone: bytes = field(repr=False)
    read: SealedRecord | None
    unchanged: bool
    finish: Finish
    mark: RequestMark | None = None

    async def __call__(self, connection: AsyncConnection) -> SealedRecord | None:
        """Return the row that was there; None where there is none, or this is a repetition.

        Raises VaultError(REQUEST_ID_REUSED, STALE_ETAG, NOT_FOUND).
        """
        if self.mark and not await changes.remember_request(connection, self.mark):
            return None  # what was registered since stays
        row = await changes.take_row(connection, self.pseudonym)
        if self.unchanged and row != self.read:
            raise changes.stale()
        erased = await changes.erase_record(connection, self.pseudonym, self.tombstone)
        if not erased and not await changes.has_tombstone(connection, self.tombstone):
            raise VaultError(
                Reason.NOT_FOUND, f"Nothing is registered for this subject in {self.compartment}."
            )
        await requests.replace(connection, self.finish)
        return row


async def register_each(
    within: HotTransaction, its: Sequence[Registration]
) -> Mapping[Registration, bool]:
    """Write new records at once; return those that were written. Of all others nothing is left."""
    if not its:
        return {}
    its = sorted(its, key=attrgetter("pseudonym"))
    keys = [(o.data_key.id, o.data_key.kek_version, o.data_key.wrapped) for o in its]
    records = [(o.pseudonym, o.record.row_version, o.record.sealed) for o in its]
    rows = sorted(row.row(o.pseudonym) for o in its for row in o.index_rows)
    parts = (*columns(records, 3), *columns(keys, 3), *columns(rows, 5))
    (answer,) = await within.fetch(_OPEN, *parts)
    opened, indexed = set(answer[0]), {tuple(row) for row in answer[1]}
    # By a statement of its own: it sees what was erased while a place was waited for.
    before = await _erased_before(within, [o.tombstone for o in its])
    done = [
        o
        for o in its
        if o.pseudonym in opened
        and o.tombstone not in before
        and indexed.issuperset(row.row(o.pseudonym) for row in o.index_rows)
    ]
    left = {o.pseudonym: o.data_key.id for o in its if o.pseudonym in opened and o not in done}
    if left:
        given = [row for row in indexed if row[4] in left]
        parts = ([*left], [*left.values()], *columns(given, 4))
        await within.fetch(_TAKE_BACK, *parts)
    return dict.fromkeys(done, True)


async def erase_each(
    within: HotTransaction, its: Collection[Erasure]
) -> Mapping[Erasure, SealedRecord | None]:
    """Erase at once those that are there, and as they must be; return which, and their rows.

    Those erased before have no row: their request alone is closed.
    """
    if not its:
        return {}
    taken = await within.fetch(_TAKE, [e.pseudonym for e in its])
    held = {pseudonym: SealedRecord(*row) for pseudonym, *row in taken}
    as_read = [e for e in its if not e.unchanged or held.get(e.pseudonym) == e.read]
    done = [e for e in as_read if e.pseudonym in held]
    absent = [e for e in as_read if e.pseudonym not in held]
    before = await _erased_before(within, [e.tombstone for e in absent])
    again = [e for e in absent if e.tombstone in before]
    if done or again:
        ends = [(e.finish.id, e.finish.begun, e.finish.done) for e in (*done, *again)]
        whose = [(e.pseudonym, e.tombstone) for e in done]
        await within.fetch(_ERASE, *columns(whose, 2), *columns(ends, 3))
    return {e: held.get(e.pseudonym) for e in (*done, *again)}


async def _erased_before(within: HotTransaction, tokens: Sequence[bytes]) -> set[bytes]:
    return {t for (t,) in await within.fetch(changes.TOMBSTONES, tokens)} if tokens else set()


def _erased() -> VaultError:
    return VaultError(
        Reason.ERASED,
        "The subject erased their data here: it starts anew with a new consent only.",
    )
