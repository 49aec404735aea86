"""What the law has kept of erased records: where it lies, who may read it, what a subject is told.

What is kept is a record of its own, sealed anew under a data key of its own: nothing of the erased
values is under that key, and the old one is gone. It lies under a pseudonym that the look-up key
gives from the subject's: in the tables it is a record like all others, nothing leads from one to
the other, and a subject who comes back gets their own place anew. Each erasure has a place of its
own, so that what was kept before stays as it is until it is due.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, DataKey, SealedRecord, Value, new_record, seal_record
from vault.errors import Reason, VaultError, returned
from vault.policy import Edition, FieldUse, Kept, may_keep
from vault.sealed.v1 import sealed_pb2
from vault.service.call import Call
from vault.service.compartment import ServedCompartment, now
from vault.service.consents import moment
from vault.service.opened import OpenedRecord
from vault.store.load import WrappedDataKey

MOST_KEPT = 16  # erasures of one subject of which something is kept at one time


@dataclass(frozen=True, slots=True)
class KeptFields:
    """What is kept under one purpose, as people are told: names, and the day when it is gone."""

    purpose: str
    basis: str
    fields: tuple[str, ...]
    until: date


@dataclass(frozen=True, slots=True)
class Rest:
    """What an erasure leaves of a record, ready to be written."""

    address: Address
    sealed: SealedRecord
    data_key: WrappedDataKey


async def kept_records(
    served: ServedCompartment, call: Call, address: Address
) -> Sequence[OpenedRecord]:
    """Return what is kept of a subject's erased records, the last erased in front.

    What is due is passed over: it is gone with the next sweep. Raises VaultError.
    """
    if not may_keep(call.policy.editions, served.uuid):
        return ()
    places = await _places(served, address)
    found = [returned(opened) for opened in await served.records.open_each_or_none(places)]
    # Lives follow one another; within one second, so do places.
    numbered = [(r.about.registered_at, n, r) for n, r in enumerate(found) if r is not None]
    lasting = [its for its in numbered if any(k.until > now() for k in its[2].about.kept)]
    return [record for _, _, record in sorted(lasting, key=lambda its: its[:2], reverse=True)]


async def open_own(
    served: ServedCompartment, address: Address, kept: Sequence[OpenedRecord]
) -> OpenedRecord:
    """Load a record for its subject; of an erased one, what is kept of it. Raises VaultError."""
    try:
        return await served.records.open(address)
    except VaultError as e:
        if e.reason is Reason.ERASED and kept:
            return kept[0]
        raise


async def open_each_for(
    served: ServedCompartment, call: Call, addresses: Sequence[Address], purpose: str
) -> Sequence[OpenedRecord | VaultError]:
    """Load records for a purpose together; of an erased one, what is kept for it.

    For each its record, or the VaultError by which it is refused. Raises VaultError where nothing
    can be read.
    """
    found = list(await served.records.open_each(addresses))
    erased = [n for n, its in enumerate(found) if _is_erased(its)]
    if erased:
        its = (_kept_for(served, call, addresses[n], purpose) for n in erased)
        for n, kept in zip(erased, await asyncio.gather(*its), strict=True):
            found[n] = kept or found[n]
    return found


def _is_erased(opened: OpenedRecord | VaultError) -> bool:
    return isinstance(opened, VaultError) and opened.reason is Reason.ERASED


async def _kept_for(
    served: ServedCompartment, call: Call, address: Address, purpose: str
) -> OpenedRecord | VaultError | None:
    try:
        kept = await kept_records(served, call, address)
    except VaultError as e:
        return e
    return next((record for record in kept if uids_for(record.about, purpose)), None)


def uids_for(about: sealed_pb2.Record, purpose: str) -> frozenset[int]:
    """Return which fields of an erased record are kept for a purpose, by uid."""
    its = (k for k in about.kept if k.purpose == purpose and k.until > now())
    return frozenset(uid for kept in its for uid in kept.uids)


def check_kept(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: Collection[FieldUse],
    about: sealed_pb2.Record,
) -> None:
    """Raise VaultError(ERASED) if of an erased record any of these fields isn't kept for this."""
    if not about.kept:
        return
    kept = uids_for(about, purpose)
    if not {use.field.uid for use in uses} <= kept:
        fields = _names(call.edition, served.name, kept)
        raise VaultError(
            Reason.ERASED,
            "The subject erased their data here. For this purpose the law has kept "
            f"{', '.join(fields) or 'nothing'}.",
        )


async def rest_of(
    served: ServedCompartment, record: OpenedRecord, kept: Sequence[Kept]
) -> Rest | None:
    """Seal what the law has kept anew, for a place that is free; None if nothing opens.

    Raises VaultError(OVERLOADED) if there is none: whoever erases so often waits until some is due.
    """
    values = _readable(record, {uid for its in kept for uid in its.uids})
    its = [
        sealed_pb2.Kept(
            purpose=k.purpose,
            uids=sorted(k.uids & values.keys()),
            until=int(k.until.timestamp()),
            basis=k.basis,
        )
        for k in kept
        if k.uids & values.keys()
    ]
    if not its:
        return None
    address = await _free_place(served, record.address)
    about = new_record(record.about.subject_kind, record.about.registered_at)  # its salt is new
    about.kept.extend(its)
    of = {k.purpose for k in its}
    about.consents.extend(c for c in record.about.consents if c.purpose in of)
    data_key = DataKey.new()
    sealed = seal_record(address, data_key, about, values.values())
    return Rest(address, sealed, await served.wrap(address, data_key))


def told(
    served: ServedCompartment, call: Call, records: Sequence[OpenedRecord]
) -> tuple[KeptFields, ...]:
    """Say what is kept of erased records, as subjects are told."""
    return tuple(
        KeptFields(
            kept.purpose,
            kept.basis,
            _names(call.edition, served.name, kept.uids),
            moment(kept.until).date(),
        )
        for record in records
        for kept in record.about.kept
        if kept.until > now()
    )


def due_of(about: sealed_pb2.Record) -> Mapping[int, datetime]:
    """Return for each field of an erased record, by uid, when the last purpose of it ends."""
    ends: dict[int, datetime] = {}
    for kept in about.kept:
        for uid in kept.uids:
            end = moment(kept.until)
            ends[uid] = max(end, ends.get(uid, end))
    return ends


def _readable(record: OpenedRecord, uids: Collection[int]) -> dict[int, Value]:
    """Open what can be opened: a damaged value can't be kept, and keeps nobody from erasing."""
    values: dict[int, Value] = {}
    for uid in uids:
        try:
            values |= record.values([uid])
        except DamagedError:
            continue
    return values


def _names(edition: Edition, compartment: str, uids: Collection[int]) -> tuple[str, ...]:
    """Return fields' names as the edition in force has them, in its order."""
    fields = edition.compartment(compartment).fields.values()
    return tuple(field.name for field in fields if field.uid in uids)


async def _places(served: ServedCompartment, address: Address) -> Sequence[Address]:
    of = ((b"kept", address.pseudonym, bytes((n,))) for n in range(MOST_KEPT))
    return [Address(served.uuid, mark) for mark in await served.marks(*of)]


async def _free_place(served: ServedCompartment, address: Address) -> Address:
    places = await _places(served, address)
    taken = await served.loader.load_each([place.pseudonym for place in places])
    for place in places:
        if place.pseudonym not in taken:
            return place
    raise VaultError(
        Reason.OVERLOADED,
        "The law has something kept of so many earlier erasures that there is no place for more. "
        "Retry once some of it is due, or ask the operator.",
    )
