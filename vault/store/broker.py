"""The rows that the broker's database begins with; and whose trail a database holds."""

from sqlalchemy import insert, select

from vault.store import changes
from vault.store import tables as t
from vault.store.engine import Database
from vault.store.errors import storage_errors
from vault.store.lookups import KeyRow


async def whose_trail(database: Database) -> bytes | None:
    """Return the uuid of a compartment, or of the broker's trail; None in a new database.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    with storage_errors():
        async with database.reads.connect() as connection:
            found: bytes | None = (await connection.execute(select(t.compartment.c.uuid))).scalar()
            return found


async def found_trail(database: Database, uuid: bytes, key: KeyRow) -> None:
    """Write whose trail this is and its first key, unless another broker was first.

    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    row = {column.name: getattr(key, column.name) for column in t.brokers_keyring.c}
    with storage_errors():
        async with database.writes.begin() as connection:
            if await changes.insert_if_absent(connection, t.brokers_identity, uuid=uuid):
                await connection.execute(insert(t.brokers_keyring).values(row))
