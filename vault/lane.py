"""A lane: questions that share a request. While one batch is answered, others gather for the next.

Nobody joins a batch that was sent: what a caller is told was so when they asked, or later. Nothing
is kept: what was asked is forgotten once it is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from itertools import islice
from typing import Generic, TypeVar

from vault.company import Company

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


class Lane(Generic[Asked, Answer]):
    """Answers each caller with its part of a request that `send` makes for several of them.

    `send` returns an answer for each that it is given, in their order; it is given `most` at most.
    """

    def __init__(
        self, send: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]], most: int
    ) -> None:
        self._send = send
        self._most = most
        self._company = Company()
        self._waiting: dict[asyncio.Future[Answer], Asked] = {}
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Answer:
        """Return the answer. Raises what `send` raises."""
        if self._serving is None:
            self._serving = asyncio.create_task(self._serve())
        # Asking for the running loop asks the kernel for the process's id, before Python 3.12.
        waiter: asyncio.Future[Answer] = self._serving.get_loop().create_future()
        self._waiting[waiter] = asked
        try:
            return await waiter
        finally:
            self._waiting.pop(waiter, None)  # nothing is asked for a caller who has gone

    async def _serve(self) -> None:
        try:
            while self._waiting:
                await self._company.gather(self._waiting, self._most)
                batch = dict(islice(self._waiting.items(), self._most))
                for waiter in batch:
                    del self._waiting[waiter]
                if batch:
                    await self._answer(batch)
        finally:
            self._serving = None

    async def _answer(self, batch: dict[asyncio.Future[Answer], Asked]) -> None:
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
