"""Destroying a version of a key that something still needs: for ever, so it takes two officers.

They sign the digest of a dry run in the control chain (kind `destroy`). A worker carries it out
only if a fresh dry run has that very digest: it covers every data key that is lost. What was
wrapped anew meanwhile, or erased, changes it: then look again.
"""

from dataclasses import dataclass, field

from vault.audit import event as audit
from vault.audit.event import Event
from vault.crypto.primitives import digest
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState
from vault.service.call import Visit
from vault.service.compartment import ServedCompartment
from vault.service.keys import officer_event, operation
from vault.store import keys, rotation_rows, rotations
from vault.store.jobs import Transaction
from vault.store.lookups import KeyRow


@dataclass(frozen=True, slots=True)
class Destruction:
    """What is lost with a version of a key, and the digest (32 bytes) that officers sign.

    Of one that is destroyed there is no digest.
    """

    destroyed: bool
    digest: bytes = field(repr=False)
    records: int
    data_keys: int
    consequence: str


async def dry_run(served: ServedCompartment, name: KeyName) -> Destruction:
    """Return what would be lost; change nothing. Raises VaultError."""
    await served.look_at_keys()
    async with rotation_rows.in_epoch(served.database, served.epoch) as transaction:
        return await _look(transaction, served, name)


async def destroy(
    served: ServedCompartment, visit: Visit, name: KeyName, approved: bytes
) -> Destruction:
    """Destroy a version of a key, if what is lost now is just what two officers signed.

    `approved` is the digest that they signed; empty for none. Else nothing is destroyed, and what
    is returned says so. Raises VaultError.
    """
    if not approved:
        return await dry_run(served, name)

    async def change(transaction: Transaction) -> Destruction:
        found = await _look(transaction, served, name)
        if found.destroyed or found.digest != approved:
            return found
        for row in await keys.versions(transaction, name.kind, name.field):
            if row.version == name.version:
                await rotations.destroy_key(transaction, row)
        await keys.next_epoch(transaction)
        return Destruction(True, found.digest, found.records, found.data_keys, found.consequence)

    def describe(outcome: Destruction | VaultError) -> Event:
        event = officer_event(visit, operation("destroy", name))
        if isinstance(outcome, VaultError):
            return event.refused(audit.DENIED, outcome.reason)
        return event if outcome.destroyed else event.refused(audit.DENIED, Reason.STALE_ETAG)

    done = await served.committer.alter(change, describe)
    await served.look_at_keys()
    return done


async def _look(transaction: Transaction, served: ServedCompartment, name: KeyName) -> Destruction:
    row = await _row(transaction, name)
    if row.state == KeyState.DESTROYED:
        return Destruction(True, b"", 0, 0, "It is destroyed already, with all that it opened.")
    lost = []
    if name.kind is KeyKind.KEK:
        lost = await rotation_rows.data_keys_under(transaction, name.version)
    records = await rotation_rows.count_named(transaction, name.version) if lost else 0
    signed = digest(
        b"piivault/v1/destroy",
        served.uuid,
        name.kind.value.encode(),
        name.field.to_bytes(4, "big"),
        name.version.to_bytes(4, "big"),
        row.wrapped.encode(),
        *(part for key in lost for part in (key.pseudonym, key.id)),
    )
    return Destruction(False, signed, records, len(lost), _consequence(name, records, len(lost)))


async def _row(transaction: Transaction, name: KeyName) -> KeyRow:
    if name.kind not in (KeyKind.KEK, KeyKind.AUDIT):
        raise _refused(
            "Only versions of a KEK or of an audit key are destroyed. An index key goes when its "
            "rotation ends; the lookup key is never rotated, since tombstones are made with it."
        )
    for row in await keys.versions(transaction, name.kind, name.field):
        if row.version == name.version:
            if row.state == KeyState.ACTIVE:
                raise _refused("This version writes. Rotate first; then destroy it.")
            return row
    raise _refused(f"There is no {name.kind} key of version {name.version} here. See the status.")


def _consequence(name: KeyName, records: int, data_keys: int) -> str:
    if name.kind is KeyKind.AUDIT:
        return f"Every event of the trail that audit key {name.version} sealed can't be read."
    superseded = data_keys - records
    return (
        f"{records} records can't be read any more, by anybody; nor can backups of data that need "
        f"{superseded} older data keys."
    )


def _refused(message: str) -> VaultError:
    return VaultError(Reason.MALFORMED_REQUEST, message, violations={"key": "can't be destroyed"})
