"""Restoring: what was erased stays erased, and what doesn't fit is refused without a trace."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests import backups as made
from tests.backups import UUID, EmptyUrl, backed_up, opened, restored_into
from tests.database import execute, put, rows
from tests.vectors.formats import draw
from vault.store import schema
from vault.store import tables as t
from vault.store.backup import back_up
from vault.store.backup_file import BackupError, BackupReader, BackupWriter
from vault.store.backup_format import Contents, Header, Kind, Section
from vault.store.restore import restore_control, side_by_side
from vault.store.schema import Schema, SchemaError

OTHER = draw("uuid of orders", 16)
each_kind = pytest.mark.parametrize("kind", ["sqlite", "postgresql"])


async def _erase(url: str, subject: int) -> None:
    """Erase a subject as a worker does, with an event."""
    async with opened(url) as database:
        raw = made.pseudonym(subject)
        for table in (t.blind_index, t.data_keys, t.records):
            async with database.writes.begin() as connection:
                await connection.execute(table.delete().where(table.c.pseudonym == raw))
        await put(database, t.tombstones, token=draw(f"tombstone of {subject}"))
        await put(database, t.audit, **made.events(f"erases {subject}", 1)[0])


async def _register(url: str, subject: int, turn: int = 0) -> None:
    async with opened(url) as database:
        await put(database, t.records, **made.record(subject, turn))
        await put(database, t.data_keys, **made.data_key(subject, turn))
        for row in made.index_rows(subject):
            await put(database, t.blind_index, **row)
        await put(database, t.audit, **made.events(f"registers {subject} {turn}", 1)[0])


@each_kind
async def test_old_data_with_the_newest_keys(
    empty_url: EmptyUrl, tmp_path: Path, kind: str
) -> None:
    """The living come back; not the erased, nor who came back since, nor who is new."""
    url = await empty_url(kind)
    async with opened(url) as database:
        await made.fill(database, made.content(8))
    data, _ = await backed_up(url, tmp_path, "old")
    for subject in (1, 2, 5):
        await _erase(url, subject)
    await _register(url, 5, turn=1)
    await _register(url, 8)
    await _register(url, 9)
    _, keys = await backed_up(url, tmp_path, "new")
    async with opened(url) as database:
        tombstones = await rows(database, t.tombstones)

    target = await empty_url(kind)
    restored = await restored_into(target, data, keys)
    assert (restored.erased, restored.newer) == (3, 3)
    living = sorted(made.pseudonym(subject) for subject in (0, 3, 4, 6, 7))
    async with opened(target) as database:
        for table, each in ((t.records, 1), (t.data_keys, 1), (t.blind_index, 2)):
            found = sorted(row.pseudonym for row in await rows(database, table))
            assert found == sorted(living * each)
        assert await rows(database, t.tombstones) == tombstones
        assert len(tombstones) == 3 + 3
    assert restored.rows["records"] == len(living)


async def test_the_databases_own_row_is_the_newest(sqlite_url: str, tmp_path: Path) -> None:
    """Epoch, canary and sight of the control chain don't go back."""
    async with opened(sqlite_url) as database:
        await made.fill(database, made.content())
        data, _ = await backed_up(sqlite_url, tmp_path, "old")
        await execute(database, "UPDATE compartment SET epoch = 4, ledger_sequence = 13")
        await put(database, t.keyring, **made.key("kek", version=3))
        _, keys = await backed_up(sqlite_url, tmp_path, "new")
        for table in t.COMPARTMENT.sorted_tables:
            await execute(database, f"DELETE FROM {table.name}")
    await restored_into(sqlite_url, data, keys)
    async with opened(sqlite_url) as database:
        own = (await rows(database, t.compartment))[0]
        assert (own.epoch, own.ledger_sequence, own.sweep_cursor) == (4, 13, b"")
        assert [k.version for k in await rows(database, t.keyring) if k.kind == "kek"] == [1, 2, 3]


async def test_a_record_has_several_data_keys_while_one_is_replaced(
    empty_url: EmptyUrl, tmp_path: Path
) -> None:
    """All of them come back: which one it is sealed under, the record says."""
    url = await empty_url("sqlite")
    async with opened(url) as database:
        await made.fill(database, made.content(2))
        await put(database, t.data_keys, **made.data_key(0, turn=1))
    files = await backed_up(url, tmp_path)
    restored = await restored_into(await empty_url("sqlite"), *files)
    assert (restored.rows["records"], restored.rows["data_keys"]) == (2, 3)


async def test_a_damaged_record_comes_back_damaged(empty_url: EmptyUrl, tmp_path: Path) -> None:
    """Nobody erased it: `verify` has to find it."""
    url = await empty_url("sqlite")
    async with opened(url) as database:
        await made.fill(database, made.content(2))
        await execute(database, "UPDATE records SET sealed = x'00'")
    restored = await restored_into(await empty_url("sqlite"), *await backed_up(url, tmp_path))
    assert (restored.rows["records"], restored.erased) == (2, 0)


def test_records_and_data_keys_are_read_side_by_side() -> None:
    records = [(b"a", "A"), (b"b", "B"), (b"d", "D")]
    data_keys = [(b"b", 1), (b"b", 2), (b"c", 1), (b"d", 1), (b"e", 1)]
    assert list(side_by_side(records, data_keys)) == [
        ((b"a", "A"), []),
        ((b"b", "B"), [(b"b", 1), (b"b", 2)]),
        (None, [(b"c", 1)]),
        ((b"d", "D"), [(b"d", 1)]),
        (None, [(b"e", 1)]),
    ]


# Refusals. Each begins with the files of one compartment, and an empty database.


def rewrite(path: Path, change: Callable[[Header], Header]) -> None:
    """Write a file again under another header: its checksums hold."""
    with BackupReader(path) as reader:
        content = [list(reader.rows(section)) for section in reader.header.sections]
    path.unlink()
    header = change(reader.header)
    with BackupWriter(path, header) as writer:
        for section, some in zip(header.sections, content, strict=True):
            writer.write(section, some)
            writer.close_section(section)


def of_revision(revision: str) -> Callable[[Header], Header]:
    return lambda header: replace(header, revision=revision)


def of_compartment(uuid: bytes) -> Callable[[Header], Header]:
    return lambda header: replace(header, compartment=uuid)


def with_another_column(header: Header) -> Header:
    first, *others = header.sections
    changed = replace(first.layout, columns=(*first.layout.columns[:1], ("last", Kind.INTEGER)))
    return replace(header, sections=(Section(changed, first.rows), *others))


def flip(path: Path, at: int) -> None:
    whole = bytearray(path.read_bytes())
    whole[at] ^= 1
    path.write_bytes(whole)


def cut(path: Path, length: int) -> None:
    path.write_bytes(path.read_bytes()[:length])


def both(data: Path, keys: Path, change: Callable[[Header], Header]) -> None:
    rewrite(data, change)
    rewrite(keys, change)


def swap(data: Path, keys: Path) -> None:
    aside = data.rename(data.with_suffix(".aside"))
    keys.rename(data)
    aside.rename(keys)


REFUSED: dict[str, tuple[Callable[[Path, Path], Any], str]] = {
    "another compartment": (
        lambda data, keys: both(data, keys, of_compartment(OTHER)),
        r"are of the compartment [0-9a-f-]{36}, and the one to be restored is [0-9a-f-]{36}",
    ),
    "keys of another compartment": (
        lambda data, keys: rewrite(keys, of_compartment(OTHER)),
        "are of different compartments",
    ),
    "data and keys swapped": (swap, "is a backup of keys, and data is wanted here"),
    "data in the place of keys": (
        lambda data, keys: keys.write_bytes(data.read_bytes()),
        "is a backup of data, and keys is wanted here",
    ),
    "data of a newer schema": (
        lambda data, keys: rewrite(data, of_revision("c9999")),
        r"at schema revision c9999; this release is at c\d{4}\. Use the release that wrote it",
    ),
    "keys of a newer schema": (
        lambda data, keys: rewrite(keys, of_revision("c9999")),
        "Use the release that wrote it, or a later one",
    ),
    "other columns": (
        lambda data, keys: rewrite(data, with_another_column),
        r"damaged: revision c\d{4} has other tables",
    ),
    "data damaged at its end": (
        lambda data, keys: flip(data, -1),
        "the checksum of the whole doesn't hold",
    ),
    "keys damaged at their end": (
        lambda data, keys: flip(keys, -1),
        "the checksum of the whole doesn't hold",
    ),
    "data damaged in its header": (
        lambda data, keys: flip(data, 40),
        "the checksum of the header doesn't hold",
    ),
    "a value damaged in the last table": (
        lambda data, keys: flip(data, -32 - 32 - 1),
        "the checksum of requests doesn't hold",
    ),
    "a value damaged in the data keys": (
        lambda data, keys: flip(keys, -32 - 32 - 1),
        "the checksum of data_keys doesn't hold",
    ),
    "data cut off in the middle": (
        lambda data, keys: cut(data, data.stat().st_size // 2),
        "was cut off",
    ),
    "keys cut off before the end": (
        lambda data, keys: cut(keys, keys.stat().st_size - 1),
        "was cut off",
    ),
    "data without its end": (
        lambda data, keys: cut(data, data.stat().st_size - 32),
        "was cut off",
    ),
    "an empty file": (lambda data, keys: cut(data, 0), "was cut off"),
    "another kind of file": (
        lambda data, keys: data.write_text("SQLite format 3" * 9),
        "is no backup of piivault",
    ),
    "a file that is not there": (lambda data, keys: keys.unlink(), "No such file or directory"),
}


@each_kind
@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
async def test_refused_and_nothing_is_restored(
    empty_url: EmptyUrl,
    tmp_path: Path,
    kind: str,
    change: Callable[[Path, Path], Any],
    said: str,
) -> None:
    files = await _compartment(empty_url, tmp_path)
    change(*files)
    target = await empty_url(kind)
    with pytest.raises(BackupError, match=said):
        await restored_into(target, *files)
    await _assert_empty(target)


async def _compartment(empty_url: EmptyUrl, folder: Path) -> tuple[Path, Path]:
    url = await empty_url("sqlite")
    async with opened(url) as database:
        await made.fill(database, made.content())
    return await backed_up(url, folder)


async def _assert_empty(url: str) -> None:
    async with opened(url) as database:
        for table in t.COMPARTMENT.sorted_tables:
            assert await rows(database, table) == []


async def test_data_of_an_older_schema_is_told_the_way(
    empty_url: EmptyUrl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await _compartment(empty_url, tmp_path)
    ours = schema.revisions(Schema.COMPARTMENT)
    monkeypatch.setattr(schema, "revisions", lambda kind: ["c9999", *ours])
    with pytest.raises(BackupError, match="a release of that revision, run `piivault db upgrade`"):
        await restored_into(await empty_url("sqlite"), *files)


# The columns of an older revision, written out: what it wrote is in people's safes.
C0001 = {
    "compartment": ["uuid", "epoch", "ledger_sequence", "ledger_head", "canary"],
    "keyring": ["kind", "field", "version", "state", "wrapped"],
}


def as_of_c0001(path: Path) -> None:
    """Write a file again as the release of revision c0001 wrote it."""
    with BackupReader(path) as reader:
        content = [(s, list(reader.rows(s))) for s in reader.header.sections]
    path.unlink()
    old = []
    for section, some in content:
        if section.layout.name in ("epochs", "requests"):
            continue
        kept = C0001.get(section.layout.name, [name for name, _ in section.layout.columns])
        at = [n for n, (name, _) in enumerate(section.layout.columns) if name in kept]
        columns = tuple(section.layout.columns[n] for n in at)
        assert [name for name, _ in columns] == kept
        layout = replace(section.layout, columns=columns)
        old.append((Section(layout, section.rows), [[row[n] for n in at] for row in some]))
    header = replace(reader.header, revision="c0001", sections=tuple(s for s, _ in old))
    with BackupWriter(path, header) as writer:
        for section, its in old:
            writer.write(section, its)
            writer.close_section(section)


@each_kind
@pytest.mark.parametrize("old", [("data",), ("data", "keys")], ids=["data", "data and keys"])
async def test_files_of_an_older_schema_are_restored(
    empty_url: EmptyUrl, tmp_path: Path, kind: str, old: tuple[str, ...]
) -> None:
    """What it didn't know is as it was then: serving, keys of no known age, no epoch closed."""
    data, keys = await _compartment(empty_url, tmp_path)
    for path in (data, keys):
        if path.suffix[1:] in old:
            as_of_c0001(path)
    target = await empty_url(kind)
    await restored_into(target, data, keys)
    async with opened(target) as database:
        own = (await rows(database, t.compartment))[0]
        ages = {key.created > 0 for key in await rows(database, t.keyring)}
        epochs = len(await rows(database, t.epochs))
        assert len(await rows(database, t.records)) == len(made.content()[t.records])
    newest = ("suspended", {True}, 2)
    assert (own.state, ages, epochs) == (("serving", {False}, 0) if "keys" in old else newest)


@each_kind
async def test_keys_from_before_the_data_are_refused(
    empty_url: EmptyUrl, tmp_path: Path, kind: str
) -> None:
    """Who registered in between would pass for erased."""
    url = await empty_url(kind)
    async with opened(url) as database:
        await made.fill(database, made.content())
    _, keys = await backed_up(url, tmp_path, "old")
    await _register(url, 20)
    data, _ = await backed_up(url, tmp_path, "new")
    target = await empty_url("sqlite")
    with pytest.raises(BackupError, match=r"old\.keys was written before .*new\.data"):
        await restored_into(target, data, keys)
    await _assert_empty(target)


@each_kind
@pytest.mark.parametrize("table", [table.name for table in t.COMPARTMENT.sorted_tables])
async def test_nothing_is_restored_into_a_database_with_a_row(
    empty_url: EmptyUrl, tmp_path: Path, kind: str, table: str
) -> None:
    """Whichever table it is in: the row stays, and stays alone."""
    files = await _compartment(empty_url, tmp_path)
    target = await empty_url(kind)
    filled = t.COMPARTMENT.tables[table]
    async with opened(target) as database:
        await put(database, filled)
        with pytest.raises(BackupError, match=rf"isn't empty: there are rows in {table}, and"):
            await restored_into(target, *files)
        for other in t.COMPARTMENT.sorted_tables:
            assert len(await rows(database, other)) == (other is filled)


async def test_a_database_without_tables_is_refused(
    empty_url: EmptyUrl, bare_url: str, tmp_path: Path
) -> None:
    files = await _compartment(empty_url, tmp_path)
    with pytest.raises(SchemaError, match="has no tables yet"):
        await restored_into(bare_url, *files)


async def test_control_is_refused_where_it_does_not_belong(
    empty_url: EmptyUrl, bare_sqlite_url: str, tmp_path: Path
) -> None:
    """Neither as a compartment's data, nor over what is there, nor anything else as control."""
    data, keys = await _compartment(empty_url, tmp_path)
    control = tmp_path / "control"
    async with opened(bare_sqlite_url) as database:
        await schema.upgrade(database, Schema.CONTROL)
        with pytest.raises(BackupError, match="is a backup of data, and control is wanted here"):
            await restore_control(database, data)
        await put(database, t.chain, sequence=1, kind="edition")
        await back_up(database, {Contents.CONTROL: control})
        with pytest.raises(BackupError, match="isn't empty: there are rows in chain"):
            await restore_control(database, control)
    with pytest.raises(BackupError, match="is a backup of control, and data is wanted here"):
        await restored_into(await empty_url("sqlite"), control, keys)


async def test_what_was_refused_is_restored_from_a_good_copy(
    empty_url: EmptyUrl, tmp_path: Path
) -> None:
    """A refusal leaves the database as fit as it was."""
    data, keys = await _compartment(empty_url, tmp_path)
    whole = data.read_bytes()
    flip(data, -1)
    target = await empty_url("postgresql")
    with pytest.raises(BackupError, match="damaged"):
        await restored_into(target, data, keys)
    data.write_bytes(whole)
    assert (await restored_into(target, data, keys)).rows["records"] == 7
    async with opened(target) as database:
        assert (await rows(database, t.compartment))[0].uuid == UUID
