"""Reads that aren't coalesced, and the control chain's rows."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.database import execute, put, rows
from vault.errors import Reason, VaultError
from vault.service.drawing import check_drawn
from vault.store import schema
from vault.store import tables as t
from vault.store.control import ChainRow, ControlChain, PendingRow
from vault.store.engine import Database, connect
from vault.store.lookups import Identity, KeyRow, Lookups
from vault.store.schema import Schema

IDENTITY = Identity(b"accounts: 16 byt", 1, 0, b"", b"", "vault:v1:canary")
KEYS = [
    KeyRow("kek", 0, 1, "active", "vault:v1:kek"),
    KeyRow("audit", 0, 1, "active", "vault:v1:a"),
]


@pytest.fixture
async def lookups(database: Database) -> AsyncIterator[Lookups]:
    lookups = Lookups(database)
    yield lookups
    await lookups.close()


async def test_an_index_value_is_found_in_its_field_and_version(
    database: Database, lookups: Lookups
) -> None:
    for field, version, value, slot in [
        (4, 1, b"sought", b"B"),
        (4, 1, b"sought", b"A"),
        (4, 1, b"other", b"C"),
        (4, 2, b"sought", b"D"),
        (5, 1, b"sought", b"E"),
    ]:
        await put(
            database, t.blind_index, field=field, version=version, value=value, slot=slot,
            pseudonym=slot,
        )  # fmt: skip
    assert (await lookups.find(4, 1, b"sought", 9)).pseudonyms == [b"A", b"B"]
    assert (await lookups.find(4, 1, b"absent", 9)).pseudonyms == []


async def test_a_value_that_too_many_share_is_found_in_part(
    database: Database, lookups: Lookups
) -> None:
    for number in range(10):
        slot = number.to_bytes(4, "big")
        await put(database, t.blind_index, field=4, version=1, slot=slot, pseudonym=slot)
    assert len((await lookups.find(4, 1, b"", 9)).pseudonyms) == 9


async def test_a_tombstone_is_found(database: Database, lookups: Lookups) -> None:
    await put(database, t.tombstones, token=b"erased")
    assert await lookups.has_tombstone(b"erased")
    assert not await lookups.has_tombstone(b"never erased")


async def test_a_new_database_says_nothing_of_itself(lookups: Lookups) -> None:
    assert await lookups.identity() is None
    assert await lookups.keyring() == []


async def test_a_database_is_established_with_its_first_keys(lookups: Lookups) -> None:
    await lookups.establish(IDENTITY, KEYS)
    assert await lookups.identity() == IDENTITY
    assert sorted(await lookups.keyring(), key=lambda key: key.kind, reverse=True) == KEYS


async def test_who_comes_second_establishes_nothing(lookups: Lookups) -> None:
    """Two processes meet a new database: the keys of one of them are kept, and no mixture."""
    await lookups.establish(IDENTITY, KEYS[:1])
    other = Identity(IDENTITY.uuid, 9, 0, b"", b"", "vault:v1:other")
    await lookups.establish(other, [KeyRow("kek", 0, 1, "active", "vault:v1:lost"), KEYS[1]])
    assert await lookups.identity() == IDENTITY
    assert await lookups.keyring() == KEYS[:1]


async def test_a_key_is_added_once(lookups: Lookups) -> None:
    first = KeyRow("index", 4, 1, "active", "vault:v1:first")
    await lookups.add_key(first, check_drawn)
    await lookups.add_key(KeyRow("index", 4, 1, "active", "vault:v1:second"), check_drawn)
    await lookups.add_key(KeyRow("index", 4, 2, "active", "vault:v1:third"), check_drawn)
    found = await lookups.keyring()
    assert [(key.version, key.wrapped) for key in sorted(found, key=lambda key: key.version)] == [
        (1, "vault:v1:first"),
        (2, "vault:v1:third"),
    ]


async def test_what_was_seen_of_the_ledger_never_shrinks(lookups: Lookups) -> None:
    await lookups.establish(IDENTITY, KEYS)
    for sequence, head in [(3, b"three"), (5, b"five"), (4, b"four"), (5, b"forged")]:
        await lookups.saw_ledger(sequence, head)
    found = await lookups.identity()
    assert found is not None
    assert (found.ledger_sequence, found.ledger_head) == (5, b"five")


async def test_records_are_paged_in_the_order_of_their_key(
    database: Database, lookups: Lookups
) -> None:
    for pseudonym in (b"C", b"A", b"B"):
        await put(database, t.records, pseudonym=pseudonym)
    assert await lookups.page(b"", 2) == [b"A", b"B"]
    assert await lookups.page(b"B", 2) == [b"C"]
    assert await lookups.page(b"C", 2) == []


async def test_a_sweep_notes_how_far_it_came_and_forgets_old_requests(
    database: Database, lookups: Lookups
) -> None:
    await lookups.establish(IDENTITY, KEYS)
    for day in (19_999, 20_000):
        await put(database, t.idempotency, token=str(day).encode(), day=day)
    await lookups.swept(b"A", 20_000)
    found = await lookups.identity()
    assert found is not None
    assert found.sweep_cursor == b"A"
    assert [row.day for row in await rows(database, t.idempotency)] == [20_000]


async def test_the_database_tells_the_time_with_its_zone(lookups: Lookups) -> None:
    found = await lookups.now()
    assert found.tzinfo is not None
    assert abs(found - datetime.now(UTC)) < timedelta(minutes=5)


async def test_a_missing_table_is_an_unavailable_storage(
    database: Database, lookups: Lookups
) -> None:
    await execute(database, "ALTER TABLE blind_index RENAME TO away")
    with pytest.raises(VaultError) as refused:
        await lookups.find(4, 1, b"sought", 9)
    await execute(database, "ALTER TABLE away RENAME TO blind_index")
    assert refused.value.reason is Reason.STORAGE_UNAVAILABLE


# The control chain.


@pytest.fixture
async def control(bare_url: str) -> AsyncIterator[ControlChain]:
    database = connect(bare_url)
    await schema.upgrade(database, Schema.CONTROL)
    yield ControlChain(database)
    await database.close()


def entry(sequence: int, body: bytes = b"body") -> ChainRow:
    return ChainRow(sequence, b"previous", "edition", body, b"{}")


async def test_entries_are_read_in_order_from_a_sequence_on(control: ControlChain) -> None:
    for sequence in (1, 2, 3):
        assert await control.append(entry(sequence))
    assert await control.since(2) == [entry(2), entry(3)]
    assert await control.since(0) == [entry(1), entry(2), entry(3)]
    assert await control.since(4) == []


async def test_an_entry_is_never_replaced(control: ControlChain) -> None:
    """Who appends at an end that has moved on is told so."""
    assert await control.append(entry(1))
    assert not await control.append(entry(1, b"another"))
    assert await control.since(1) == [entry(1)]


async def test_what_waits_is_kept_in_its_latest_state(control: ControlChain) -> None:
    waiting = [PendingRow(b"statement", "edition", b"body", signed) for signed in (b"one", b"two")]
    for row in waiting:
        await control.keep_pending(row)
    assert await control.pending() == [waiting[1]]
    await control.drop_pending(b"another")
    assert await control.pending() == [waiting[1]]
    await control.drop_pending(b"statement")
    assert await control.pending() == []
