"""Whose calls share a statement, or a request: how long the first waits for more, who fits in."""

import asyncio
import time
from collections.abc import Callable, Iterable, Sized
from typing import TypeVar

T = TypeVar("T")

_SLICE = 0.001  # seconds in which somebody may come
_LONGEST = 0.02  # seconds, however many come
_ENOUGH = 48  # to share: others do better to work meanwhile, and share the next
_BUSY = 0.0005  # seconds that a slice takes longer where the process is busy, or others are


class Company:
    """Those who share what has its price, such as a statement: where many come, it waits for more.

    It does as long as somebody comes, or the process is busy with what may bring more: then what is
    spared is worth more than the wait. Whoever comes alone, after one who was alone, waits for
    nobody.
    """

    def __init__(self) -> None:
        self._last = 1

    async def gather(self, waiting: Sized, most: int, largest: int = 1) -> None:
        """Return when those who wait are to be served, of whom `most` are served at once.

        One of them brings as many as `largest`: a batch, say, which shares with itself.
        """
        await asyncio.sleep(0)  # whoever is ready in this turn of the loop
        if largest < _ENOUGH and max(self._last, len(waiting)) > 1:
            await _more(waiting, min(most, _ENOUGH))
        self._last = len(waiting)


async def _more(waiting: Sized, most: int) -> None:
    begun = now = time.monotonic()
    while len(waiting) < most and now < begun + _LONGEST:
        came, before = len(waiting), now
        await asyncio.sleep(_SLICE)
        now = time.monotonic()
        if len(waiting) <= came and now - before < _SLICE + _BUSY:
            return


def fitting(waiting: Iterable[T], size: Callable[[T], int], most: int) -> list[T]:
    """Return the first of them, as many as have the size `most` together; one at least."""
    together: list[T] = []
    for its in waiting:
        most -= size(its)
        if together and most < 0:
            break
        together.append(its)
    return together
