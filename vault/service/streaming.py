"""What streams of requests share: several under way, answered in their order, none out of turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from vault.policy import Operation
from vault.service.call import Call
from vault.service.compartment import ServedCompartment

WINDOW = 64  # items of one stream that are under way at once
LONGEST_WAIT = 5.0  # seconds that a stream waits in silence for its turn

Item = TypeVar("Item")
Result = TypeVar("Result")

Calls = Callable[[], Call]
"""Admits a stream's caller anew, under the policy of this moment; raises VaultError."""


async def in_order(
    items: AsyncIterator[Item], serve: Callable[[Item], Awaitable[Result]], window: int = WINDOW
) -> AsyncGenerator[Result, None]:
    """Serve items as they come, so many at once, and yield the results in the items' order.

    An item is taken in when there is room for it, and makes room when its result was taken. What
    `items` or `serve` raises ends it, after the results of all items before.
    """
    room = asyncio.Semaphore(window)
    served: asyncio.Queue[asyncio.Future[Result] | None] = asyncio.Queue()

    async def take_in() -> None:
        while True:
            await room.acquire()
            try:
                item = await anext(items)
            except StopAsyncIteration:
                return served.put_nowait(None)
            except Exception as e:  # for whoever waits for the next result
                failed: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
                failed.set_exception(e)
                return served.put_nowait(failed)
            served.put_nowait(asyncio.ensure_future(serve(item)))

    taking_in = asyncio.create_task(take_in())
    upcoming: asyncio.Future[Result] | None = None
    try:
        while (upcoming := await served.get()) is not None:
            yield await upcoming
            room.release()
    finally:
        rest: list[asyncio.Future[Any]] = [taking_in]
        served.put_nowait(upcoming)
        while not served.empty():
            if (left := served.get_nowait()) is not None:
                rest.append(left)
        for future in rest:
            future.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


class Turns:
    """One stream's items, each waiting for its turn where a single call would be told to come back.

    So whoever sends a stream is slowed down, not refused. They wait in their order: if a later one
    went first, it would have to wait for its answer. All streams of a service stand in one line for
    the same, so that each gets its turn, and of a line only the first is woken.
    """

    def __init__(self, served: ServedCompartment, calls: Calls) -> None:
        self._served = served
        self._calls = calls
        self._service = calls().service.name
        self._order = asyncio.Lock()

    async def next(self, *operations: Operation, wanted: int = 1) -> tuple[Call, int]:
        """Return the caller, and how many may go now: at least one, at most as many as wanted.

        So many places are free, and so much of the limits isn't spent; the next step takes both.
        What a limit makes wait for longer than LONGEST_WAIT is left to be refused. Raises
        VaultError where the caller may no longer call.
        """
        places, limits = self._served.places, self._served.limits
        async with self._order, places.line(self._service, operations):
            while True:
                call = self._calls().anew()  # each item's event is its own
                service = call.service
                wait, spent = max((limits.wait(service, its), its) for its in operations)
                if wait > LONGEST_WAIT:
                    return call, 1
                if not (free := places.free(service)):
                    await places.one_free(service)
                elif wait:
                    await limits.one_back(service, spent)
                else:
                    return call, min(wanted, free, *(limits.left(service, o) for o in operations))
