"""What officers do to a compartment's keys: stop them, let them go on, have them forgotten.

Each act is one transaction with its event and a new epoch, which every worker of the compartment
polls. So it makes no difference which of them is asked, nor how often.

    operation in the trail        what was done
    keys.suspend                  the whole compartment was stopped
    keys.suspend/kek/2            version 2 of the KEK was stopped
    keys.suspend/index/12/1       version 1 of the index key of the field with uid 12
    keys.resume…                  it goes on; keys.evict: keys in clear were forgotten
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState, check_destroyed
from vault.service.call import Visit
from vault.service.compartment import ServedCompartment
from vault.store import keys as store
from vault.store.jobs import Change, Transaction
from vault.store.lookups import SERVING, SUSPENDED, KeyRow

log = logging.getLogger("piivault.keys")


@dataclass(frozen=True, slots=True)
class Acted:
    """What became of an act, and the epoch since then."""

    changed: bool
    epoch: int


async def suspend(served: ServedCompartment, visit: Visit, name: KeyName | None) -> Acted:
    """Stop a version of a key, or with None the compartment. Raises VaultError."""

    async def change(transaction: Transaction) -> bool:
        if name is None:
            return await store.set_compartment_state(transaction, SUSPENDED)
        rows = await store.versions(transaction, name.kind, name.field)
        row = _find(rows, name)
        if row.state == KeyState.BUILDING:
            raise _refused(
                "This index is being built: nothing is looked up in it. Suspend the active "
                "version, or the compartment."
            )
        if name.kind is KeyKind.AUDIT and row.version == _newest_active(rows):
            raise _refused(
                "The trail is sealed under this version, and without a trail nothing is served. "
                "Rotate the audit key first; or suspend the compartment, whose trail goes on."
            )
        return row.state != KeyState.SUSPENDED and await store.set_key_state(
            transaction, row, KeyState.SUSPENDED
        )

    return await act(served, visit, operation("suspend", name), change)


async def resume(served: ServedCompartment, visit: Visit, name: KeyName | None) -> Acted:
    """Let a version of a key go on, or with None the compartment. Raises VaultError.

    The newest version of a key is active again; an older one reads.
    """

    async def change(transaction: Transaction) -> bool:
        if name is None:
            return await store.set_compartment_state(transaction, SERVING)
        rows = await store.versions(transaction, name.kind, name.field)
        row = _find(rows, name)
        passed_over = (KeyState.DESTROYED, KeyState.BUILDING)
        newest = all(r.version <= row.version for r in rows if r.state not in passed_over)
        state = KeyState.ACTIVE if newest else KeyState.DECRYPT_ONLY
        return row.state == KeyState.SUSPENDED and await store.set_key_state(
            transaction, row, state
        )

    return await act(served, visit, operation("resume", name), change)


async def evict(served: ServedCompartment, visit: Visit) -> Acted:
    """Have every worker forget its keys in clear. Raises VaultError."""

    async def change(transaction: Transaction) -> bool:
        await store.evict(transaction)
        return True

    return await act(served, visit, operation("evict"), change)


async def act(
    served: ServedCompartment, visit: Visit, operation: str, change: Change[bool]
) -> Acted:
    """Carry out an officer's act on the keys, with its event; begin an epoch if it changed them.

    `change` tells whether it did; it raises VaultError to refuse. This process follows at once.
    """

    async def altering(transaction: Transaction) -> Acted:
        changed = await change(transaction)
        epoch = await (store.next_epoch if changed else store.epoch_of)(transaction)
        return Acted(changed, epoch)

    event = officer_event(visit, operation)

    def describe(outcome: Acted | VaultError) -> Event:
        if isinstance(outcome, VaultError):
            return event.refused(audit.DENIED, outcome.reason)
        return event

    acted = await served.committer.alter(altering, describe)
    log.warning("%s: %s by %s, epoch %d", served.name, operation, visit.officer, acted.epoch)
    await served.look_at_keys()
    return acted


def officer_event(visit: Visit, operation: str) -> Event:
    """Begin the event of what an officer does in a compartment."""
    visit.trace.has_event = True
    return Event(
        edition=visit.edition.number,
        service=audit.officer(visit.officer),
        owner="",
        purpose="",
        operation=operation,
        request_id=visit.request_id,
        outcome=audit.ALLOWED,
    )


def operation(what: str, name: KeyName | None = None) -> str:
    """Write what was done to which version as the trail has it."""
    if name is None:
        return f"keys.{what}"
    field = f"{name.field}/" if name.kind is KeyKind.INDEX else ""
    return f"keys.{what}/{name.kind}/{field}{name.version}"


def _find(rows: Sequence[KeyRow], name: KeyName) -> KeyRow:
    for row in rows:
        if row.version == name.version:
            check_destroyed(name, row.state)
            return row
    raise _refused(f"There is no {name.kind} key of version {name.version} here. See the status.")


def _newest_active(rows: Sequence[KeyRow]) -> int:
    return max((row.version for row in rows if row.state == KeyState.ACTIVE), default=0)


def _refused(message: str) -> VaultError:
    return VaultError(Reason.MALFORMED_REQUEST, message, violations={"key.version": "can't be"})
