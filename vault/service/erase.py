"""Erase: the record, its data keys and its index rows go at once (clause 3.1.2).

What the law makes the operator keep is sealed anew, apart (`keep`). All of it is one transaction:
a crash leaves the record as it was, or erased. The receipt is signed after that; where it can't be,
the erasure stands, and a repetition brings the receipt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from vault.crypto.record import Address, SealedRecord
from vault.crypto.request import RequestKind, SubjectRequest
from vault.errors import UNREADABLE, Reason, VaultError
from vault.policy import kept_by_law, may_keep
from vault.service.attempt import Attempt, attempt
from vault.service.call import Call
from vault.service.changing import Planned, change, with_keys
from vault.service.compartment import ServedCompartment
from vault.service.consents import given, moment
from vault.service.keep import KeptFields, Rest, kept_records, rest_of, told
from vault.service.opened import OpenedRecord
from vault.service.receipt import receipt
from vault.service.repeating import TRIES, pause, request_mark, still_changing
from vault.service.requests import Begun, requested
from vault.store import changes
from vault.store.jobs import Change, Transaction
from vault.store.whole import Erasure


@dataclass(frozen=True, slots=True)
class Erased:
    """What a subject has in hand after an erasure: a signed receipt, and what is kept."""

    receipt: bytes = field(repr=False)
    request: SubjectRequest
    kept: Sequence[KeptFields]


async def erase(served: ServedCompartment, call: Call, capability: str) -> Erased:
    """Delete all that is held of a subject here, leaving a keyed tombstone. Raises VaultError.

    Erasing once more changes nothing and succeeds. It needs no key but the look-up key: a
    record that can't be opened, for its bytes or for its key, can be erased too; but not one whose
    KEK is suspended, where the edition has something kept that is inside.
    """
    async with attempt(served, call, "erase") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        async with (
            requested(served, call, RequestKind.ERASURE, address) as request,
            served.writing((address,)),
        ):
            await _until_unchanged(served, call, attempted, address, request)
        kept = told(served, call, await kept_records(served, call, address))
        finished = request.finished
        return Erased(await receipt(served, call, address, finished, kept), finished, kept)


async def _until_unchanged(
    served: ServedCompartment, call: Call, attempted: Attempt, address: Address, request: Begun
) -> None:
    """Erase what was read; anew where somebody changed it meanwhile."""
    for tries in range(TRIES):
        await pause(tries)
        try:
            await with_keys(served, partial(_erase, served, call, attempted, address, request))
        except VaultError as e:
            if e.reason is not Reason.STALE_ETAG:
                raise
        else:
            return
    raise still_changing()


async def _erase(
    served: ServedCompartment,
    call: Call,
    attempted: Attempt,
    address: Address,
    request: Begun,
    epoch: int,
) -> None:
    record, readable = await _read(served, call, address)
    rest = None
    if record is not None:
        attempted.met(record.about)
        rest = await _rest(served, call, record)
    tombstone = await served.tombstone(address)
    mark = await request_mark(served, call, "erase", address, None)
    keeps = may_keep(call.policy.editions, served.uuid)
    erasing = Erasure(
        pseudonym=address.pseudonym,
        compartment=served.name,
        tombstone=tombstone,
        read=record.row if record else None,
        unchanged=keeps and readable,  # what is kept must be of the very record that goes
        finish=request.finishing,
        mark=mark,
    )
    deletes: Change[SealedRecord | None] = erasing
    if request.is_done:
        deletes = _nothing  # a repetition: what was registered since stays
    elif rest:
        deletes = _keeping(erasing, rest)
    describe = partial(attempted.erased, rest.sealed if rest else None)
    await change(served, Planned(attempted, deletes, describe), epoch)


async def _read(
    served: ServedCompartment, call: Call, address: Address
) -> tuple[OpenedRecord | None, bool]:
    """Return the record, if there is one; and whether it could be read."""
    try:
        return await served.records.open_or_none(address), True
    except VaultError as e:
        keeps = may_keep(call.policy.editions, served.uuid)
        if e.reason not in UNREADABLE or (e.reason is Reason.KEYS_SUSPENDED and keeps):
            raise
        return None, False


async def _rest(served: ServedCompartment, call: Call, record: OpenedRecord) -> Rest | None:
    kept = kept_by_law(
        call.policy.editions,
        call.edition,
        served.name,
        given(record.about),
        moment(record.about.registered_at),
        [item.uid for item in record.about.fields],
        datetime.now(UTC),
    )
    return await rest_of(served, record, kept) if kept else None


async def _nothing(transaction: Transaction) -> None:
    """Change nothing."""


def _keeping(erasing: Erasure, rest: Rest) -> Change[SealedRecord | None]:
    """Erase, and write what the law has kept."""

    async def change(transaction: Transaction) -> SealedRecord | None:
        row = await erasing(transaction)
        if row is not None:
            await _keep(transaction, rest)
        return row

    return change


async def _keep(transaction: Transaction, rest: Rest) -> None:
    try:
        await changes.insert_record(
            transaction,
            rest.address.pseudonym,
            rest.sealed.row_version,
            rest.sealed.sealed,
            rest.data_key,
        )
    except VaultError:  # the place was taken meanwhile
        raise changes.stale() from None
