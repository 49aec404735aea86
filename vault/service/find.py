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
from vault.errors import Reason, VaultError
from vault.names import PSEUDONYM_BYTES, Pseudonym
from vault.policy import Edition, Field, FieldUse, Operation
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord
from vault.service.values import MOST_COMPARED, index_row
from vault.service.visible import visible
from vault.store.jobs import KeysChangedError

log = logging.getLogger("piivault.find")

_MOST_FOUND = 100
_MOST_CANDIDATES = 500
_TRIES = 5  # while keys keep changing
_NOT_FOUND_TAKES = 0.05  # seconds: longer than it takes to look through many candidates


async def find(
    served: ServedCompartment, call: Call, purpose: str, name: str, value: str
) -> list[Pseudonym]:
    """Return whose records hold a value of an indexed field. Raises VaultError."""
    began = time.monotonic()
    async with attempt(served, call, Operation.FIND, purpose) as attempted:
        uses = await attempted.admit(Operation.FIND, purpose, [name])
        if not 1 <= len(value) <= MOST_COMPARED:
            raise VaultError(
                Reason.INVALID_VALUE,
                f"A value to look for has 1 to {MOST_COMPARED} characters.",
                violations={"field.value": "has no usable length"},
            )
        found = await _found(served, call, uses[0], value)
        shown = (await visible(served, call, purpose, uses, found))[:_MOST_FOUND]
        await asyncio.gather(*(attempted.allow_also(record.about) for record in shown[1:]))
        if shown:
            attempted.met(shown[0].about)
            await attempted.allow()
        # The index isn't sealed: whoever writes the table can point a value at anybody. Only now,
        # the events being durable, a record is asked whether it holds the value.
        holding = [r for r in shown if _holds(served, call, uses[0], value, r)]
        if not holding:
            await asyncio.sleep(max(0.0, began + _NOT_FOUND_TAKES - time.monotonic()))
            raise VaultError(Reason.NOT_FOUND, "Nothing that you may find holds this value.")
        return [Pseudonym(record.address.pseudonym) for record in holding]


async def _found(
    served: ServedCompartment, call: Call, use: FieldUse, value: str
) -> Sequence[bytes]:
    found = await look_up(served, call.edition, use.field, value)
    if found and len(found) <= _MOST_CANDIDATES:
        return found
    return [os.urandom(PSEUDONYM_BYTES)]  # what so many hold tells nobody apart


async def look_up(
    served: ServedCompartment, edition: Edition, its: Field, value: str
) -> Sequence[bytes]:
    """Return the pseudonyms that the active version of the index has for a value.

    Looks anew if that is another version by then; raises KeysChangedError if it always is.
    """
    for _ in range(_TRIES):
        standing = served.keyring.standing
        name = (await served.index_names(its.uid))[0]
        try:
            row = await index_row(served, edition, its, value, name)
        except KeysChangedError:
            continue
        # What isn't valid isn't indexed; it is looked for all the same, so that it costs the same.
        sought = row.value if row else os.urandom(blind_index.INDEX_VALUE_BYTES)
        found = await served.lookups.find(its.uid, name.version, sought, _MOST_CANDIDATES + 1)
        if found.epoch == standing.epoch:
            return found.pseudonyms
        await served.look_beyond(standing)
    raise KeysChangedError


def _holds(
    served: ServedCompartment, call: Call, use: FieldUse, sought: str, record: OpenedRecord
) -> bool:
    its, region = use.field, call.edition.region
    try:
        held = record.values([its.uid]).get(its.uid)
    except DamagedError:
        held = None
    if held is not None:
        value = blind_index.normalise(its.type.value, held.value, region)
        if value is not None and value == blind_index.normalise(its.type.value, sought, region):
            return True
    # Tampered with, unless the record was changed just now.
    log.warning("an index row in %s stands for no value of its record: passed over", served.name)
    return False
