"""Closing an epoch: so that what was erased before is unreadable in every backup too.

    1  workers     a new KEK; live data keys are wrapped anew under it; older KEKs are destroyed
    2  officer     a new version of the Transit key
    3  workers     every key and the canary are wrapped anew under it (rotation `transit`)
    4  operators   a new backup of the keys: older ones are unreadable from the next step on
    5  officer     older versions of the Transit key are trimmed away
    6  worker      it is noted which erasures that covers

An old backup of keys holds the data keys of who was erased since. They are wrapped under KEKs, and
these under versions of the Transit key that no key server has any more: but for its snapshots,
which are kept as long as `key_server.snapshot_retention_days` says.
"""

import time
from dataclasses import dataclass, replace

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, transit_version
from vault.service.call import Visit
from vault.service.compartment import ServedCompartment
from vault.service.keys import officer_event
from vault.service.rotation import Level, begin
from vault.service.rotation_keys import all_destroyed
from vault.store import epochs, rotation_rows, rotations
from vault.store import tables as t
from vault.store.epochs import EpochRow
from vault.store.jobs import Transaction
from vault.store.rotations import DONE, RUNNING, RotationRow

_DAY = 24 * 3600  # seconds


@dataclass(frozen=True, slots=True)
class Closing:
    """An epoch that is being closed, or was just now.

    `transit_version` is the newest version of the Transit key that keys were wrapped under when it
    began: it and all before it must go.
    """

    number: int
    rotation: RotationRow
    transit_version: int


@dataclass(frozen=True, slots=True)
class Erasures:
    """What became of erased records, counted by tombstones. Times are in seconds since 1970.

    `unrecoverable` is a lower bound: who came back lifted a tombstone that nobody can date.
    """

    shredded: int
    unrecoverable: int
    snapshot_retention_days: int | None
    epochs_closed: int
    last_closed_at: int


async def begin_closing(served: ServedCompartment, visit: Visit) -> Closing:
    """Begin to close the epoch, or return how far that is. Raises VaultError."""

    async def note(transaction: Transaction, _: RotationRow) -> None:
        last = await epochs.last_epoch(transaction)
        if last is not None and not last.closed_at:
            return  # its rotation failed, or was lost in a restore: another goes on with it
        row = EpochRow(
            number=last.number + 1 if last else 1,
            closed_at=0,
            tombstones=await rotation_rows.count(transaction, t.tombstones),
            transit_version=await _newest_transit_version(transaction),
        )
        await epochs.add_epoch(transaction, row)

    rotation = await begin(served, visit, Level.EPOCH, also=note)
    number, version = 0, 0
    for row in await epochs.epochs(served.database):
        if not row.closed_at:
            number, version = row.number, row.transit_version
    return Closing(number, rotation, version)


def awaits_officer(served: ServedCompartment, row: RotationRow) -> bool:
    """Tell whether workers have done their part of closing an epoch, and the officer's is left."""
    running = row.level == Level.EPOCH and row.state == RUNNING
    return running and all_destroyed(served, row.to_version)


async def end_closing(served: ServedCompartment, visit: Visit, trimmed_below: int) -> Closing:
    """Note that an epoch is closed: the key server has no version below this one any more.

    If another officer, or the same one before, noted that of the last epoch, it is as they noted.
    Raises VaultError(MALFORMED_REQUEST) if it can't be: if none is being closed, keys are left
    that an older version wraps, or a version from before is not below.
    """
    at = int(time.time())

    async def change(transaction: Transaction) -> Closing:
        row = await rotations.running(transaction, Level.EPOCH, 0)
        epoch = await epochs.last_epoch(transaction)
        if row is None or epoch is None or epoch.closed_at:
            return await _closed(transaction, epoch, trimmed_below)
        wrapped = await _transit_versions(transaction)
        below = await rotation_rows.count_data_keys_below(transaction, row.to_version)
        if below or not all_destroyed(served, row.to_version):
            raise _refused("Workers haven't done their part yet: see the rotation.")
        if trimmed_below <= epoch.transit_version or min(wrapped) < trimmed_below:
            raise _refused(
                "Keys are still wrapped under an older version of the Transit key. Rotate it, and "
                "have all keys wrapped anew; then trim."
            )
        await epochs.close_epoch(transaction, epoch.number, at, trimmed_below)
        await rotations.end(transaction, row, state=DONE, error="", ended=at)
        ended = replace(row, state=DONE, error="", ended=at)
        return Closing(epoch.number, ended, epoch.transit_version)

    def describe(outcome: Closing | VaultError) -> Event:
        if isinstance(outcome, VaultError):
            event = officer_event(visit, "keys.close-epoch")
            return event.refused(audit.DENIED, outcome.reason)
        return officer_event(visit, f"keys.close-epoch/{outcome.number}")

    await served.look_at_keys()
    return await served.committer.alter(change, describe)


async def _closed(transaction: Transaction, epoch: EpochRow | None, trimmed_below: int) -> Closing:
    """Return the last epoch, if it is closed and its versions are gone."""
    row = await rotations.done_last(transaction, Level.EPOCH)
    if row is None or epoch is None or trimmed_below < epoch.transit_version:
        raise _refused("No epoch is being closed here.")
    return Closing(epoch.number, row, epoch.transit_version)


async def erasures(served: ServedCompartment) -> Erasures:
    """Count erased records by whether anybody could still read them. Raises VaultError."""
    all_ = await rotation_rows.count_rows(served.database, t.tombstones)
    closed = [row for row in await epochs.epochs(served.database) if row.closed_at]
    days = served.snapshot_retention_days
    now = int(time.time())
    gone = [r.tombstones for r in closed if days is not None and r.closed_at + days * _DAY <= now]
    unrecoverable = min(max(gone, default=0), all_)
    return Erasures(
        all_ - unrecoverable,
        unrecoverable,
        days,
        len(closed),
        max((row.closed_at for row in closed), default=0),
    )


async def _transit_versions(transaction: Transaction) -> list[int]:
    """Return under which versions of the Transit key the canary and the keys are wrapped."""
    rows = await rotations.all_keys(transaction)
    wrapped = [row.wrapped for row in rows if row.kind != KeyKind.AUDIT and row.wrapped]
    return [transit_version(text) for text in (await rotations.canary(transaction), *wrapped)]


async def _newest_transit_version(transaction: Transaction) -> int:
    return max(await _transit_versions(transaction))


def _refused(message: str) -> VaultError:
    return VaultError(Reason.MALFORMED_REQUEST, message)
