"""The sweeper: what no purpose may use any more is erased (clause 2.4 c; retention per purpose).

Expired data is denied at once, whenever the sweeper comes; it only sees to it that data is gone.
It looks at a page of records at a time in the order of their keys, with a cap a run, by the
database's clock; it notes where it stopped, so that it goes on there after a crash; and it changes
records by compare-and-swap like everybody else, so that it blocks no reader.
"""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from vault.audit import event as audit
from vault.audit.event import Event
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address, SealedRecord, seal_record
from vault.errors import LOST, Reason, VaultError
from vault.policy import Edition, due
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.consents import given, moment
from vault.service.keep import due_of
from vault.service.opened import OpenedRecord
from vault.service.requests import look_over
from vault.store import changes
from vault.store.jobs import KeysChangedError, Transaction

log = logging.getLogger("piivault.sweep")

SERVICE = "piivault"  # whose doing it is, in the trail
_PAGE = 100
_DAY = 24 * 3600
_REMEMBERED = 2  # days that request ids are remembered


@dataclass(slots=True)
class Swept:
    """What one run did."""

    looked_at: int = 0
    erased: int = 0
    trimmed: int = 0
    damaged: int = 0
    suspended: int = 0  # left alone: the security team stopped a key that they need
    requests_overdue: int | None = None  # of subjects; counted by a run that came to the end


async def sweep(
    served: ServedCompartment, state: Callable[[], PolicyState], most: int = 10_000
) -> Swept:
    """Look at up to `most` records, from where the last run stopped. Raises VaultError."""
    swept = Swept()
    identity = await served.lookups.identity()
    cursor = identity.sweep_cursor if identity else b""
    while swept.looked_at < most:
        now = await served.lookups.now()
        page = await served.lookups.page(cursor, min(_PAGE, most - swept.looked_at))
        for pseudonym in page:
            await _look_at(served, state(), Address(served.uuid, pseudonym), now, swept)
        swept.looked_at += len(page)
        cursor = page[-1] if page else b""  # at the end: the next run begins anew
        await served.lookups.swept(cursor, int(now.timestamp()) // _DAY - _REMEMBERED)
        if not page:
            swept.requests_overdue = await look_over(served)
            break
    await served.lookups.empty_log()
    if swept.erased or swept.trimmed or swept.damaged or swept.suspended:
        log.log(
            logging.WARNING if swept.suspended else logging.INFO,
            "%s: of %d records %d erased, %d trimmed, %d damaged, %d left: a key is suspended",
            *(served.name, swept.looked_at, swept.erased, swept.trimmed, swept.damaged),
            swept.suspended,
        )
    return swept


@dataclass(slots=True)
class Counted:
    """How many records there are, and how many fields would fall due, by name."""

    records: int = 0
    fields: dict[str, int] = field(default_factory=dict)


async def count_due(served: ServedCompartment, policy: PolicyState, then: Edition) -> Counted:
    """Count what an edition would have erased, if it were in force now. Changes nothing.

    Raises VaultError.
    """
    counted, cursor = Counted(), b""
    names = {f.uid: f.name for f in policy.current.compartments[served.name].fields.values()}
    ledger = replace(policy.ledger, editions={**policy.editions, then.number: then})
    future = PolicyState(then, ledger)
    while page := await served.lookups.page(cursor, _PAGE):
        for pseudonym in page:
            record = await served.records.open_or_none(Address(served.uuid, pseudonym))
            if record is not None:
                now = max(await served.lookups.now(), then.in_force)
                for uid in overdue(served, future, record, now):
                    name = names.get(uid, str(uid))
                    counted.fields[name] = counted.fields.get(name, 0) + 1
        counted.records += len(page)
        cursor = page[-1]
    return counted


async def _look_at(
    served: ServedCompartment, policy: PolicyState, address: Address, now: datetime, swept: Swept
) -> None:
    """Look at one record, and count what became of it. Raises VaultError."""
    try:
        await _expire(served, policy, address, now, swept)
    except DamagedError:  # a field that would be kept
        swept.damaged += 1
    except KeysChangedError:
        pass  # the next run looks again, as it does where the record changed
    except VaultError as e:
        if e.reason in LOST:
            swept.damaged += 1
        elif e.reason is Reason.KEYS_SUSPENDED and not served.keyring.suspended:
            swept.suspended += 1
        elif e.reason is not Reason.STALE_ETAG:
            raise


async def _expire(
    served: ServedCompartment, policy: PolicyState, address: Address, now: datetime, swept: Swept
) -> None:
    epoch = served.epoch
    record = await served.records.open_or_none(address)
    if record is None:
        return
    expired = overdue(served, policy, record, now)
    if not expired:
        return
    everything = len(expired) == len(record.about.fields)
    await _remove(served, policy, record, expired, epoch, everything=everything)
    swept.erased += everything
    swept.trimmed += not everything


def overdue(
    served: ServedCompartment, policy: PolicyState, record: OpenedRecord, now: datetime
) -> frozenset[int]:
    """Return the uids of the fields that no purpose may use any more."""
    if record.about.kept:
        return frozenset(uid for uid, end in due_of(record.about).items() if end <= now)
    moments = due(
        policy.editions,
        policy.current,
        served.name,
        given(record.about),
        moment(record.about.registered_at),
        [item.uid for item in record.about.fields],
    )
    return frozenset(uid for uid, end in moments.items() if end <= now)


async def _remove(
    served: ServedCompartment,
    policy: PolicyState,
    record: OpenedRecord,
    expired: Collection[int],
    epoch: int,
    *,
    everything: bool,
) -> None:
    pseudonym, version = record.address.pseudonym, record.row.row_version
    uids = [item.uid for item in record.about.fields if item.uid not in expired]
    kept = record.values(uids).values()  # what goes needn't open
    sealed = seal_record(record.address, record.data_key, record.about, kept)
    # What is left of an erased record has its tombstone elsewhere.
    tombstone = None if record.about.kept else await served.tombstone(record.address)

    async def change(transaction: Transaction) -> None:
        await changes.replace_record(
            transaction, pseudonym, version, sealed.row_version, sealed.sealed
        )
        await changes.replace_index_rows(transaction, pseudonym, expired, ())
        if everything:
            await changes.erase_record(transaction, pseudonym, tombstone)

    def describe(outcome: VaultError | None) -> Event:
        event = _event(policy, record, expired, None if everything else sealed)
        event = event.replacing(record.about.audit_salt, record.row.digest)
        return event if outcome is None else event.refused(audit.FAILED, outcome.reason)

    await served.committer.change(change, describe, epoch)


def _event(
    policy: PolicyState, record: OpenedRecord, expired: Collection[int], sealed: SealedRecord | None
) -> Event:
    event = Event(
        edition=policy.current.number,
        service=SERVICE,
        owner="",
        purpose="",
        operation="expire",
        request_id="",
        outcome=audit.ALLOWED,
        uses=tuple((uid, 0) for uid in sorted(expired)),
        row_digest=sealed.digest if sealed else b"",
    )
    return event.of_subject(record.about.audit_salt)
