"""Find: who holds this value, as far as the caller may know.

Absent and unconsented are answered alike, and no sooner the one than the other: else Find would
tell who is registered. It is rate-limited: else it would tell by trying.
"""

import asyncio
import logging
import os
import time
from collections.abc import Sequence

from vault.crypto import blind_index
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.names import PSEUDONYM_BYTES, Pseudonym
from vault.policy import FieldUse, Operation
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import OpenedRecord, ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.values import MOST_A_VALUE, index_value

log = logging.getLogger("piivault.find")

_MOST_FOUND = 100
_MOST_CANDIDATES = 500
_NOT_FOUND_TAKES = 0.05  # seconds: longer than it takes to look through many candidates


async def find(
    served: ServedCompartment, call: Call, purpose: str, name: str, value: str
) -> list[Pseudonym]:
    """Return whose records hold a value of an indexed field. Raises VaultError."""
    began = time.monotonic()
    async with attempt(served, call, Operation.FIND, purpose) as attempted:
        uses = await attempted.admit(Operation.FIND, purpose, [name])
        if not value or len(value.encode()) > MOST_A_VALUE:
            raise VaultError(
                Reason.INVALID_VALUE,
                "A value to look for has 1 byte to 64 KiB.",
                violations={"field.value": "has no usable length"},
            )
        # What isn't valid isn't indexed; it is looked for all the same, so that it costs the same.
        sought = await index_value(served, call.edition, uses[0].field, value)
        sought = sought or os.urandom(blind_index.INDEX_VALUE_BYTES)
        found = await _found(served, uses[0], sought)
        visible = await _visible(served, call, purpose, uses, found)
        for record in visible[1:]:
            async with attempt(served, call, Operation.FIND, purpose) as other:
                other.asks_for(uses)
                other.met(record)
                await other.allow()
        if visible:
            attempted.met(visible[0])
            await attempted.allow()
        # The index isn't sealed: whoever writes the table can point a value at anybody. Only now,
        # the events being durable, a record is asked whether it holds the value.
        holding = [r for r in visible if await _holds(served, call, uses[0], sought, r)]
        if not holding:
            await asyncio.sleep(max(0.0, began + _NOT_FOUND_TAKES - time.monotonic()))
            raise VaultError(Reason.NOT_FOUND, "Nothing that you may find holds this value.")
        return [Pseudonym(record.address.pseudonym) for record in holding]


async def _found(served: ServedCompartment, use: FieldUse, sought: bytes) -> Sequence[bytes]:
    found = await served.lookups.find(
        use.field.uid, blind_index.NORMALISATION, sought, _MOST_CANDIDATES + 1
    )
    if not found or len(found) > _MOST_CANDIDATES:
        return [os.urandom(PSEUDONYM_BYTES)]  # what so many hold tells nobody apart
    return found


async def _visible(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: tuple[FieldUse, ...],
    pseudonyms: Sequence[bytes],
) -> list[OpenedRecord]:
    """Open all candidates together, and keep those that consent covers, at most _MOST_FOUND."""
    records = await asyncio.gather(*(_candidate(served, raw) for raw in pseudonyms))
    covered = [r for r in records if r is not None and _covers(served, call, purpose, uses, r)]
    return covered[:_MOST_FOUND]


async def _candidate(served: ServedCompartment, pseudonym: bytes) -> OpenedRecord | None:
    try:
        return await served.open_if_any(Address(served.uuid, pseudonym))
    except VaultError as e:
        if e.reason is not Reason.DAMAGED:
            raise
        log.error("a damaged record in %s was passed over by Find", served.name)
        return None


async def _holds(
    served: ServedCompartment, call: Call, use: FieldUse, sought: bytes, record: OpenedRecord
) -> bool:
    try:
        values = record.values([use.field.uid])
    except DamagedError:
        values = {}
    held = values.get(use.field.uid)
    if held and await index_value(served, call.edition, use.field, held.value) == sought:
        return True
    # Tampered with, unless the record was changed just now.
    log.warning("an index row in %s stands for no value of its record: passed over", served.name)
    return False


def _covers(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: tuple[FieldUse, ...],
    record: OpenedRecord,
) -> bool:
    try:
        wholly_covered(call, served, purpose, uses, record)
    except VaultError:
        return False
    return True
