"""What streams of requests share: several under way, answered in their order, none out of turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

from vault.policy import Operation
from vault.service.call import Call, Trace
from vault.service.compartment import ServedCompartment

WINDOW = 64  # items of one stream that are under way at once
LONGEST_WAIT = 5.0  # seconds that a stream waits in silence for its turn
_LOOK_AGAIN = 0.01  # seconds: what others took may come back sooner than its time

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
        left: list[asyncio.Future[Any] | None] = [taking_in, upcoming]
        while not served.empty():
            left.append(served.get_nowait())
        rest = [future for future in left if future is not None]
        for future in rest:
            future.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


class Turns:
    """One stream's items, each waiting for its turn where a single call would be told to come back.

    So whoever sends a stream is slowed down, not refused. They wait in their order: if a later one
    went first, it would have to wait for its answer.
    """

    def __init__(self, served: ServedCompartment, calls: Calls) -> None:
        self._served = served
        self._calls = calls
        self._order = asyncio.Lock()

    async def next(self, *operations: Operation) -> Call:
        """Return the caller once there is a place and no limit is spent; the next step takes both.

        What takes longer than LONGEST_WAIT is left to be refused. Raises VaultError where the
        caller may no longer call.
        """
        served = self._served
        async with self._order:
            while True:
                call = replace(self._calls(), trace=Trace())  # each item's event is its own
                waits = [served.limits.wait(call.service, operation) for operation in operations]
                wait = max(served.places.wait(call.service), *waits)
                if not 0 < wait <= LONGEST_WAIT:
                    return call
                await asyncio.sleep(min(wait, _LOOK_AGAIN))
