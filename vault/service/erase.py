"""Erase: the record, its data keys and its index rows go at once (clause 3.1.2)."""

from vault.errors import Reason, VaultError
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.rewrite import request_mark
from vault.store import changes
from vault.store.commit import Transaction


async def erase(served: ServedCompartment, call: Call, capability: str) -> None:
    """Delete all that is held of a subject here, leaving a keyed tombstone. Raises VaultError.

    Erasing once more changes nothing and succeeds. It needs no key but the look-up key: a
    record whose bytes are damaged can be erased too.
    """
    async with attempt(served, call, "erase") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        tombstone = await served.tombstone(address)
        mark = await request_mark(served, call, "erase", address, None)
        try:
            record = await served.open_if_any(address)
        except VaultError as e:
            if e.reason is not Reason.DAMAGED:
                raise
            record = None
        if record is not None:
            attempted.met(record)

        async def change(transaction: Transaction) -> None:
            if mark and not await changes.remember_request(transaction, mark):
                return  # a repetition: what was registered since stays
            erased = await changes.erase_record(transaction, address.pseudonym, tombstone)
            if not erased and not await changes.has_tombstone(transaction, tombstone):
                raise VaultError(
                    Reason.NOT_FOUND, f"Nothing is registered for this subject in {served.name}."
                )

        await attempted.change(change, None)
