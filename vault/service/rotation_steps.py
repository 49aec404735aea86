"""What the steps of all rotations share: where one stands, how a step is noted, how it ends."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.service.call import PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.sweep import SERVICE
from vault.store import rotations
from vault.store.jobs import Change, Transaction
from vault.store.rotations import DONE, FAILED, RUNNING, RotationRow

T = TypeVar("T")

_UNREADABLE = "{} can't be opened: `piivault verify` says which. All others are done."


class Did(StrEnum):
    """What a step did; the tests end a process after each."""

    WENT_ON = "went on"  # some more rows
    SWITCHED = "switched"  # look-ups go by the new index
    DROPPED = "dropped"  # some rows of the old index
    DESTROYED = "destroyed"  # what nothing needs any more
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Step:
    """What was done, to how many rows: durable by now, and done again without harm."""

    did: Did
    rows: int = 1


class Work:
    """One rotation that this process carries out; others may at the same time."""

    def __init__(
        self, served: ServedCompartment, policy: Callable[[], PolicyState], row: RotationRow
    ) -> None:
        self.served = served
        self.policy = policy
        self.row = row

    async def advance(self, cursor: bytes, rows: int, *, unreadable: int = 0) -> Step:
        """Note that it went through so many more rows, of which some can't be opened."""
        row = self.row
        await self._note(cursor, row.done + rows - unreadable, row.unreadable + unreadable)
        return Step(Did.WENT_ON, rows)

    async def begin_again(self) -> None:
        """Go back to the first row: what couldn't be opened is counted anew."""
        await self._note(b"", self.row.done, 0)

    async def _note(self, cursor: bytes, done: int, unreadable: int) -> None:
        await rotations.advance(self.served.database, self.row, cursor, done, unreadable)
        found = await rotations.rotation(self.served.database, self.row.id)
        self.row = found or self.row  # as it is now, if another worker noted it before

    @property
    def runs(self) -> bool:
        """Whether no other worker ended it."""
        return self.row.state == RUNNING

    async def end(self) -> Step:
        """End it."""
        row = self.row
        ended: dict[str, Any] = {"state": DONE, "done": row.total, "error": ""}
        if row.unreadable:
            error = _UNREADABLE.format(row.unreadable)
            ended = {"state": FAILED, "done": row.done, "error": error}

        async def change(transaction: Transaction) -> bool:
            return await rotations.end(transaction, row, **ended, ended=int(time.time()))

        field = f"/{row.field}" if row.field else ""
        await self.alter(f"keys.rotated/{row.level}{field}/{row.to_version}", change)
        return Step(Did.ENDED)

    async def alter(self, operation: str, change: Change[T]) -> T:
        """Change the compartment's own keys, with an event of the worker's; follow at once."""

        def describe(outcome: T | VaultError) -> Event:
            event = self.event(operation)
            if isinstance(outcome, VaultError):
                return event.refused(audit.FAILED, outcome.reason)
            return event

        done = await self.served.committer.alter(change, describe)
        await self.served.look_at_keys()
        return done

    def event(self, operation: str) -> Event:
        """Begin an event of what the worker does by itself."""
        return Event(
            edition=self.policy().current.number,
            service=SERVICE,
            owner="",
            purpose="",
            operation=operation,
            request_id="",
            outcome=audit.ALLOWED,
        )


Steps = Callable[[Work], AsyncIterator[Step]]


def busy() -> VaultError:
    """Return the error for records that others keep changing."""
    return VaultError(Reason.OVERLOADED, "Others keep changing records. It goes on by itself.")
