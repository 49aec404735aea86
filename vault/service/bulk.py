"""Bulk put: many records in one stream, each as Put does it, under a request id of its own.

A stream does what came in one message, as much of it at once as there is room for, and then takes
the next: so a caller sends no faster than it is served, and has no more than a message in memory.
"""

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import field
from functools import partial
from itertools import groupby

from vault.errors import VaultError
from vault.frozen import dataclass
from vault.policy import Operation, denied
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.put import Asked, put_each, touches_unique
from vault.service.rewrite import Outcome
from vault.service.streaming import WINDOW, Calls, Turns

MOST_A_MESSAGE = 200
MOST_TEXT = 1024 * 1024  # characters of items that are done at once; one that has more goes alone


@dataclass(frozen=True, slots=True)
class PutItem:
    """What is written into one record; the same item has the same request id for ever."""

    request_id: str
    pseudonym: str = field(repr=False)
    fields: Mapping[str, str] = field(repr=False)
    clear: Sequence[str]


Item = PutItem | VaultError
"""One that can't be read comes as what is wrong with it."""


async def bulk_put(
    served: ServedCompartment,
    calls: Calls,
    purpose: str,
    messages: AsyncIterator[Iterable[Item]],
) -> AsyncGenerator[Sequence[Outcome], None]:
    """Return items' new etags, or why not, in the items' order, as many as were done together.

    An item that was carried out before, under its request id, is answered as done. One that can't
    be read is refused under the stream's own id. Raises VaultError where the caller has no grant to
    put here; the generator, where it may no longer call.
    """
    call = calls()
    async with attempt(served, call, Operation.PUT, purpose):
        denial = denied(call.edition, call.service, purpose, served.name, Operation.PUT)
        if denial is not None:
            raise denial.error()
    return _done(served, Turns(served, calls), call, purpose, messages)


async def _done(
    served: ServedCompartment,
    turns: Turns,
    call: Call,
    purpose: str,
    messages: AsyncIterator[Iterable[Item]],
) -> AsyncGenerator[Sequence[Outcome], None]:
    async for items in messages:
        # Else what counts as no guess would wait for the limit of what does.
        for is_guess, run in groupby(items, partial(_is_guess, served, call)):
            guesses = (Operation.FIND,) if is_guess else ()
            for left in together(run):
                while left:
                    call, now = await turns.next(Operation.PUT, *guesses, wanted=len(left))
                    yield await _put(served, call, purpose, left[:now])
                    left = left[now:]


def together(items: Iterable[Item]) -> Iterator[Sequence[Item]]:
    """Yield items in their order, as many at a time as are done at once: no two of one record."""
    several: list[Item] = []
    met: set[str] = set()
    size = 0
    for item in items:
        whose = {item.pseudonym} if isinstance(item, PutItem) else set()
        size += _size(item)
        if several and (met & whose or size > MOST_TEXT or len(several) == WINDOW):
            yield several
            several, met, size = [], set(), _size(item)
        several.append(item)
        met |= whose
    if several:
        yield several


def _size(item: Item) -> int:
    """Return how many characters an item has."""
    if isinstance(item, VaultError):
        return 0
    return sum(map(len, (*item.fields, *item.fields.values(), *item.clear)))


def _is_guess(served: ServedCompartment, call: Call, item: Item) -> bool:
    names = (*item.fields, *item.clear) if isinstance(item, PutItem) else ()
    return touches_unique(served, call, names)


async def _put(
    served: ServedCompartment, call: Call, purpose: str, items: Sequence[Item]
) -> Sequence[Outcome]:
    asked = [
        Asked(call.under(its.request_id), its.pseudonym, its.fields, its.clear)
        for its in items
        if isinstance(its, PutItem)
    ]
    done = iter(await put_each(served, purpose, asked) if asked else ())
    return [
        await _refused(served, call, purpose, its) if isinstance(its, VaultError) else next(done)
        for its in items
    ]


async def _refused(
    served: ServedCompartment, call: Call, purpose: str, error: VaultError
) -> VaultError:
    """Have the trail say that an item couldn't be read; return what it is answered."""
    try:
        async with attempt(served, call.anew(), Operation.PUT, purpose):
            raise error
    except VaultError as e:
        return e
