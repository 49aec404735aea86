"""Schema versions: migrations make the tables, and no other revision is served."""

from collections.abc import AsyncIterator

import pytest

from tests.database import execute, put, rows
from vault.errors import Reason, VaultError
from vault.store import schema
from vault.store import tables as t
from vault.store.engine import Database, connect
from vault.store.rights import PRIVILEGES, Rights
from vault.store.schema import Schema, SchemaError

both_kinds = pytest.mark.parametrize("kind", Schema, ids=lambda kind: kind.value)


@pytest.fixture
async def bare(bare_url: str) -> AsyncIterator[Database]:
    opened = connect(bare_url)
    yield opened
    await opened.close()


@both_kinds
async def test_migrations_make_just_the_tables_of_this_release(
    bare: Database, kind: Schema
) -> None:
    await schema.upgrade(bare, kind)
    await schema.check(bare, kind)
    assert await schema.differences(bare, kind) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE records ADD COLUMN first_name TEXT",
        "ALTER TABLE records DROP COLUMN sealed",
        "DROP TABLE data_keys",
        "DROP INDEX audit_token",
        "CREATE TABLE addresses (id INTEGER)",
    ],
    ids=["a column more", "a column less", "a table less", "an index less", "a table more"],
)
async def test_any_difference_is_seen(bare: Database, change: str) -> None:
    await schema.upgrade(bare, Schema.COMPARTMENT)
    await execute(bare, change)
    assert await schema.differences(bare, Schema.COMPARTMENT)


async def test_an_upgrade_may_be_repeated_and_keeps_what_is_there(bare: Database) -> None:
    await schema.upgrade(bare, Schema.COMPARTMENT)
    await put(bare, t.records, pseudonym=b"A", sealed=b"kept")
    await schema.upgrade(bare, Schema.COMPARTMENT)
    assert [row.sealed for row in await rows(bare, t.records)] == [b"kept"]


async def test_a_database_without_tables_is_refused(bare: Database) -> None:
    with pytest.raises(SchemaError, match="no tables yet"):
        await schema.check(bare, Schema.COMPARTMENT)


async def test_an_unknown_revision_is_refused_and_named(bare: Database) -> None:
    await schema.upgrade(bare, Schema.COMPARTMENT)
    await execute(bare, "UPDATE alembic_version SET version_num = 'c9999'")
    with pytest.raises(SchemaError, match=r"at revision c9999; this release knows c\d{4}"):
        await schema.check(bare, Schema.COMPARTMENT)


async def test_a_control_database_is_no_compartment(bare: Database) -> None:
    await schema.upgrade(bare, Schema.CONTROL)
    with pytest.raises(SchemaError, match="at revision k"):
        await schema.check(bare, Schema.COMPARTMENT)


async def test_a_database_that_is_not_there_is_unavailable() -> None:
    absent = connect("postgresql+asyncpg://nobody@/nothing?host=/nowhere")
    with pytest.raises(VaultError) as refused:
        await schema.check(absent, Schema.COMPARTMENT)
    await absent.close()
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE


def test_every_table_is_thought_of_in_a_workers_rights() -> None:
    """A new table gets its rights on purpose, or is named here as none of a worker's business."""
    thought_of = {*PRIVILEGES[Rights.WORKER], t.checkpoints}
    assert thought_of == set(t.COMPARTMENT.tables.values())
    assert set(PRIVILEGES[Rights.CONTROL]) == set(t.CONTROL.tables.values())
    brokers = {*PRIVILEGES[Rights.BROKER], *PRIVILEGES[Rights.BROKERS_AUDITOR]}
    assert brokers == set(t.BROKER.tables.values())
