"""What waits for the committer: changes, or none where there was but a read; and their events."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from vault.errors import Reason, VaultError

E = TypeVar("E")
T = TypeVar("T")

Transaction = AsyncConnection
Change = Callable[[Transaction], Awaitable[T]]


class KeysChangedError(VaultError):
    """A change was planned under keys of another epoch. Nothing was done: plan it again."""

    def __init__(self) -> None:
        super().__init__(
            Reason.KEYS_UNAVAILABLE, "The keys of this compartment are changing. Retry."
        )


@dataclass(slots=True, eq=False)
class Job(Generic[E]):
    """Changes that one caller waits for, or none; and the events that tell what became of them.

    Changes are of an epoch; those without alter the keys themselves.
    """

    changes: Sequence[Change[Any]]
    describe: Callable[[Sequence[Any]], Sequence[E]]  # of what each change returned, or raised
    size: int = 1  # how many events it has
    epoch: int | None = None
    taken_back: Callable[[], None] | None = None  # called if the caller leaves before its turn
    done: asyncio.Future[Sequence[Any]] = field(init=False)
    outcomes: Sequence[Any] | KeysChangedError = ()  # what each returned, or its VaultError

    def answer(self, outcomes: Sequence[Any] | Exception) -> None:
        """Tell the caller, if there is one still."""
        if self.done.done():
            return
        if isinstance(outcomes, Exception):
            self.done.set_exception(outcomes)
            self.done.exception()  # heard, even if the caller has gone
        else:
            self.done.set_result(outcomes)

    def failure(self, error: Exception) -> Exception:
        """Return what the caller hears if nothing was written: for a read, of the trail."""
        keys = isinstance(error, VaultError) and error.reason is Reason.KEYS_UNAVAILABLE
        if keys or self.changes:
            return error
        return VaultError(
            Reason.AUDIT_UNAVAILABLE,
            "The audit trail can't be written, so nothing is revealed. Retry.",
        )


def describe_each(describe: Sequence[Callable[[Any], E]]) -> Callable[[Sequence[Any]], Sequence[E]]:
    """Describe each outcome by its own."""
    return lambda outcomes: [its(one) for its, one in zip(describe, outcomes, strict=True)]
