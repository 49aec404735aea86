"""Calls of the key server that share a request: while one is under way, others gather for the next.

Only what is of one compartment shares one: no request to the key server, and no line of its own
log, holds what belongs to two.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic

from vault.lane import Answer, Asked, Lane

MOST_A_REQUEST = 200  # the key server refuses 250


class Lanes(Generic[Asked, Answer]):
    """A lane for each compartment; `send` is as for a `Lane`."""

    def __init__(self, send: Callable[[Sequence[Asked]], Awaitable[Sequence[Answer]]]) -> None:
        self._send = send
        self._lanes: dict[bytes, Lane[Asked, Answer]] = {}  # by compartment

    async def ask(self, compartment: bytes, asked: Asked) -> Answer:
        """Return what the compartment's lane answers. Raises what `send` raises."""
        if compartment not in self._lanes:
            self._lanes[compartment] = Lane(self._send, MOST_A_REQUEST)
        return await self._lanes[compartment].ask(asked)
