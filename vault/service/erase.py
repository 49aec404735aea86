"""Erase: the record, its data keys and its index rows go at once (clause 3.1.2)."""

from vault.crypto.record import Address, SealedRecord
from vault.errors import Reason, VaultError
from vault.service.attempt import Attempt, attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.rewrite import request_mark
from vault.store import changes
from vault.store.commit import Transaction

_UNREADABLE = frozenset({Reason.DAMAGED, Reason.KEYS_SUSPENDED, Reason.KEY_DESTROYED})


async def erase(served: ServedCompartment, call: Call, capability: str) -> None:
    """Delete all that is held of a subject here, leaving a keyed tombstone. Raises VaultError.

    Erasing once more changes nothing and succeeds. It needs no key but the look-up key: a
    record that can't be opened, for its bytes or for its key, can be erased too.
    """
    async with attempt(served, call, "erase") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        try:
            record = await served.open_if_any(address)
        except VaultError as e:
            if e.reason not in _UNREADABLE:
                raise
            record = None
        if record is not None:
            attempted.met(record.about)
        await attempted.with_keys(lambda: _erase(served, call, attempted, address))


async def _erase(
    served: ServedCompartment, call: Call, attempted: Attempt, address: Address
) -> None:
    tombstone = await served.tombstone(address)
    mark = await request_mark(served, call, "erase", address, None)

    async def change(transaction: Transaction) -> SealedRecord | None:
        if mark and not await changes.remember_request(transaction, mark):
            return None  # a repetition: what was registered since stays
        row = await changes.take_row(transaction, address.pseudonym)
        erased = await changes.erase_record(transaction, address.pseudonym, tombstone)
        if not erased and not await changes.has_tombstone(transaction, tombstone):
            raise VaultError(
                Reason.NOT_FOUND, f"Nothing is registered for this subject in {served.name}."
            )

        return row

    await attempted.erase(change)
