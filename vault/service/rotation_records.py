"""Rotation of data keys: every record is sealed anew, and later the keys from before are dropped.

The data keys from before stay: a backup of data from before names them, and is restored with the
newest keys. They are wrapped anew with the others, and die with their record's erasure.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from vault.audit import event as audit
from vault.audit.event import Event
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, DataKey, seal_record
from vault.errors import LOST, Reason, VaultError, damaged
from vault.service.opened import OpenedRecord
from vault.service.rotation_steps import Step, Work, busy
from vault.store import changes, rotation_rows
from vault.store.jobs import KeysChangedError, Transaction
from vault.store.rotation_rows import in_epoch

_PAGE, _DROPPED = 32, 500  # records
_TRIES = 20  # of one record, while others keep changing it


async def data_keys(work: Work) -> AsyncIterator[Step]:
    """Seal every record anew under a data key of its own that is new."""
    while work.runs and (page := await work.served.lookups.page(work.row.cursor, _PAGE)):
        resealed = await asyncio.gather(*(_reseal(work, raw) for raw in page))
        yield await work.advance(page[-1], len(page), unreadable=resealed.count(False))
    if work.runs:
        yield await work.end()


async def superseded(work: Work) -> AsyncIterator[Step]:
    """Drop data keys that no record names: data backups that need them can't be restored then."""
    served = work.served
    while work.runs:
        found = await rotation_rows.named_data_keys(served.database, work.row.cursor, _DROPPED)
        if not found:
            yield await work.end()
            return
        unnamed, unreadable = [], 0
        for pseudonym, (named, ids) in found.items():
            if named in ids:
                unnamed += [(pseudonym, id_) for id_ in ids if id_ != named]
            else:
                unreadable += 1
        async with in_epoch(served.database, served.epoch) as transaction:
            await rotation_rows.drop_data_keys(transaction, unnamed)
        yield await work.advance(max(found), len(found), unreadable=unreadable)


async def _reseal(work: Work, pseudonym: bytes) -> bool:
    """Give a record a new data key; return False if it can't be opened."""
    served = work.served
    address = Address(served.uuid, pseudonym)
    async with served.writing((address,)):
        for _ in range(_TRIES):
            epoch = served.epoch
            try:
                record = await served.records.open_or_none(address)
                if record is not None:  # else erased meanwhile
                    await _swap(work, record, epoch)
                return True
            except KeysChangedError:
                await served.look_at_keys()
            except VaultError as e:
                if e.reason in LOST:
                    return False
                if e.reason is not Reason.STALE_ETAG:
                    raise
    raise busy()


async def _swap(work: Work, record: OpenedRecord, epoch: int) -> None:
    """Put the record, sealed anew, in the place of what was read, with its event."""
    address, data_key = record.address, DataKey.new()
    try:
        values = record.values().values()
    except DamagedError:
        raise damaged("A value") from None
    sealed = seal_record(address, data_key, record.about, values)
    wrapped = await work.served.wrap(address, data_key)

    async def change(transaction: Transaction) -> None:
        old = address.pseudonym, record.row.row_version
        await changes.replace_record(transaction, *old, sealed.row_version, sealed.sealed)
        await rotation_rows.add_data_key(transaction, address.pseudonym, wrapped)

    def describe(outcome: VaultError | None) -> Event:
        event = work.event("rotate").of_subject(record.about.audit_salt)
        if outcome is not None:
            return event.refused(audit.FAILED, outcome.reason)
        event = replace(event, row_digest=sealed.digest)
        return event.replacing(record.about.audit_salt, record.row.digest)

    await work.served.committer.change(change, describe, epoch)
