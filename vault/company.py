"""Whose calls share a statement, or a request: how long the first of them waits for more."""

import asyncio
from collections.abc import Sized

_EACH = 0.0005  # seconds to wait for more, for each that came aboard
_LONGEST = 0.005  # seconds, however many came


class Company:
    """Who shares what has its price, such as a statement: where many come, it waits for more.

    Whoever comes alone, after one who came alone, waits for nobody.
    """

    def __init__(self) -> None:
        self._last = 1

    async def gather(self, waiting: Sized, most: int) -> None:
        """Return when the next one is to be sent; all that wait by then are aboard."""
        await asyncio.sleep(0)  # whoever is ready in this turn of the loop
        crowd = max(self._last, len(waiting))
        if crowd > 1 and len(waiting) < most:
            await asyncio.sleep(min(crowd * _EACH, _LONGEST))
        self._last = len(waiting)
