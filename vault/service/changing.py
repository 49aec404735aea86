"""Changes with their events: planned under keys that are there, and carried out together."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from vault.audit.event import Event
from vault.crypto.record import SealedRecord
from vault.errors import VaultError
from vault.service.attempt import Attempt
from vault.service.compartment import ServedCompartment
from vault.store.jobs import Change, KeysChangedError, returned

T = TypeVar("T")

_TRIES = 5  # while keys keep changing


class Planned(Protocol[T]):
    """A change of one record, and whose event says what became of it."""

    @property
    def attempted(self) -> Attempt:
        """Whose."""

    @property
    def change(self) -> Change[T]:
        """What is done."""

    def describe(self, outcome: T | VaultError) -> Event:
        """Return the event: of what the change returned, or why it was refused."""


@dataclass(frozen=True, slots=True, eq=False)
class Writing(Generic[T]):
    """A record is written: `sealed` takes the place of `replaced`. None is a repetition."""

    attempted: Attempt
    change: Change[T]
    sealed: SealedRecord
    replaced: SealedRecord | None = None

    def describe(self, outcome: T | VaultError) -> Event:
        """Return its event."""
        return self.attempted.changed(outcome, self.sealed, self.replaced)


@dataclass(frozen=True, slots=True, eq=False)
class Deleting:
    """A record is deleted, but what the law has kept: its change returns the row, if any."""

    attempted: Attempt
    change: Change[SealedRecord | None]
    left: SealedRecord | None

    def describe(self, outcome: SealedRecord | VaultError | None) -> Event:
        """Return its event."""
        return self.attempted.erased(outcome, self.left)


async def with_keys(served: ServedCompartment, write: Callable[[int], Awaitable[T]]) -> T:
    """Run what plans a change in an epoch and carries it out; anew where keys changed in between.

    So a rotation is nobody's error. Raises what `write` raises.
    """
    for tries_left in reversed(range(_TRIES)):
        standing = served.keyring.standing
        try:
            return await write(standing.epoch)
        except KeysChangedError:
            if not tries_left:
                raise
            await served.look_beyond(standing)
    raise AssertionError  # a loop that ends returns or raises


async def change(served: ServedCompartment, planned: Planned[T], epoch: int) -> T:
    """Carry out a change with its event, in one transaction; return what it returns.

    All that it writes was sealed or keyed in that epoch. Raises the VaultError that refused it, or
    as `change_all` does.
    """
    (outcome,) = await change_all(served, (planned,), epoch)
    return returned(outcome)


async def change_all(
    served: ServedCompartment, planned: Sequence[Planned[T]], epoch: int
) -> Sequence[T | VaultError]:
    """Carry out changes, each with its event; return what each returned, or why it was refused.

    Raises VaultError where nothing was written: KeysChangedError where the epoch is over.
    """

    def settle(settled: bool) -> None:
        for its in planned:
            its.attempted.settle(settled)

    changes = [its.change for its in planned]
    describe = [its.describe for its in planned]
    settle(True)  # the committer records refusals too
    try:
        # Who leaves before the events' turn had come takes them along: they say what won't be.
        return await served.committer.change_all(changes, describe, epoch, lambda: settle(False))
    except KeysChangedError:
        settle(False)  # but this one
        raise
    except VaultError:
        for its in planned:
            its.attempted.unwritten()
        raise
