"""Bulk put: many records in one stream, each as Put does it, under a request id of its own."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from sys import getsizeof

from vault.errors import VaultError
from vault.policy import Operation, denied
from vault.service.attempt import attempt
from vault.service.compartment import ServedCompartment
from vault.service.put import put, touches_unique
from vault.service.streaming import Calls, Turns, in_order


@dataclass(frozen=True, slots=True)
class PutItem:
    """What is written into one record; the same item has the same request id for ever."""

    request_id: str
    pseudonym: str = field(repr=False)
    fields: Mapping[str, str] = field(repr=False)
    clear: Sequence[str]


async def bulk_put(
    served: ServedCompartment,
    calls: Calls,
    purpose: str,
    items: AsyncIterator[PutItem | VaultError],
) -> AsyncGenerator[str | VaultError, None]:
    """Return each item's new etag, or why not, in the items' order.

    An item that was carried out before, under its request id, is answered as done. One that can't
    be read comes as what is wrong with it, and is refused under the stream's own id. Raises
    VaultError where the caller has no grant to put here; the generator, where it may no longer
    call.
    """
    call = calls()
    async with attempt(served, call, Operation.PUT, purpose):
        denial = denied(call.edition, call.service, purpose, served.name, Operation.PUT)
        if denial is not None:
            raise denial.error()
    turns = Turns(served, calls)

    async def done(item: PutItem | VaultError) -> str | VaultError:
        nonlocal call  # as admitted for the item before
        names = [] if isinstance(item, VaultError) else [*item.fields, *item.clear]
        guesses = (Operation.FIND,) if touches_unique(served, call, names) else ()
        call = await turns.next(Operation.PUT, *guesses)
        try:
            if isinstance(item, VaultError):
                async with attempt(served, call, Operation.PUT, purpose):
                    raise item
            own = replace(call, request_id=item.request_id, repeatable=True)
            return await put(served, own, purpose, item.pseudonym, item.fields, item.clear, "")
        except VaultError as e:
            return e

    return in_order(items, done, weigh=_weight)


def _weight(item: PutItem | VaultError) -> int:
    """Return how many bytes of memory an item's text takes."""
    if isinstance(item, VaultError):
        return 0
    return sum(map(getsizeof, (*item.fields, *item.fields.values(), *item.clear)))
