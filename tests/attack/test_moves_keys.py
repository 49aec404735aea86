"""The keyring, the canary and the database's own row, moved: a worker that starts then notices.

The worker that runs holds its keys in memory. So each attempt opens the compartment anew, as a
worker does when it starts, under the worker's own logins, and reads a record with it.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.attack.attempts import CONTROL, DETECTED, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.forging import flipped
from tests.attack.rows import Row, RowChange, Rows
from tests.people import Registered, raw
from tests.split import SplitHouse
from tests.wire import PATIENCE
from vault import app
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, open_fields, open_record, unwrap_data_key
from vault.errors import VaultError
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import Keyring, WrongKeyServerError
from vault.opening import StartError
from vault.service.compartment import ServedCompartment, WrongDatabaseError
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.ledger import ControlChainError
from vault.service.limits import Limits
from vault.store import tables as t
from vault.store.control import ControlChain
from vault.store.engine import connect

Twins = Mapping[str, tuple[Registered, Registered]]
Databases = Mapping[str, Rows]
FAULTS = (StartError, VaultError, WrongDatabaseError, WrongKeyServerError, ControlChainError)


def starting(house: SplitHouse, name: str, person: Registered) -> str:
    """Open a compartment anew, read a record and use every key; return what is said of a fault."""
    return asyncio.run(_fault_of(_opened(house, name), person))


def starting_whole(house: SplitHouse, name: str, person: Registered) -> str:
    """The same, with the control chain that was seen: which takes as long as the chain is."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[ServedCompartment]:
        async with app.opened(house.settings_of(f"worker-{name}"), name) as (served, _):
            yield served

    return asyncio.run(_fault_of(opened(), person))


@asynccontextmanager
async def _opened(house: SplitHouse, name: str) -> AsyncIterator[ServedCompartment]:
    section = house.settings_of(f"worker-{name}").compartments[name]
    uuid, transit = house.edition.compartment(name).uuid, house.login(f"worker-{name}")
    control = connect(house.urls[f"piivault_control_{name}"])
    history = History(Editions(ControlChain(control), {}, PATIENCE))
    served = ServedCompartment(
        name,
        uuid,
        connect(house.urls[f"piivault_{name}"]),
        Keyring(transit, section.transit_key, section.audit_transit_key, uuid),
        {},
        history,
        Limits(1.0, 1.0),
    )
    try:
        await served.establish()
        yield served
    finally:
        await served.close()
        await control.close()


async def _fault_of(
    opened: AbstractAsyncContextManager[ServedCompartment], person: Registered
) -> str:
    try:
        async with opened as served:
            await served.records.open(Address(served.uuid, raw(person)))
            await served.mark(b"attack")
            for key in await served.lookups.keyring():
                await served.keyring.get(KeyName(KeyKind(key.kind), key.version, key.field))
            for kind in (KeyKind.KEK, KeyKind.AUDIT, KeyKind.LOOKUP):
                newest = served.keyring.latest(kind)
                if newest is None:
                    return f"no {kind} key"
                await served.keyring.get(newest)
    except FAULTS as error:
        return str(error)
    return ""


def _keys(rows: Rows) -> dict[str, Row]:
    return {f"{row['kind']} {row['field']}": row for row in rows.all(t.keyring)}


def _found_anew(rows: Rows) -> list[RowChange]:
    """Write an empty database's row and keyring: none."""
    whole: list[RowChange] = [(t.compartment, row, None) for row in rows.all(t.compartment)]
    return whole + [(t.keyring, row, None) for row in rows.all(t.keyring)]


def test_a_key_moved_within_the_keyring_is_noticed(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts
) -> None:
    """Every wrapped key in the place of every other: its context says what it is."""
    person, keys = twins["accounts"][0], _keys(rows["accounts"])
    keys = {name: keys[name] for name in ("kek 0", "lookup 0", "audit 0", "index 4", "index 5")}
    for place, target in keys.items():
        for name, source in keys.items():
            if name == place:
                continue
            moved = {**target, "wrapped": source["wrapped"]}
            with rows["accounts"].changed((t.keyring, target, moved)):
                assert starting(split_house, "accounts", person), f"{name} in the place of {place}"
            cell = f"{name} to {place}"
            attempts.record(Wall.CIPHERTEXT, "move a key of the keyring", cell, DETECTED)
        older = {**target, "version": 2}
        with rows["accounts"].changed((t.keyring, None, older)):
            assert starting(split_house, "accounts", person), f"{place} as its next version"
        cell = f"{place} as its next version"
        attempts.record(Wall.CIPHERTEXT, "move a key of the keyring", cell, DETECTED)
    assert starting(split_house, "accounts", person) == ""
    attempts.record(Wall.CIPHERTEXT, "move a key of the keyring", "put back", CONTROL)


def test_a_keyring_of_another_compartment_is_noticed(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts
) -> None:
    """Key by key, and all of it; with the database's row and the record as well."""
    attack = "move a keyring to another compartment"
    person, keys = twins["accounts"][0], _keys(rows["accounts"])
    theirs = _keys(rows["orders"])
    for name in ("kek 0", "audit 0", "lookup 0"):
        with rows["accounts"].changed((t.keyring, keys[name], theirs[name])):
            assert starting(split_house, "accounts", person), name
        attempts.record(Wall.CIPHERTEXT, attack, name, DETECTED)
    whole: list[RowChange] = [(t.keyring, row, None) for row in keys.values()]
    whole += [(t.keyring, None, row) for row in theirs.values()]
    with rows["accounts"].changed(*whole):
        assert starting(split_house, "accounts", person)
    attempts.record(Wall.CIPHERTEXT, attack, "the keyring", DETECTED)
    order, place = twins["orders"][0], {"pseudonym": raw(person)}
    for table in (t.records, t.data_keys):
        old, new = rows["accounts"].of(table, person), rows["orders"].of(table, order)
        whole.append((table, old, {**new, **place}))
    with rows["accounts"].changed(*whole):
        assert starting(split_house, "accounts", person)
    attempts.record(Wall.CIPHERTEXT, attack, "the keyring and the record", DETECTED)
    (own,), (other,) = (rows[name].all(t.compartment) for name in ("accounts", "orders"))
    with rows["accounts"].changed((t.compartment, own, None), (t.compartment, None, other), *whole):
        assert "belongs to another compartment" in starting(split_house, "accounts", person)
    attempts.record(Wall.CIPHERTEXT, attack, "and the database's row", REFUSED)
    assert starting(split_house, "accounts", person) == ""
    attempts.record(Wall.CIPHERTEXT, attack, "put back", CONTROL)


def test_a_changed_or_removed_key_is_noticed_but_for_an_index_key(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts
) -> None:
    """A field without an index key is given one: as for a field that is new."""
    person, keys = twins["accounts"][0], _keys(rows["accounts"])
    for name, row in keys.items():
        broken = row["wrapped"][:-8] + ("A" if row["wrapped"][-8] != "A" else "B")
        for what, change in {
            "changed": {**row, "wrapped": broken + row["wrapped"][-7:]},
            "emptied": {**row, "wrapped": ""},
        }.items():
            with rows["accounts"].changed((t.keyring, row, change)):
                assert starting(split_house, "accounts", person), f"{name} {what}"
            attempts.record(Wall.CIPHERTEXT, "break a key", f"{name} {what}", DETECTED)
        with rows["accounts"].changed((t.keyring, row, None)):
            fault = starting(split_house, "accounts", person)
        assert bool(fault) == (row["kind"] != "index"), name
        result = RESIDUAL if row["kind"] == "index" else DETECTED
        attempts.record(Wall.CIPHERTEXT, "break a key", f"{name} removed", result)
    assert starting(split_house, "accounts", person) == ""
    attempts.record(Wall.CIPHERTEXT, "break a key", "put back", CONTROL)


def _own_rows(own: Row, other: Row) -> dict[str, tuple[Row, str]]:
    """Write what may be done to the database's row, and what a starting worker says of it."""
    canary, mine = own["canary"], own["uuid"]
    return {
        "another's canary": ({**own, "canary": other["canary"]}, "canary"),
        "a changed canary": ({**own, "canary": canary[:-6] + canary[-6:].swapcase()}, "canary"),
        "no canary": ({**own, "canary": ""}, "canary"),
        "another's uuid": ({**own, "uuid": other["uuid"]}, "belongs to another compartment"),
        "a changed uuid": ({**own, "uuid": flipped(mine, 3)}, "belongs to another compartment"),
        "another's row": (other, "belongs to another compartment"),
        "a sight of entries that aren't": ({**own, "ledger_sequence": 10**6}, "control"),
        "a sight of another head": ({**own, "ledger_head": bytes(32)}, "control"),
    }


def test_the_databases_own_row_moved_or_changed_is_refused(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts
) -> None:
    """Before anything is served; an older sight of the control chain isn't noticed."""
    attack, person = "move a database's row", twins["accounts"][0]
    (own,), (other,) = (rows[name].all(t.compartment) for name in ("accounts", "orders"))
    for what, (row, says) in _own_rows(own, other).items():
        with rows["accounts"].changed((t.compartment, own, None), (t.compartment, None, row)):
            fault = starting_whole(split_house, "accounts", person)
        assert says in fault, f"{what}: {fault or 'started'}"
        attempts.record(Wall.CIPHERTEXT, attack, what, REFUSED)
    with rows["accounts"].changed((t.compartment, own, None)):
        assert starting(split_house, "accounts", person)
    attempts.record(Wall.CIPHERTEXT, attack, "removed", REFUSED)
    with rows["accounts"].changed(*_found_anew(rows["accounts"])):
        assert starting(split_house, "accounts", person)  # new keys open no old record
        fresh = _found_anew(rows["accounts"])
        rows["accounts"].write(fresh)
    attempts.record(Wall.CIPHERTEXT, attack, "removed with its keyring", DETECTED)
    older = {**own, "ledger_sequence": 0, "ledger_head": b""}
    with rows["accounts"].changed((t.compartment, own, older)):
        assert starting_whole(split_house, "accounts", person) == ""
    attempts.record(Wall.CIPHERTEXT, attack, "an older sight of the chain", RESIDUAL)
    assert starting(split_house, "accounts", person) == ""
    attempts.record(Wall.CIPHERTEXT, attack, "put back", CONTROL)


@pytest.mark.parametrize("compartment", ["accounts", "orders"])
def test_it_is_the_address_that_keeps_moved_bytes_shut(
    split_house: SplitHouse, rows: Databases, twins: Twins, attempts: Attempts, compartment: str
) -> None:
    """With the compartment's KEK at hand: one part of the address off, and nothing opens."""
    attack, (one, other) = "open at another address", twins[compartment]
    uuids = [split_house.edition.compartment(c).uuid for c in (compartment, "web")]
    record, wrapped = (rows[compartment].of(table, one) for table in (t.records, t.data_keys))

    async def kek_of() -> bytes:
        settings = split_house.settings_of(f"worker-{compartment}")
        async with app.opened(settings, compartment) as (served, _):
            return await served.keyring.get(KeyName(KeyKind.KEK))

    kek = asyncio.run(kek_of())
    here = Address(uuids[0], raw(one))
    away = {"pseudonym": Address(uuids[0], raw(other)), "compartment": Address(uuids[1], raw(one))}
    row = SealedRecord(record["row_version"], record["sealed"])
    data_key = unwrap_data_key(kek, here, wrapped["wrapped"])
    about = open_record(here, data_key, row)
    values = open_fields(here, data_key, row, about)
    assert {value.value for value in values.values()} == set(one.values.values())
    attempts.record(Wall.CIPHERTEXT, attack, "where it belongs", CONTROL)
    newer = SealedRecord(flipped(row.row_version, 0), row.sealed)
    for part, place in away.items():
        with pytest.raises(DamagedError):
            unwrap_data_key(kek, place, wrapped["wrapped"])
        with pytest.raises(DamagedError):
            open_record(place, data_key, row)
        with pytest.raises(DamagedError):
            open_fields(place, data_key, row, about)
        attempts.record(Wall.CIPHERTEXT, attack, part, DETECTED)
    with pytest.raises(DamagedError):
        open_record(here, data_key, newer)
    with pytest.raises(DamagedError):
        open_fields(here, data_key, newer, about)
    attempts.record(Wall.CIPHERTEXT, attack, "row version", DETECTED)
    for number, field in enumerate(about.fields):
        for what, value in (("uid", field.uid + 1), ("type", f"{field.type}x")):
            moved = type(about)()
            moved.CopyFrom(about)
            setattr(moved.fields[number], what, value)
            with pytest.raises(DamagedError):
                open_fields(here, data_key, row, moved)
            attempts.record(Wall.CIPHERTEXT, attack, f"field {what}", DETECTED)
        for source in (f for f in about.fields if f.uid != field.uid):
            moved = type(about)()
            moved.CopyFrom(about)
            moved.fields[number].envelope = source.envelope
            with pytest.raises(DamagedError):
                open_fields(here, data_key, row, moved)
            cell = f"the value of field {source.uid} as field {field.uid}"
            attempts.record(Wall.CIPHERTEXT, attack, cell, DETECTED)
