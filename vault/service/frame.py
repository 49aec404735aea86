"""The frame of a use case: whatever it raises is recorded before the caller hears of it."""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Generic, Protocol, TypeVar

from vault.errors import Reason, VaultError

T = TypeVar("T")


class Attempted(Protocol):
    """An attempt as its frame sees it; `attempt.Attempt` is the one there is."""

    async def refuse(self, error: VaultError) -> None:
        """Record a refusal, unless an event was recorded before. Raises VaultError."""

    def count(self, error: VaultError) -> None:
        """Count a refusal for which no work is to be done."""

    def leave(self) -> None:
        """Note that nobody waits for the answer any more, unless an event is on its way."""


class Frame(Generic[T]):
    """Room for attempts, for all or for none; what is raised in it is recorded for each of them.

    `framed` is what `async with` gives. Raises VaultError(OVERLOADED) where no place is free.
    """

    def __init__(
        self, framed: T, each: Sequence[Attempted], places: AbstractContextManager[None]
    ) -> None:
        self._framed, self._each, self._places = framed, each, places

    async def __aenter__(self) -> T:
        try:
            self._places.__enter__()
        except VaultError as e:
            for attempted in self._each:  # what is refused so is to do no work
                attempted.count(e)
            raise
        return self._framed

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            if isinstance(error, asyncio.CancelledError):
                self._left()
            elif isinstance(error, Exception):
                fault = VaultError(Reason.INTERNAL, "a fault of the server's")
                told = error if isinstance(error, VaultError) else fault
                await refuse_all((attempted, told) for attempted in self._each)
        except asyncio.CancelledError:  # before it came to the refusal of each
            self._left()
            raise
        finally:
            self._places.__exit__(None, None, None)

    def _left(self) -> None:
        for attempted in self._each:
            attempted.leave()


async def refuse_all(refused: Iterable[tuple[Attempted, VaultError]]) -> None:
    """Record refusals, each unless it has an event. Raises VaultError, once all are through."""
    refused = list(refused)
    for told, (_, error) in zip(await refuse_each(refused), refused, strict=True):
        if told is not error:
            raise told


async def refuse_each(refused: Sequence[tuple[Attempted, VaultError]]) -> Sequence[VaultError]:
    """Record refusals; return what each is answered: itself, or why it couldn't be recorded."""
    refusing = (attempted.refuse(error) for attempted, error in refused)
    told: list[VaultError] = []
    failures = await asyncio.gather(*refusing, return_exceptions=True)
    for failed, (_, error) in zip(failures, refused, strict=True):
        if isinstance(failed, BaseException) and not isinstance(failed, VaultError):
            raise failed
        told.append(failed or error)
    return told
