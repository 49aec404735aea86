"""Find: who holds this value, as far as the caller may know.

Absent and unconsented are answered alike, and no sooner the one than the other: else Find would
tell who is registered. It is rate-limited: else it would tell by trying.
"""

import asyncio
import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from vault.crypto import blind_index
from vault.crypto.primitives import DamagedError
from vault.errors import Reason, VaultError
from vault.keys.keyring import KeyName
from vault.names import PSEUDONYM_BYTES, Pseudonym
from vault.policy import Field, FieldUse, Operation
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import OpenedRecord, ServedCompartment
from vault.service.values import MOST_A_VALUE, index_value
from vault.service.visible import visible
from vault.store.commit import KeysChangedError

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
        if not value or len(value.encode()) > MOST_A_VALUE:
            raise VaultError(
                Reason.INVALID_VALUE,
                "A value to look for has 1 byte to 64 KiB.",
                violations={"field.value": "has no usable length"},
            )
        looked = await _found(served, call, uses[0], value)
        found = (await visible(served, call, purpose, uses, looked.pseudonyms))[:_MOST_FOUND]
        for record in found[1:]:
            async with attempt(served, call, Operation.FIND, purpose) as other:
                other.asks_for(uses)
                other.met(record.about)
                await other.allow()
        if found:
            attempted.met(found[0].about)
            await attempted.allow()
        # The index isn't sealed: whoever writes the table can point a value at anybody. Only now,
        # the events being durable, a record is asked whether it holds the value.
        holding = [r for r in found if await _holds(served, call, uses[0], looked, r)]
        if not holding:
            await asyncio.sleep(max(0.0, began + _NOT_FOUND_TAKES - time.monotonic()))
            raise VaultError(Reason.NOT_FOUND, "Nothing that you may find holds this value.")
        return [Pseudonym(record.address.pseudonym) for record in holding]


@dataclass(frozen=True, slots=True)
class _Looked:
    """What was looked up under which index key, and who is said to hold it."""

    name: KeyName
    sought: bytes = field(repr=False)
    pseudonyms: Sequence[bytes]


async def _found(served: ServedCompartment, call: Call, use: FieldUse, value: str) -> _Looked:
    looked = await _look_up(served, call, use.field, value)
    if looked.pseudonyms and len(looked.pseudonyms) <= _MOST_CANDIDATES:
        return looked
    # What so many hold tells nobody apart.
    return replace(looked, pseudonyms=[os.urandom(PSEUDONYM_BYTES)])


async def _look_up(served: ServedCompartment, call: Call, its: Field, value: str) -> _Looked:
    """Look a value up under the active version of the index; anew if that is another by then."""
    for _ in range(_TRIES):
        standing = served.keyring.standing
        name = (await served.index_names(its.uid))[0]
        sought = await index_value(served, call.edition, its, value, name)
        # What isn't valid isn't indexed; it is looked for all the same, so that it costs the same.
        sought = sought or os.urandom(blind_index.INDEX_VALUE_BYTES)
        found = await served.lookups.find(its.uid, name.version, sought, _MOST_CANDIDATES + 1)
        if found.epoch == standing.epoch:
            return _Looked(name, sought, found.pseudonyms)
        await served.look_beyond(standing)
    raise KeysChangedError


async def _holds(
    served: ServedCompartment, call: Call, use: FieldUse, looked: _Looked, record: OpenedRecord
) -> bool:
    its = use.field
    try:
        held = record.values([its.uid]).get(its.uid)
    except DamagedError:
        held = None
    if held is not None:
        value = await index_value(served, call.edition, its, held.value, looked.name)
        if value == looked.sought:
            return True
    # Tampered with, unless the record was changed just now.
    log.warning("an index row in %s stands for no value of its record: passed over", served.name)
    return False
