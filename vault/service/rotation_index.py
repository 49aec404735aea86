"""Rotation of an index key: the index is built under the new key beside the old one.

building    from the epoch on in which the key was written, every write makes a row in both; so
            one look at each record is enough. Look-ups go by the old one, which is whole;
            uniqueness holds in both
switched    in one transaction with a new epoch, look-ups go by the new one, and writes make rows
            in it alone. A look-up under way sees the epoch in the same statement and looks anew
dropped     rows of the old one are deleted, then its key
"""

import asyncio
from collections.abc import AsyncIterator, Sequence

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, Value
from vault.errors import LOST, Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord
from vault.service.rotation_steps import Did, Step, Work, busy
from vault.service.values import index_row
from vault.store import keys, rotation_rows, rotations
from vault.store.jobs import KeysChangedError, Transaction
from vault.store.rotation_rows import in_epoch

_PAGE, _DROPPED = 100, 500  # records, index rows
_TRIES = 20  # of a page, while others keep changing its records

_Read = tuple[OpenedRecord, Value | None]  # a record, and the indexed field's value if it has one


async def index(work: Work) -> AsyncIterator[Step]:
    """Build, switch, drop."""
    served, row = work.served, work.row
    while work.runs and _is_building(served, row.field, row.to_version):
        page = await served.lookups.page(work.row.cursor, _PAGE)
        if not page:
            await _switch(work)
            yield Step(Did.SWITCHED)
            break
        unreadable = await _build(work, page)
        yield await work.advance(page[-1], len(page), unreadable=unreadable)
    while dropped := await rotation_rows.drop_index_rows(
        served.database, row.field, row.to_version, _DROPPED
    ):
        yield Step(Did.DROPPED, dropped)
    older = [k for k in served.keyring.versions(KeyKind.INDEX, row.field) if k.wrapped]
    if any(key.name.version < row.to_version for key in older):
        await _destroy_older(work)
        yield Step(Did.DESTROYED)
    if work.runs:
        yield await work.end()


async def _build(work: Work, page: Sequence[bytes]) -> int:
    """Write the rows of some records in the new index; return how many can't be opened."""
    unreadable, left = 0, page
    for _ in range(_TRIES):
        epoch = work.served.epoch
        opened = await asyncio.gather(*(_open(work, raw) for raw in left))
        unreadable += opened.count(None)
        records = [record for found in opened if found for record in found]
        try:
            left = await _add_rows(work, records, epoch)
        except KeysChangedError:
            await work.served.look_at_keys()
            left = [record.address.pseudonym for record, _ in records]
        if not left:
            return unreadable
    raise busy()


async def _open(work: Work, pseudonym: bytes) -> Sequence[_Read] | None:
    """Return the record; nothing if it was erased meanwhile, None if it can't be opened."""
    uid = work.row.field
    try:
        record = await work.served.records.open_or_none(Address(work.served.uuid, pseudonym))
        if record is None or record.about.kept:  # what the law has kept isn't found by
            return []
        return [(record, record.values([uid]).get(uid))]
    except DamagedError:
        return None
    except VaultError as e:
        if e.reason not in LOST:
            raise
        return None


async def _add_rows(work: Work, records: Sequence[_Read], epoch: int) -> list[bytes]:
    """Write the rows of records that are as they were read; return the pseudonyms of the others."""
    served, edition = work.served, work.policy().current
    name = KeyName(KeyKind.INDEX, work.row.to_version, work.row.field)
    field = edition.compartment(served.name).by_uid.get(name.field)
    if field is None or field.index is None:
        raise VaultError(Reason.UNKNOWN_FIELD, "The edition in force doesn't index this field.")
    wanted = []
    for record, value in records:
        if value is not None:
            wanted.append((record, await index_row(served, edition, field, value.value, name)))
    changed = []
    async with in_epoch(served.database, epoch) as transaction:
        for record, row in wanted:
            pseudonym = record.address.pseudonym
            if not await rotation_rows.has_version(transaction, pseudonym, record.row.row_version):
                changed.append(pseudonym)
                continue
            if row is not None:
                await rotation_rows.add_index_row(transaction, pseudonym, row)
    return changed


def _is_building(served: ServedCompartment, uid: int, version: int) -> bool:
    versions = served.keyring.versions(KeyKind.INDEX, uid)
    return any(k.name.version == version and k.state == KeyState.BUILDING for k in versions)


async def _switch(work: Work) -> None:
    uid, to = work.row.field, work.row.to_version

    async def change(transaction: Transaction) -> None:
        for of, becomes in (
            (KeyState.ACTIVE, KeyState.DECRYPT_ONLY),
            (KeyState.BUILDING, KeyState.ACTIVE),
        ):
            below = to + (of is KeyState.BUILDING)
            await rotations.set_states(transaction, KeyKind.INDEX, uid, of, becomes, below)
        await keys.next_epoch(transaction)

    await work.alter(f"keys.switch/index/{uid}/{to}", change)


async def _destroy_older(work: Work) -> None:
    uid, below = work.row.field, work.row.to_version

    async def change(transaction: Transaction) -> None:
        for key in await keys.versions(transaction, KeyKind.INDEX, uid):
            if key.version < below and key.state != KeyState.DESTROYED:
                await rotations.destroy_key(transaction, key)
        await keys.next_epoch(transaction)

    await work.alter(f"keys.destroy/index/{uid}/below/{below}", change)
