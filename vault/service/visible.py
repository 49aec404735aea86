"""Which records a caller may know of, of those that it didn't name: what Find and lists share."""

import asyncio
import logging
from collections.abc import Sequence

from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.policy import FieldUse
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.opened import OpenedRecord

log = logging.getLogger("piivault.service")


async def visible(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: tuple[FieldUse, ...],
    pseudonyms: Sequence[bytes],
) -> list[OpenedRecord]:
    """Open records together, and return those whose subjects' word covers all of these uses.

    The others are left out alike, with those that aren't there.
    """
    records = await asyncio.gather(*(_candidate(served, raw) for raw in pseudonyms))
    return [r for r in records if r is not None and _covers(served, call, purpose, uses, r)]


async def _candidate(served: ServedCompartment, pseudonym: bytes) -> OpenedRecord | None:
    try:
        return await served.open_if_any(Address(served.uuid, pseudonym))
    except VaultError as e:
        if e.reason not in (Reason.DAMAGED, Reason.KEY_DESTROYED):
            raise
        log.error("a record in %s was passed over: %s", served.name, e.reason)
        return None


def _covers(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: tuple[FieldUse, ...],
    record: OpenedRecord,
) -> bool:
    if record.about.kept:  # of an erased one: it is read under the subject's pseudonym alone
        return False
    try:
        wholly_covered(call, served, purpose, uses, record)
    except VaultError:
        return False
    return True
