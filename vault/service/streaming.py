"""What streams of requests share: several under way, answered in their order, none out of turn."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from vault.policy import Operation
from vault.service.call import Call, Trace
from vault.service.compartment import ServedCompartment

WINDOW = 64  # items of one stream that are under way at once
MOST_BYTES = 8 * 1024 * 1024  # of the items of one stream that are under way at once
LONGEST_WAIT = 5.0  # seconds that a stream waits in silence for its turn

Item = TypeVar("Item")
Result = TypeVar("Result")

Calls = Callable[[], Call]
"""Admits a stream's caller anew, under the policy of this moment; raises VaultError."""


async def in_order(
    items: AsyncIterator[Item],
    serve: Callable[[Item], Awaitable[Result]],
    window: int = WINDOW,
    weigh: Callable[[Item], int] = lambda _: 0,
) -> AsyncGenerator[Result, None]:
    """Serve items as they come, so many at once, and yield the results in the items' order.

    An item is taken in when there is room for it, and makes room when its result was taken. `weigh`
    tells its bytes, where they count: room is for MOST_BYTES, or for one that has more, alone.
    What `items` or `serve` raises ends it, after the results of all items before.
    """
    room = _Room(window)
    served: asyncio.Queue[_Served[Result] | None] = asyncio.Queue()

    async def take_in() -> None:
        while True:
            await room.for_one()
            try:
                item = await anext(items)
                weight = weigh(item)
            except StopAsyncIteration:
                return served.put_nowait(None)
            except Exception as e:  # for whoever waits for the next result
                failed: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
                failed.set_exception(e)
                return served.put_nowait(_Served(failed, 0))
            await room.for_bytes(weight)
            served.put_nowait(_Served(asyncio.ensure_future(serve(item)), weight))
            del item  # it may be large, and the next one long in coming

    taking_in = asyncio.create_task(take_in())
    upcoming: _Served[Result] | None = None
    try:
        while (upcoming := await served.get()) is not None:
            yield await upcoming.result
            room.leave(upcoming.weight)
    finally:
        rest: list[asyncio.Future[Any]] = [taking_in]
        served.put_nowait(upcoming)
        while not served.empty():
            if (left := served.get_nowait()) is not None:
                rest.append(left.result)
        for future in rest:
            future.cancel()
        await asyncio.gather(*rest, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _Served(Generic[Result]):
    """An item under way: what comes of it, and its bytes."""

    result: asyncio.Future[Result]
    weight: int


class _Room:
    """Room for so many items, and for MOST_BYTES: for one that takes it in, in their order."""

    def __init__(self, window: int) -> None:
        self._items = asyncio.Semaphore(window)
        self._bytes = 0
        self._left = asyncio.Event()

    async def for_one(self) -> None:
        """Take room for an item."""
        await self._items.acquire()

    async def for_bytes(self, weight: int) -> None:
        """Take room for its bytes, or all there is if it has more."""
        while self._bytes and self._bytes + weight > MOST_BYTES:
            self._left.clear()
            await self._left.wait()
        self._bytes += weight

    def leave(self, weight: int) -> None:
        """Make the room of an item free."""
        self._bytes -= weight
        self._left.set()
        self._items.release()


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

    async def next(self, *operations: Operation) -> Call:
        """Return the caller once there is a place and no limit is spent; the next step takes both.

        What a limit makes wait for longer than LONGEST_WAIT is left to be refused. Raises
        VaultError where the caller may no longer call.
        """
        places, limits = self._served.places, self._served.limits
        async with self._order, places.line(self._service, operations):
            while True:
                call = replace(self._calls(), trace=Trace())  # each item's event is its own
                wait, spent = max((limits.wait(call.service, its), its) for its in operations)
                if wait > LONGEST_WAIT:
                    return call
                if places.wait(call.service):
                    await places.one_free(call.service)
                elif wait:
                    await limits.one_back(call.service, spent)
                else:
                    return call
