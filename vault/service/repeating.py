"""Repeating: what tells that a request came before, and how a change is tried once more."""

import asyncio
import json
import time
from secrets import SystemRandom

from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.store.changes import RequestMark

TRIES = 8  # of a change, while others change the same record
_PAUSE = 0.02  # seconds, more with each try
_DAY = 24 * 3600
_to_json = json.JSONEncoder(sort_keys=True, ensure_ascii=False).encode


async def request_mark(
    served: ServedCompartment, call: Call, operation: str, address: Address, content: object
) -> RequestMark | None:
    """Return what is remembered of a request: keyed hashes of its id and of what it asks.

    None where the caller sent no id: then no repetition can be told.
    """
    if not call.repeatable:
        return None
    asked = _to_json(content)
    token, content = await served.marks(
        (b"request", call.service.name.encode(), call.request_id.encode()),
        (b"asked", operation.encode(), address.pseudonym, asked.encode()),
    )
    return RequestMark(token, content, int(time.time()) // _DAY)


async def pause(tries: int) -> None:
    """Wait a little before trying again, at random and longer each time; not before the first."""
    if tries:
        await asyncio.sleep(tries * _PAUSE * SystemRandom().random())


def still_changing() -> VaultError:
    """Return the error for who met others' changes at every try."""
    return VaultError(
        Reason.OVERLOADED,
        "Others keep changing this record. Retry.",
        retry_after=TRIES * _PAUSE,
    )
