"""Changing a record: read it, edit what was read, put the result in its place.

Compare-and-swap on the row version: a change is made to the version that it was decided on, or
not at all. The request id is noted in the same transaction, so that a repetition changes nothing.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from secrets import SystemRandom

from vault.crypto.record import Address, SealedRecord, Value, seal_record
from vault.errors import Reason, VaultError
from vault.names import to_base64url
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import Attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord
from vault.service.values import check_record_size
from vault.store.changes import IndexRow, RequestMark
from vault.store.commit import Change, Transaction
from vault.store.together import Replacement

TRIES = 8
_PAUSE = 0.02  # seconds, more with each try
_DAY = 24 * 3600
_written = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Edited:
    """What a record becomes: all about it, all its values, and the index rows of some fields."""

    about: sealed_pb2.Record
    values: Mapping[int, Value]
    index_of: Collection[int] = ()  # uids whose index rows are replaced
    index_rows: Sequence[IndexRow] = ()


Edit = Callable[[OpenedRecord], Awaitable[Edited]]


async def rewrite(
    served: ServedCompartment,
    attempted: Attempt,
    address: Address,
    edit: Edit,
    mark: RequestMark | None,
    etag: str = "",
    also: Change[object] | None = None,
) -> str:
    """Change a record and return its new etag.

    `edit` is pure but for keys, and may run again if another process changed the record
    meanwhile: unless the caller gave an etag, which then is refused as stale. `also` is carried out
    in the same transaction. Writers of one
    record in this process take turns, so that nobody's withdrawal is starved by others' puts.
    Raises VaultError.
    """

    async def write() -> str:
        record = await served.open(address)
        attempted.met(record.about)
        edited = await edit(record)
        check_record_size(edited.values.values())
        sealed = seal_record(address, record.data_key, edited.about, edited.values.values())
        changed = await attempted.change(
            _swap(record, sealed, edited, mark, etag, also), sealed, record.row
        )
        return etag_of(sealed) if changed else await current_etag(served, address)

    async with served.turn(address):
        for tries in range(TRIES):
            await pause(tries)
            try:
                return await attempted.with_keys(write)
            except VaultError as e:
                if e.reason is not Reason.STALE_ETAG or etag:
                    raise
    raise VaultError(
        Reason.OVERLOADED, "Others keep changing this record. Retry.", retry_after=TRIES * _PAUSE
    )


async def pause(tries: int) -> None:
    """Wait a little before trying again, at random and longer each time; not before the first."""
    if tries:
        await asyncio.sleep(tries * _PAUSE * SystemRandom().random())


def _swap(
    record: OpenedRecord,
    sealed: SealedRecord,
    edited: Edited,
    mark: RequestMark | None,
    etag: str,
    also: Change[object] | None,
) -> Change[bool | None]:
    meant = not etag or etag == etag_of(record.row)
    replacement = Replacement(
        pseudonym=record.address.pseudonym,
        replaces=record.row.row_version if meant else None,
        by=sealed,
        mark=mark,
        index_of=edited.index_of,
        index_rows=edited.index_rows,
    )
    if also is None:
        return replacement

    async def change(transaction: Transaction) -> bool | None:
        done = await replacement(transaction)
        if done:
            await also(transaction)
        return done

    return change


async def current_etag(served: ServedCompartment, address: Address) -> str:
    """Return the etag of a record as it is now."""
    return etag_of((await served.open(address)).row)


def etag_of(row: SealedRecord) -> str:
    """Write a row version as callers see it."""
    return to_base64url(row.row_version)


async def request_mark(
    served: ServedCompartment, call: Call, operation: str, address: Address, content: object
) -> RequestMark | None:
    """Return what is remembered of a request: keyed hashes of its id and of what it asks.

    None where the caller sent no id: then no repetition can be told.
    """
    if not call.repeatable:
        return None
    asked = _written(content)
    token, content = await served.marks(
        (b"request", call.service.name.encode(), call.request_id.encode()),
        (b"asked", operation.encode(), address.pseudonym, asked.encode()),
    )
    return RequestMark(token, content, int(time.time()) // _DAY)
