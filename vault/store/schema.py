"""Schema versions: bring a database up to this release's, and refuse any other.

Run by `piivault db upgrade` with the owner's login; a worker's own login can't change a table.
"""

from collections.abc import Sequence
from enum import Enum
from importlib.resources import files

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData

from vault.names import BROKER
from vault.store import tables
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.rights import CONTROL

_MIGRATIONS = files("vault.store") / "migrations"


class Schema(Enum):
    """The kinds of databases."""

    COMPARTMENT = "compartment"
    CONTROL = "control"
    BROKER = "broker"

    @property
    def metadata(self) -> MetaData:
        """The tables that this release's code speaks of."""
        return {
            Schema.COMPARTMENT: tables.COMPARTMENT,
            Schema.CONTROL: tables.CONTROL,
            Schema.BROKER: tables.BROKER,
        }[self]


def schema_of(name: str) -> Schema:
    """Return the kind of the database of a compartment, of "control" or of "broker"."""
    return {CONTROL: Schema.CONTROL, BROKER: Schema.BROKER}.get(name, Schema.COMPARTMENT)


class SchemaError(Exception):
    """The database isn't at the revision that this release knows."""


async def upgrade(database: Database, schema: Schema) -> None:
    """Run the migrations that are missing."""
    with storage_errors():
        async with database.writes.begin() as connection:
            await connection.run_sync(_upgrade, schema)


async def check(database: Database, schema: Schema) -> None:
    """Raise SchemaError unless the database is at this release's revision."""
    with storage_errors():
        async with database.reads.connect() as connection:
            found = await connection.run_sync(_revision)
    head = revisions(schema)[0]
    if found == head:
        return
    if found is None:
        raise SchemaError("This database has no tables yet. Run `piivault db upgrade`.")
    raise SchemaError(
        f"This database is at revision {found}; this release knows {head}. "
        "Run `piivault db upgrade`, or a release that knows it."
    )


def revisions(schema: Schema) -> Sequence[str]:
    """Return the revisions that this release knows, its own first."""
    scripts = ScriptDirectory.from_config(_config(schema)).walk_revisions()
    return [script.revision for script in scripts]


async def differences(database: Database, schema: Schema) -> list[object]:
    """Return what differs between the database and this release's tables: nothing, one hopes."""
    async with database.reads.connect() as connection:
        return await connection.run_sync(
            lambda c: list(compare_metadata(MigrationContext.configure(c), schema.metadata))
        )


def _upgrade(connection: Connection, schema: Schema) -> None:
    config = _config(schema)
    config.attributes.update(connection=connection, metadata=schema.metadata)
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _config(schema: Schema) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.set_main_option("version_locations", str(_MIGRATIONS / schema.value))
    config.set_main_option("path_separator", "os")
    return config
