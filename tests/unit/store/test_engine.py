"""Connecting."""

import threading
from pathlib import Path

import pytest

from vault.errors import VaultError
from vault.store import schema
from vault.store.engine import connect
from vault.store.schema import Schema


async def test_a_connection_that_fails_leaves_no_thread(tmp_path: Path) -> None:
    """One that outlives the event loop prints a traceback when the process is long done."""
    before = threading.enumerate()
    database = connect(f"sqlite+aiosqlite:///{tmp_path}/nowhere/accounts.db")
    for _ in range(20):
        with pytest.raises(VaultError):
            await schema.check(database, Schema.COMPARTMENT)
        left = [t for t in threading.enumerate() if t not in before and "asyncio" not in t.name]
        assert not left
    await database.close()
