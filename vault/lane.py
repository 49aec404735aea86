"""A lane: questions that share a request, or a statement. While some are answered, others gather.

Nobody joins a batch that was sent: what a caller is told was so when they asked, or later. Nothing
is kept: what was asked is forgotten once it is answered.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from vault.company import Company, fitting

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")


def _one(_: object) -> int:
    """Count each question alike."""
    return 1


class Lane(Generic[Asked, Answer]):
    """Answers each caller with its part of a request that `send` makes for several of them.

    `send` returns an answer for each that it is given, in their order. Those that it is given have
    together the size `most`, at most, or it is a single one that is larger.
    """

    def __init__(
        self,
        send: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]],
        most: int,
        size: Callable[[Asked], int] = _one,
    ) -> None:
        self._send = send
        self._most = most
        self._size = size
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

    async def close(self) -> None:
        """Finish what is under way; it goes on also where who waits for it here is cancelled."""
        if self._serving is not None:
            await asyncio.wait({self._serving})

    async def _serve(self) -> None:
        try:
            while self._waiting:
                largest = max(map(self._size, self._waiting.values()))
                await self._company.gather(self._waiting, self._most, largest)
                if batch := self._next():
                    await self._answer(batch)
        finally:
            self._serving = None

    def _next(self) -> dict[asyncio.Future[Answer], Asked]:
        """Take questions out of the queue, as many as fit into one request."""
        batch = fitting(self._waiting, lambda waiter: self._size(self._waiting[waiter]), self._most)
        return {waiter: self._waiting.pop(waiter) for waiter in batch}

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
