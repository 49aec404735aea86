"""Rotations: an officer begins one, workers carry it out beside the traffic.

    transit     all keys of the ring and the canary are wrapped anew (the officer rotated before)
    kek         a new KEK writes at once; data keys are wrapped anew under it
    data-key    each record gets a new data key and is sealed anew under it
    index       a new index key; the index is built under it beside the old one, then they switch
    audit       a new audit key seals from now on; old events stay as they are
    epoch       like kek, and the old KEKs are destroyed: see `epoch`
    superseded  data keys that no record names any more are dropped

Beginning is one transaction with its event, and with the new key where there is one. One rotation
of a level (and field) runs at a time: whoever begins another gets that one.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from enum import StrEnum

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState
from vault.service.call import Visit
from vault.service.compartment import ServedCompartment
from vault.service.drawing import OvertakenError, check_drawn, draw, until_written
from vault.service.key_rows import row_of
from vault.service.keys import officer_event
from vault.store import keys, rotation_rows, rotations
from vault.store import tables as t
from vault.store.jobs import Transaction
from vault.store.lookups import KeyRow
from vault.store.rotations import DONE, RUNNING, RotationRow

log = logging.getLogger("piivault.keys")


class Level(StrEnum):
    """What is rotated."""

    TRANSIT = "transit"
    KEK = "kek"
    DATA_KEY = "data-key"
    INDEX = "index"
    AUDIT = "audit"
    EPOCH = "epoch"
    SUPERSEDED = "superseded"


KIND_OF = {
    Level.KEK: KeyKind.KEK,
    Level.EPOCH: KeyKind.KEK,
    Level.INDEX: KeyKind.INDEX,
    Level.AUDIT: KeyKind.AUDIT,
}

Also = Callable[[Transaction, RotationRow], Awaitable[None]]


async def begin(
    served: ServedCompartment,
    visit: Visit,
    level: Level,
    uid: int = 0,
    also: Also | None = None,
) -> RotationRow:
    """Begin a rotation, or return the one of its level and field that runs. Raises VaultError.

    `also` is done in the transaction of a rotation that begins.
    """
    row = await until_written(lambda: _begin(served, visit, level, uid, also))
    log.warning("%s: rotating %s by %s", served.name, level, visit.officer)
    await served.look_at_keys()
    served.rotation_wanted.set()
    return row


async def _begin(
    served: ServedCompartment, visit: Visit, level: Level, uid: int, also: Also | None
) -> RotationRow:
    await served.look_at_keys()
    key = await _new_key(served, level, uid)
    total = await _total(served, level, key.version if key else 0)

    async def change(transaction: Transaction) -> RotationRow:
        found = await rotations.running(transaction, level, uid)
        if found is not None:
            return found
        row = await _begun(transaction, level, uid, key, total)
        await rotations.add(transaction, row)
        if also:
            await also(transaction, row)
        if key is not None:
            await keys.next_epoch(transaction)
        return row

    def describe(outcome: RotationRow | VaultError) -> Event:
        event = officer_event(visit, f"keys.rotate/{level}" + (f"/{uid}" if uid else ""))
        if isinstance(outcome, VaultError):
            overtaken = isinstance(outcome, OvertakenError)  # nobody's fault
            return event.refused(audit.FAILED if overtaken else audit.DENIED, outcome.reason)
        to = f"/{outcome.to_version}" if outcome.to_version else ""
        return replace(event, operation=event.operation + to)

    return await served.committer.alter(change, describe)


async def rotation_of(served: ServedCompartment, id_: bytes) -> RotationRow:
    """Return a rotation; raise VaultError(MALFORMED_REQUEST) if there is none of this id."""
    found = await rotations.rotation(served.database, id_)
    if found is None:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "There is no rotation of this id here. List them.",
            violations={"id": "is unknown"},
        )
    return found


async def all_rotations(served: ServedCompartment) -> list[RotationRow]:
    """Return all rotations, the newest first. Raises VaultError(STORAGE_UNAVAILABLE)."""
    return await rotations.rotations(served.database)


async def _new_key(served: ServedCompartment, level: Level, uid: int) -> KeyRow | None:
    """Draw the next version of what is rotated, where there is a key of its own."""
    kind = KIND_OF.get(level)
    if kind is None:
        return None
    versions = served.keyring.versions(kind, uid)
    if not versions:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "This field has no index key: nothing was ever indexed.",
            violations={"field": "has no index"},
        )
    newest = versions[-1]
    if newest.state == KeyState.BUILDING:  # a build that failed goes on with its key
        return row_of(newest)
    name = KeyName(kind, newest.name.version + 1, uid)
    drawn = await draw(served.keyring, served.lookups, name)
    state = KeyState.BUILDING if level is Level.INDEX else KeyState.ACTIVE
    return row_of(replace(drawn, state=state))


async def _begun(
    transaction: Transaction, level: Level, uid: int, key: KeyRow | None, total: int
) -> RotationRow:
    """Write the new key, and retire the ones before it."""
    old = 0
    if key is not None:
        versions = await keys.versions(transaction, key.kind, key.field)
        old = max(v.version for v in versions)
        if old == key.version:  # being built
            old -= 1
        else:
            ring = await rotations.all_keys(transaction)
            check_drawn(key, ring, await rotations.canary(transaction))
            if not await rotations.add_key(transaction, key):
                raise VaultError(Reason.STALE_ETAG, "Another officer rotated just now. Try again.")
        if level is not Level.INDEX:
            await rotations.set_states(
                transaction,
                *(key.kind, key.field, KeyState.ACTIVE, KeyState.DECRYPT_ONLY),
                below=key.version,
            )
    at = int(time.time())
    done = level is Level.AUDIT
    return RotationRow(
        id=os.urandom(16),
        level=level,
        field=uid,
        state=DONE if done else RUNNING,
        from_version=old,
        to_version=key.version if key else 0,
        done=0,
        total=total,
        cursor=b"",
        error="",
        started=at,
        ended=at if done else 0,
    )


async def _total(served: ServedCompartment, level: Level, to_version: int) -> int:
    """Count what there is to do, before anything is locked: it may take a while."""
    match level:
        case Level.KEK | Level.EPOCH:
            return await rotation_rows.count_left(served.database, to_version)
        case Level.TRANSIT:
            return sum(1 for row in served.keyring.rows if row.wrapped) + 1
        case Level.AUDIT:
            return 0
    return await rotation_rows.count_rows(served.database, t.records)
