"""Calls of the key server that share a request: while one is under way, others gather for the next.

Only what is of one compartment shares one: no request to the key server, and no line of its own
log, holds what belongs to two. Nothing is kept: what was asked is forgotten as it is sent.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

MOST_A_REQUEST = 200  # the key server refuses 250

_Waiter = asyncio.Future[bytes]


class Shared:
    """Answers each caller with its part of a request that `send` makes for several of them.

    `send` returns an answer for each that it is given, in their order.
    """

    def __init__(self, send: Callable[[Sequence[bytes]], Awaitable[Sequence[bytes]]]) -> None:
        self._send = send
        self._waiting: dict[bytes, dict[_Waiter, bytes]] = {}  # by compartment
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, compartment: bytes, asked: bytes) -> bytes:
        """Return the answer. Raises what `send` raises."""
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        if (waiting := self._waiting.get(compartment)) is None:
            waiting = self._waiting[compartment] = {}
            task = asyncio.create_task(self._serve(compartment, waiting))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)
        waiting[waiter] = asked
        try:
            return await waiter
        finally:
            waiting.pop(waiter, None)  # nothing is asked for a caller who has gone

    async def _serve(self, compartment: bytes, waiting: dict[_Waiter, bytes]) -> None:
        try:
            while waiting:
                await asyncio.sleep(0)  # whoever is ready in this turn of the loop comes along
                batch = dict(islice(waiting.items(), MOST_A_REQUEST))
                for waiter in batch:
                    del waiting[waiter]
                if batch:
                    await self._answer(batch)
        finally:
            del self._waiting[compartment]

    async def _answer(self, batch: dict[_Waiter, bytes]) -> None:
        try:
            answers = await self._send(list(batch.values()))
            told = list(zip(batch, answers, strict=True))
        except Exception as e:  # whatever it is, whoever waits must hear of it
            for waiter in batch:
                if not waiter.done():  # else the caller has gone
                    waiter.set_exception(e)
                    waiter.exception()  # heard, even if the caller goes now
            return
        for waiter, answer in told:
            if not waiter.done():
                waiter.set_result(answer)
