"""Calls of the key server that share a request: while one is under way, others gather for the next.

Only what is of one compartment shares one: no request to the key server, and no line of its own
log, holds what belongs to two. Nothing is kept: what was asked is forgotten once it is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice

from vault.company import Company

MOST_A_REQUEST = 200  # the key server refuses 250

Send = Callable[[Sequence[bytes]], Awaitable[Sequence[bytes]]]
_Waiter = asyncio.Future[bytes]


class Shared:
    """Answers each caller with its part of a request that `send` makes for several of them.

    `send` returns an answer for each that it is given, in their order.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._lanes: dict[bytes, _Lane] = {}  # by compartment

    async def ask(self, compartment: bytes, asked: bytes) -> bytes:
        """Return the answer. Raises what `send` raises."""
        if compartment not in self._lanes:
            self._lanes[compartment] = _Lane(self._send)
        return await self._lanes[compartment].ask(asked)


class _Lane:
    """What shares requests: one at a time."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._company = Company()
        self._waiting: dict[_Waiter, bytes] = {}
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, asked: bytes) -> bytes:
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        # Asking for the running loop asks the kernel for the process's id, before Python 3.12.
        waiter: _Waiter = self._serving.get_loop().create_future()
        self._waiting[waiter] = asked
        try:
            return await waiter
        finally:
            self._waiting.pop(waiter, None)  # nothing is asked for a caller who has gone

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._company.gather(self._waiting, MOST_A_REQUEST)
                batch = dict(islice(self._waiting.items(), MOST_A_REQUEST))
                for waiter in batch:
                    del self._waiting[waiter]
                if batch:
                    await self._answer(batch)
        finally:
            self._serving = None

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
