"""Find: who holds this value, as far as the caller may know.

Absent and unconsented are answered alike, and cost alike: else Find would tell who is
registered. It is rate-limited: else it would tell by trying.
"""

import os
from collections.abc import Sequence

from vault.crypto import blind_index
from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.names import PSEUDONYM_BYTES, Pseudonym
from vault.policy import FieldUse, Operation
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import OpenedRecord, ServedCompartment
from vault.service.consents import wholly_covered
from vault.service.values import MOST_A_VALUE, index_value


async def find(
    served: ServedCompartment, call: Call, purpose: str, name: str, value: str
) -> list[Pseudonym]:
    """Return whose records hold a value of an indexed field. Raises VaultError."""
    async with attempt(served, call, Operation.FIND, purpose) as trail:
        uses = await trail.admit(Operation.FIND, purpose, [name])
        if not value or len(value.encode()) > MOST_A_VALUE:
            raise VaultError(
                Reason.INVALID_VALUE,
                "A value to look for has 1 byte to 64 KiB.",
                violations={"field.value": "has no usable length"},
            )
        found = await _found(served, call, uses[0], value)
        visible = await _visible(served, call, purpose, uses, found)
        if not visible:
            raise VaultError(Reason.NOT_FOUND, "Nothing that you may find holds this value.")
        for record in visible[1:]:
            async with attempt(served, call, Operation.FIND, purpose) as other:
                other.asks_for(uses)
                other.met(record)
                await other.allow()
        trail.met(visible[0])
        await trail.allow()
        return [Pseudonym(record.address.pseudonym) for record in visible]


async def _found(
    served: ServedCompartment, call: Call, use: FieldUse, value: str
) -> Sequence[bytes]:
    sought = await index_value(served, call.edition, use.field, value)
    # What isn't valid isn't indexed; it is looked for all the same, so that it costs the same.
    sought = sought or os.urandom(blind_index.INDEX_VALUE_BYTES)
    found = await served.lookups.find(use.field.uid, blind_index.NORMALISATION, sought)
    return found or [os.urandom(PSEUDONYM_BYTES)]


async def _visible(
    served: ServedCompartment,
    call: Call,
    purpose: str,
    uses: tuple[FieldUse, ...],
    pseudonyms: Sequence[bytes],
) -> list[OpenedRecord]:
    visible = []
    for pseudonym in pseudonyms:
        record = await served.open_if_any(Address(served.uuid, pseudonym))
        if record is not None and _covers(served, call, purpose, uses, record):
            visible.append(record)
    return visible


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
