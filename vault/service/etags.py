"""Etags: the version of a record, as callers see it."""

from vault.crypto.record import Address, SealedRecord
from vault.names import to_base64url
from vault.service.compartment import ServedCompartment


def etag_of(row: SealedRecord) -> str:
    """Write a row version as callers see it."""
    return to_base64url(row.row_version)


async def current_etag(served: ServedCompartment, address: Address) -> str:
    """Return the etag of a record as it is now. Raises VaultError."""
    return etag_of((await served.records.open(address)).row)
