"""Backups: what is in them, what isn't, and what comes back."""

import asyncio
import os
import re
import tracemalloc
from pathlib import Path
from threading import Thread

import pytest
from sqlalchemy import make_url

from tests import backups as made
from tests.backups import EmptyUrl, backed_up, opened, restored_into
from tests.database import Cluster, execute, put, rows, url_of
from vault.store import schema
from vault.store import tables as t
from vault.store.backup import SOURCES, back_up
from vault.store.backup_file import BackupError, BackupReader
from vault.store.backup_format import Contents
from vault.store.restore import restore_control
from vault.store.schema import Schema

KINDS = ["sqlite", "postgresql"]
MANY = 8_000  # records of 6 KB

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.mark.parametrize("target", KINDS)
@pytest.mark.parametrize("source", KINDS)
async def test_all_of_a_compartment_comes_back(
    empty_url: EmptyUrl, tmp_path: Path, source: str, target: str
) -> None:
    """From each kind of storage into each."""
    url = await empty_url(source)
    async with opened(url) as database:
        await made.fill(database, made.content())
        before = await made.everything(database)
    data, keys = await backed_up(url, tmp_path)
    url = await empty_url(target)
    restored = await restored_into(url, data, keys)
    async with opened(url) as database:
        assert await made.everything(database) == before
        assert await rows(database, t.idempotency) == []
        assert (await rows(database, t.compartment))[0].sweep_cursor == b""
    assert dict(restored.rows) == {name: len(some) for name, some in before.items()}
    assert (restored.erased, restored.newer) == (0, 0)


async def test_the_control_database_comes_back(bare_url: str, tmp_path: Path) -> None:
    link = {"previous": b"previous", "kind": "touch", "body": b"{}", "signatures": b""}
    async with opened(bare_url) as database:
        await schema.upgrade(database, Schema.CONTROL)
        for sequence in (2, 1, 3):
            await put(database, t.chain, sequence=sequence, **link)
        await put(database, t.approvals, statement=b"waits", kind="edition")
        before = [await rows(database, table) for table in (t.chain, t.approvals)]
        await back_up(database, {Contents.CONTROL: tmp_path / "control"})
    async with opened(url_of(tmp_path / "new.db")) as database:
        await schema.upgrade(database, Schema.CONTROL)
        restored = await restore_control(database, tmp_path / "control")
        assert [await rows(database, table) for table in (t.chain, t.approvals)] == before
    assert dict(restored.rows) == {"chain": 3, "approvals": 1}


async def test_histories_leave_no_trace(empty_url: EmptyUrl, tmp_path: Path) -> None:
    """Rows written in other orders, with others in between, on other storage: the same bytes."""
    files = []
    for seed, kind in enumerate(["sqlite", "postgresql", "sqlite", "postgresql"]):
        url = await empty_url(kind)
        async with opened(url) as database:
            await made.fill(database, made.content(40), seed)
        files.append(await backed_up(url, tmp_path, str(seed)))
    for some in zip(*files, strict=True):
        assert len({path.read_bytes() for path in some}) == 1


async def test_a_file_holds_no_more_than_is_listed(sqlite_url: str, tmp_path: Path) -> None:
    """Values, lengths, magic and header; and neither a day nor the last pseudonym swept."""
    given = made.content()
    async with opened(sqlite_url) as database:
        await made.fill(database, given)
    data, keys = await backed_up(sqlite_url, tmp_path)
    for path in (data, keys):
        with BackupReader(path) as reader:
            header = reader.header
            read = {s.layout.name: list(reader.rows(s)) for s in header.sections}
        packed = [s.layout.pack(row) for s in header.sections for row in read[s.layout.name]]
        checksums = 32 * (len(header.sections) + 2)
        length = 16 + 2 + 4 + len(header.to_json()) + sum(4 + len(p) for p in packed) + checksums
        assert path.stat().st_size == length
        assert re.search(rb"sweep|day|20\d\d-", header.to_json()) is None
        assert given[t.idempotency][0]["token"] not in path.read_bytes()
    assert data.read_bytes().count(made.pseudonym(0)) == 1 + 2 + 1  # record, index, slot
    assert keys.read_bytes().count(made.pseudonym(0)) == 1  # its data key


def test_every_table_is_thought_of() -> None:
    """A new table or column is backed up on purpose, or is named here as one that isn't."""
    kept = {
        f"{source.table.name}.{name}"
        for sources in SOURCES.values()
        for source in sources
        for name, _ in source.layout.columns
    }
    tables = (*t.COMPARTMENT.sorted_tables, *t.CONTROL.sorted_tables)
    columns = {f"{table.name}.{column.name}" for table in tables for column in table.columns}
    left_out = (t.idempotency, t.rotations)
    whole = {f"{table.name}.{column.name}" for table in left_out for column in table.columns}
    assert columns - kept == whole | {"compartment.sweep_cursor", "compartment.evicted"}


@each_kind
async def test_a_backup_is_one_moment(empty_url: EmptyUrl, tmp_path: Path, kind: str) -> None:
    """Everything is erased while the first table is written: all of it is in the files."""
    url = await empty_url(kind)
    async with opened(url) as database:
        await made.fill(database, made.content())
        before = await made.everything(database)
    erasing = Thread(target=lambda: asyncio.run(_erase_everybody(url)))

    def disturb(table: str, done: int, total: int) -> None:
        if not erasing.ident:
            erasing.start()
            erasing.join()

    data, keys = tmp_path / "data", tmp_path / "keys"
    async with opened(url) as database:
        await back_up(database, {Contents.DATA: data, Contents.KEYS: keys}, disturb)
        assert await rows(database, t.records) == []
    target = await empty_url("sqlite")
    await restored_into(target, data, keys)
    async with opened(target) as database:
        assert await made.everything(database) == before


async def _erase_everybody(url: str) -> None:
    async with opened(url) as database:
        for table in (t.blind_index, t.data_keys, t.records):
            await execute(database, f"DELETE FROM {table.name}")


@each_kind
async def test_a_database_that_nobody_served_has_no_backup(
    empty_url: EmptyUrl, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(BackupError, match="nothing to back up"):
        await backed_up(await empty_url(kind), tmp_path)
    assert not {name for name in os.listdir(tmp_path) if name.startswith("accounts")}


WITHHELD = {
    "a table": "REVOKE SELECT ON audit FROM {role}",
    "rows of a table": "ALTER TABLE keyring ENABLE ROW LEVEL SECURITY",
}


@pytest.mark.parametrize("statement", WITHHELD.values(), ids=WITHHELD)
async def test_a_login_that_may_not_read_everything_is_told_who_may(
    bare_postgres_url: str, stranger_url: str, tmp_path: Path, statement: str
) -> None:
    """Nothing is left out in silence."""
    role = make_url(stranger_url).username
    async with opened(bare_postgres_url) as database:
        await schema.upgrade(database, Schema.COMPARTMENT)
        await made.fill(database, made.content())
        await execute(database, f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
        await backed_up(stranger_url, tmp_path, "whole")
        await execute(database, statement.format(role=role))
    with pytest.raises(BackupError, match="Use that of the tables' owner: --owner"):
        await backed_up(stranger_url, tmp_path)
    assert not {name for name in os.listdir(tmp_path) if name.startswith("accounts")}


@pytest.fixture
def stranger_url(cluster: Cluster, bare_postgres_url: str) -> str:
    """A login that may enter the database, and no more."""
    return cluster.create_role(bare_postgres_url)


GENERATED = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT {many}) "
    "INSERT INTO records SELECT randomblob(32), randomblob(16), randomblob(6000) FROM n",
    "postgresql": "INSERT INTO records SELECT sha256(int4send(i)), 'version', "
    "decode(repeat('ab', 6000), 'hex') FROM generate_series(1, {many}) i",
}
SEALED = {
    "sqlite": "UPDATE records SET "
    "sealed = CAST(x'010100' || substr(pseudonym, 1, 8) || sealed AS BLOB)",
    "postgresql": "UPDATE records SET sealed = '\\x010100' || substr(pseudonym, 1, 8) || sealed",
}


@each_kind
async def test_memory_holds_some_rows_and_never_all(
    empty_url: EmptyUrl, tmp_path: Path, kind: str
) -> None:
    url = await empty_url(kind)
    async with opened(url) as database:
        await made.fill(database, made.content(0))
        await execute(database, GENERATED[kind].format(many=MANY))
        await execute(database, SEALED[kind])
        keys = "INSERT INTO data_keys SELECT pseudonym, substr(pseudonym, 1, 8), 1, pseudonym"
        await execute(database, f"{keys} FROM records")
    tracemalloc.start()
    try:
        data, keyed = await backed_up(url, tmp_path)
        restored = await restored_into(await empty_url(kind), data, keyed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert restored.rows["records"] == restored.rows["data_keys"] == MANY
    assert peak < data.stat().st_size / 4
