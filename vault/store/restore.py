"""Restoring: a backup into an empty database, in one transaction, or nothing at all.

A record comes back if the keys have the data key that it is sealed under. If they don't, its
subject erased it since the data was written: it is never written, nor are its index rows, and
it is counted. What the keys know of records that the data doesn't have is left out likewise.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import groupby, islice
from operator import itemgetter
from pathlib import Path
from typing import TypeVar
from uuid import UUID

from sqlalchemy import insert, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.crypto.envelope import key_id
from vault.crypto.primitives import DamagedError
from vault.store import backup as b
from vault.store import schema
from vault.store import tables as t
from vault.store.backup import BATCH, Progress, Source, owner_alone
from vault.store.backup_file import BackupError, BackupReader
from vault.store.backup_format import Contents, Row
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.reindex import begin_rebuilding
from vault.store.schema import Schema

T = TypeVar("T")


@dataclass(slots=True)
class Restored:
    """What became of a backup; `digests` are the SHA-256 of its files, in hexadecimal."""

    rows: Counter[str] = field(default_factory=Counter)  # by table
    erased: int = 0  # records left out: their data keys are gone
    newer: int = 0  # subjects whose data keys were left out: the data lacks their records
    rebuilt: int = 0  # fields whose index workers build anew before it is used
    digests: dict[Path, str] = field(default_factory=dict)


async def restore_compartment(
    database: Database,
    uuid: bytes,
    data: Path,
    keys: Path,
    progress: Progress = lambda table, done, total: None,
) -> Restored:
    """Restore a compartment's data with its keys of the same moment, or any later one.

    Raises BackupError, SchemaError, VaultError(STORAGE_UNAVAILABLE); nothing is restored then.
    """
    restored = Restored()
    with ExitStack() as stack:
        rows = _File(stack, data, Contents.DATA, progress)
        keyed = _File(stack, keys, Contents.KEYS, progress)
        _check_compartments(rows, keyed, uuid)
        _check_heads(rows, keyed)
        await schema.check(database, Schema.COMPARTMENT)
        with storage_errors(), owner_alone():
            async with database.writes.begin() as connection:
                filling = _Filling(connection, restored)
                await filling.claim(Schema.COMPARTMENT)
                await filling.table(b.COMPARTMENT, keyed.rows(b.COMPARTMENT), sweep_cursor=b"")
                await filling.table(b.KEYRING, keyed.rows(b.KEYRING))
                await filling.table(b.EPOCHS, keyed.rows(b.EPOCHS))
                await filling.table(b.TOMBSTONES, keyed.rows(b.TOMBSTONES))
                await filling.records(rows.rows(b.RECORDS), keyed.rows(b.DATA_KEYS))
                await filling.index(rows.rows(b.INDEX))
                restored.rebuilt = await begin_rebuilding(connection)
                await filling.table(b.AUDIT, rows.rows(b.AUDIT))
                await filling.table(b.CHECKPOINTS, rows.rows(b.CHECKPOINTS))
                await filling.table(b.REQUESTS, rows.rows(b.REQUESTS))
                restored.digests = {data: rows.finish(), keys: keyed.finish()}
    return restored


async def restore_control(
    database: Database, file: Path, progress: Progress = lambda table, done, total: None
) -> Restored:
    """Restore the control database. Raises what `restore_compartment` raises."""
    restored = Restored()
    with ExitStack() as stack:
        rows = _File(stack, file, Contents.CONTROL, progress)
        await schema.check(database, Schema.CONTROL)
        with storage_errors(), owner_alone():
            async with database.writes.begin() as connection:
                filling = _Filling(connection, restored)
                await filling.claim(Schema.CONTROL)
                await filling.table(b.CHAIN, rows.rows(b.CHAIN))
                await filling.table(b.APPROVALS, rows.rows(b.APPROVALS))
                restored.digests = {file: rows.finish()}
    return restored


class _File:
    """A file that this release can restore, opened while `stack` lasts."""

    def __init__(
        self, stack: ExitStack, path: Path, contents: Contents, progress: Progress
    ) -> None:
        self._reader = stack.enter_context(BackupReader(path))
        self._progress = progress
        self.path, self.header = path, self._reader.header
        if self.header.contents is not contents:
            raise BackupError(
                f"{path} is a backup of {self.header.contents}, and {contents} is wanted here."
            )
        later = self._later(Schema.CONTROL if contents is Contents.CONTROL else Schema.COMPARTMENT)
        if [s.layout for s in self.header.sections] != b.layouts(contents, later):
            raise self._reader.damaged(f"revision {self.header.revision} has other tables")
        self._sections = {section.layout.name: section for section in self.header.sections}
        self._lacks: dict[str, Row] = {}  # the values of columns that later revisions added
        for added in reversed(later):
            for name, columns in added.columns.items():
                self._lacks[name] = (*self._lacks.get(name, ()), *columns.values())

    def rows(self, source: Source) -> Iterator[Row]:
        """Yield the rows of the next section, which must be this one, as they are written today."""
        section = self._sections.get(source.layout.name)
        if section is None:
            return  # a later revision added the table
        lacks = self._lacks.get(source.layout.name, ())
        for done, row in enumerate(self._reader.rows(section)):
            if done % BATCH == 0:
                self._progress(source.layout.name, done, section.rows)
            yield (*row, *lacks)
        self._progress(source.layout.name, section.rows, section.rows)

    def finish(self) -> str:
        """Check the end of the file; return its SHA-256."""
        self._reader.finish()
        return self._reader.digest

    def _later(self, kind: Schema) -> Sequence[b.Added]:
        """Return what revisions since the file's added, newest first; raise BackupError."""
        found, revisions = self.header.revision, schema.revisions(kind)
        ours, *older = revisions
        later = revisions[: revisions.index(found)] if found in revisions else [found]
        if all(revision in b.ADDED for revision in later):
            return [b.ADDED[revision] for revision in later]
        said = f"{self.path} was written at schema revision {found}; this release is at {ours}. "
        if found in older:
            raise BackupError(
                said + "Restore it into another database with a release of that revision, run "
                "`piivault db upgrade` there, and restore a backup of that."
            )
        raise BackupError(said + "Use the release that wrote it, or a later one.")


class _Filling:
    """One transaction that fills an empty database."""

    def __init__(self, connection: AsyncConnection, restored: Restored) -> None:
        self._connection, self._restored = connection, restored

    async def claim(self, kind: Schema) -> None:
        """Keep everybody else from writing until the end; raise BackupError if anybody did."""
        tables = kind.metadata.sorted_tables
        if self._connection.dialect.name == "postgresql":  # SQLite has one writer anyway
            names = ", ".join(table.name for table in tables)
            await self._connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
        filled = []
        for table in tables:
            query = select(literal(1)).select_from(table).limit(1)
            if (await self._connection.execute(query)).first():
                filled.append(table.name)
        if filled:
            raise BackupError(
                f"The database isn't empty: there are rows in {', '.join(filled)}, and nothing is "
                "overwritten. Make a new one, run `piivault db upgrade`, and restore before any "
                "process serves it."
            )

    async def table(self, source: Source, rows: Iterable[Row], **more: object) -> None:
        """Insert rows; `more` is what the backup leaves out."""
        names = [name for name, _ in source.layout.columns]
        for batch in _batches(rows):
            values = [dict(zip(names, row, strict=True)) | more for row in batch]
            await self._connection.execute(insert(source.table), values)
            self._restored.rows[source.layout.name] += len(batch)

    async def records(self, records: Iterable[Row], data_keys: Iterable[Row]) -> None:
        """Insert the records that the keys open, and their data keys."""
        for batch in _batches(self._living(records, data_keys)):
            await self.table(b.RECORDS, [record for record, _ in batch])
            await self.table(b.DATA_KEYS, [key for _, held in batch for key in held])

    async def index(self, rows: Iterable[Row]) -> None:
        """Insert the index rows of records that came back."""
        pseudonym = [name for name, _ in b.INDEX.layout.columns].index("pseudonym")
        for batch in _batches(rows):
            asked = {row[pseudonym] for row in batch}
            query = select(t.records.c.pseudonym).where(t.records.c.pseudonym.in_(asked))
            living = set((await self._connection.execute(query)).scalars())
            await self.table(b.INDEX, [row for row in batch if row[pseudonym] in living])

    def _living(
        self, records: Iterable[Row], data_keys: Iterable[Row]
    ) -> Iterator[tuple[Row, Sequence[Row]]]:
        for record, held in side_by_side(records, data_keys):
            if record is None:
                self._restored.newer += 1
            elif _opens(held, record):
                yield record, held
            else:  # with keys that don't open it: erased, and registered anew
                self._restored.erased += 1
                self._restored.newer += bool(held)


def side_by_side(
    records: Iterable[Row], data_keys: Iterable[Row]
) -> Iterator[tuple[Row | None, Sequence[Row]]]:
    """Yield each pseudonym's record and data keys; both come in its order and are read once."""
    tagged = heapq.merge(
        ((record[0], False, record) for record in records),
        ((key[0], True, key) for key in data_keys),
        key=itemgetter(0, 1),
    )
    for _, group in groupby(tagged, key=itemgetter(0)):
        rows = list(group)
        record = None if rows[0][1] else rows.pop(0)[2]
        yield record, [row for _, _, row in rows]


def _opens(data_keys: Sequence[Row], record: Row) -> bool:
    _, _, sealed = record
    try:
        wanted = key_id(sealed)
    except DamagedError:  # it was before the backup: it comes back, so that somebody notices
        return bool(data_keys)
    return any(key[1] == wanted for key in data_keys)


def _check_compartments(data: _File, keys: _File, uuid: bytes) -> None:
    found = data.header.compartment
    if found != keys.header.compartment:
        raise BackupError(
            f"{data.path} and {keys.path} are of different compartments. Find the two that belong "
            "together."
        )
    if found != uuid:
        raise BackupError(
            f"{data.path} and {keys.path} are of the compartment {_written(found)}, and the one to "
            f"be restored is {_written(uuid)}. Find its own backup."
        )


def _check_heads(data: _File, keys: _File) -> None:
    """Raise BackupError unless the keys know all that happened until the data was written."""
    known: Mapping[bytes, int] = dict(keys.rows(b.HEADS))
    if any(known.get(writer, -1) < last for writer, last in list(data.rows(b.HEADS))):
        raise BackupError(
            f"{keys.path} was written before {data.path}: records that live would pass for erased. "
            "Use the newest keys."
        )


def _written(uuid: bytes) -> str:
    return str(UUID(bytes=uuid)) if len(uuid) == 16 else uuid.hex()


def _batches(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
