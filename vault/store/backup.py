"""Backups: one snapshot of a database, in key order, in files that lie apart.

A compartment's backup is two files, so that an old one of the first can be restored with the
newest of the second: every living record comes back, and no erased one does.

    data   what may be old: records, index, audit trail, checkpoints, subjects' requests
    keys   what must be the newest: data keys, keyring, tombstones, closed epochs, and the
           database's own row, whose epoch, state, canary and sight of the control chain must never
           go back

Each begins with the trail's heads, the last sequence of each writer. Every change commits with
its event, so keys whose heads cover those of the data know all data keys that the data needs;
older ones would make living records pass for erased, and are refused.

Left out: `idempotency`, whose rows have a day in clear, and only keep a request from being
carried out twice within days; and the cursors of the sweeper and of rotations, each the pseudonym
of somebody who may have been erased since. So rotations are left out: they begin anew. And since
when keys in clear are forgotten: who restores starts processes that have none.

A file of an older schema revision is restored too, where all that later ones added has a meaning
for it: see ADDED.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import Column, LargeBinary, Select, Table, Text, func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from vault.store import schema
from vault.store import tables as t
from vault.store.backup_file import BackupError, BackupReader, BackupWriter
from vault.store.backup_format import Contents, Header, Kind, Layout, Section
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.schema import Schema

BATCH = 500  # rows in memory at a time
_INSUFFICIENT_PRIVILEGE = "42501"  # SQLSTATE

Progress = Callable[[str, int, int], None]  # a table's name, rows done, rows in all


@dataclass(frozen=True, slots=True)
class Source:
    """What a section holds, and the table that it is read from and restored into."""

    layout: Layout
    query: Select[Any]
    table: Table

    @classmethod
    def of(cls, table: Table, *, without: tuple[Column[Any], ...] = ()) -> "Source":
        """Take a whole table, or all but some columns."""
        columns = [c for c in table.columns if c not in without]
        kinds = tuple((c.name, _kind(c)) for c in columns)
        return cls(Layout(table.name, kinds, len(table.primary_key)), select(*columns), table)

    def ordered(self, database: Database) -> Select[Any]:
        """Return the query in the order of the key, byte by byte on every database."""
        columns = list(self.query.selected_columns)[: self.layout.key]
        bytewise = [
            c.collate("C") if database.is_postgresql and isinstance(c.type, Text) else c
            for c in columns
        ]
        return self.query.order_by(*bytewise)


def _kind(column: Column[Any]) -> Kind:
    if isinstance(column.type, LargeBinary):
        return Kind.BYTES
    return Kind.TEXT if isinstance(column.type, Text) else Kind.INTEGER


HEADS = Source(
    Layout("heads", (("writer", Kind.BYTES), ("sequence", Kind.INTEGER)), 1),
    select(t.audit.c.writer, func.max(t.audit.c.sequence)).group_by(t.audit.c.writer),
    t.audit,
)
COMPARTMENT = Source.of(
    t.compartment, without=(t.compartment.c.sweep_cursor, t.compartment.c.evicted)
)
KEYRING, TOMBSTONES, DATA_KEYS = map(Source.of, (t.keyring, t.tombstones, t.data_keys))
EPOCHS = Source.of(t.epochs)
RECORDS, INDEX = map(Source.of, (t.records, t.blind_index))
AUDIT, CHECKPOINTS = map(Source.of, (t.audit, t.checkpoints))
REQUESTS = Source.of(t.requests)
CHAIN, APPROVALS = map(Source.of, (t.chain, t.approvals))

SOURCES: Mapping[Contents, tuple[Source, ...]] = {
    Contents.DATA: (HEADS, RECORDS, INDEX, AUDIT, CHECKPOINTS, REQUESTS),
    Contents.KEYS: (HEADS, COMPARTMENT, KEYRING, EPOCHS, TOMBSTONES, DATA_KEYS),
    Contents.CONTROL: (CHAIN, APPROVALS),
}


@dataclass(frozen=True, slots=True)
class Added:
    """What a schema revision added to files: sections, and the last columns of others.

    Where a file is older, a section is empty, and a column has the value given here.
    """

    sections: frozenset[str] = frozenset()
    columns: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict)  # by section


# A revision that isn't here changed what can't be filled in: older files are refused.
ADDED: Mapping[str, Added] = {
    "c0002": Added(
        frozenset({"epochs"}), {"compartment": {"state": "serving"}, "keyring": {"created": 0}}
    ),
    "c0003": Added(),
    "c0004": Added(frozenset({"requests"})),
    "c0005": Added(columns={"compartment": {"trail_begins": 0}}),
}


def layouts(contents: Contents, later: Iterable[Added]) -> list[Layout]:
    """Return the sections of a file that was written before these additions."""
    found = {source.layout.name: source.layout for source in SOURCES[contents]}
    for added in later:
        for name, layout in list(found.items()):
            columns = tuple(c for c in layout.columns if c[0] not in added.columns.get(name, ()))
            found[name] = replace(layout, columns=columns)
            if name in added.sections:
                del found[name]
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Written:
    """A file of a backup; `digest` is its SHA-256 in hexadecimal."""

    contents: Contents
    path: Path
    rows: int
    digest: str


async def back_up(
    database: Database,
    files: Mapping[Contents, Path],
    progress: Progress = lambda table, done, total: None,
) -> list[Written]:
    """Write a compartment's data, its keys or both; or a control database.

    All files show the same moment. Raises BackupError, SchemaError,
    VaultError(STORAGE_UNAVAILABLE); none of the files is there then.
    """
    kind = Schema.CONTROL if Contents.CONTROL in files else Schema.COMPARTMENT
    await schema.check(database, kind)
    with storage_errors(), owner_alone():
        async with _snapshot(database) as connection:
            uuid = b"" if kind is Schema.CONTROL else await _uuid(connection)
            with ExitStack() as stack:
                writers = []
                for contents, path in files.items():
                    header = await _header(connection, contents, uuid)
                    writer = stack.enter_context(BackupWriter(path, header))
                    await _write(connection, database, writer, header, progress)
                    writers.append((writer, header, path))
    return [
        Written(header.contents, path, sum(s.rows for s in header.sections), writer.digest)
        for writer, header, path in writers
    ]


async def has_ring(database: Database, path: Path) -> bool:
    """Tell whether a file is a whole backup of a compartment's keys as they are wrapped now.

    Data keys may have come since. Raises BackupError, VaultError(STORAGE_UNAVAILABLE).
    """
    written: set[str] = set()
    with BackupReader(path) as reader:
        for section in reader.header.sections:
            for row in reader.rows(section):
                written |= _of_transit(section.layout, row)
        reader.finish()
    ring: set[str] = set()
    async with _snapshot(database) as connection:
        for source in (COMPARTMENT, KEYRING):
            for found in await connection.execute(source.query):
                ring |= _of_transit(source.layout, found)
    return ring <= written


def _of_transit(layout: Layout, row: Sequence[Any]) -> set[str]:
    """Return the ciphertext of the key server that a row has, if it has one."""
    column = {t.compartment.name: "canary", t.keyring.name: "wrapped"}.get(layout.name)
    names = [name for name, _ in layout.columns]
    return {row[names.index(column)]} - {""} if column in names else set()


@contextmanager
def owner_alone() -> Iterator[None]:
    """Say what is missing where a login may not do this."""
    try:
        yield
    except DBAPIError as e:
        if getattr(e.orig, "sqlstate", None) != _INSUFFICIENT_PRIVILEGE:
            raise
        raise BackupError(
            "This login may not read or write every table: no process's own may. "
            "Use that of the tables' owner: --owner, --owner-password-file."
        ) from None


@asynccontextmanager
async def _snapshot(database: Database) -> AsyncIterator[AsyncConnection]:
    async with database.reads.connect() as connection:
        if database.is_postgresql:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            await connection.execution_options(**options)
            # Refuse, rather than leave out rows that this login can't see.
            await connection.exec_driver_sql("SET LOCAL row_security = off")
        else:
            await connection.exec_driver_sql("BEGIN")
        yield connection


async def _uuid(connection: AsyncConnection) -> bytes:
    uuid: bytes | None = (await connection.execute(select(t.compartment.c.uuid))).scalar()
    if uuid is None:
        raise BackupError("No process ever served this compartment: there is nothing to back up.")
    return uuid


async def _header(connection: AsyncConnection, contents: Contents, uuid: bytes) -> Header:
    sections = []
    for source in SOURCES[contents]:
        query = select(func.count()).select_from(source.query.subquery())
        rows: int = (await connection.execute(query)).scalar_one()
        sections.append(Section(source.layout, rows))
    kind = Schema.CONTROL if contents is Contents.CONTROL else Schema.COMPARTMENT
    return Header(contents, schema.revisions(kind)[0], uuid, tuple(sections))


async def _write(
    connection: AsyncConnection,
    database: Database,
    writer: BackupWriter,
    header: Header,
    progress: Progress,
) -> None:
    for source, section in zip(SOURCES[header.contents], header.sections, strict=True):
        done = 0
        progress(source.layout.name, done, section.rows)
        query = source.ordered(database).execution_options(yield_per=BATCH)
        result = await connection.stream(query)
        async for rows in result.partitions():
            writer.write(section, rows)
            done += len(rows)
            progress(source.layout.name, done, section.rows)
        writer.close_section(section)
