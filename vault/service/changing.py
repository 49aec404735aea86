"""Changes with their events: planned under keys that are there, and carried out together."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from vault.audit.event import Event
from vault.errors import VaultError, returned
from vault.frozen import dataclass
from vault.service.attempt import Attempt
from vault.service.compartment import ServedCompartment
from vault.store.jobs import Change, KeysChangedError

T = TypeVar("T")

_TRIES = 5  # while keys keep changing


@dataclass(frozen=True, slots=True, eq=False)
class Planned(Generic[T]):
    """A change of one record, and its event: of what the change returned, or why it was refused."""

    attempted: Attempt
    change: Change[T]
    describe: Callable[[T | VaultError], Event]


async def with_keys(served: ServedCompartment, write: Callable[[int], Awaitable[T]]) -> T:
    """Run what plans a change in an epoch and carries it out; anew where keys changed in between.

    So a rotation is nobody's error. Raises what `write` raises.
    """
    for _ in range(_TRIES - 1):
        standing = served.keyring.standing
        try:
            return await write(standing.epoch)
        except KeysChangedError:
            await served.look_beyond(standing)
    return await write(served.keyring.epoch)


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
