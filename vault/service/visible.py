"""Which records a caller may know of, of those that it didn't name: what Find and lists share."""

import logging
from collections.abc import Sequence

from vault.crypto.record import Address
from vault.errors import LOST, VaultError
from vault.policy import FieldUse
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.opened import OpenedRecord
from vault.store.load import MOST_A_SELECT

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
    found: list[OpenedRecord] = []
    for start in range(0, len(pseudonyms), MOST_A_SELECT):
        some = [Address(served.uuid, raw) for raw in pseudonyms[start : start + MOST_A_SELECT]]
        opened = await served.records.open_each_or_none(some)
        found += filter(None, (_candidate(served, its) for its in opened))
    return [record for record in found if _covers(served, call, purpose, uses, record)]


def _candidate(
    served: ServedCompartment, opened: OpenedRecord | VaultError | None
) -> OpenedRecord | None:
    if not isinstance(opened, VaultError):
        return opened
    if opened.reason not in LOST:
        raise opened
    log.error("a record in %s was passed over: %s", served.name, opened.reason)
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
