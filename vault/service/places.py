"""Places: how much is worked on at once. Whoever finds none is told when to come back.

A queue without a bound grows until all that leaves it is too late for whoever waited. So a place
is taken before any work, and what has one is never sent away for want of another: a record that is
worked on waits in one queue at a time, the loader's or the committer's, which bounds both.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from secrets import SystemRandom

from vault.errors import Reason, VaultError
from vault.policy import Service

MOST_CALLS = 512
MOST_RECORDS = 4096
RETRY_AFTER = 0.1  # seconds, and up to as much again: not all at one time


class Places:
    """So many places, and an eighth more for those who act for the subject.

    However many services read, a subject can withdraw, and an officer can stop all of it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = 0

    @contextmanager
    def take(self, service: Service | None, wanted: int = 1) -> Iterator[None]:
        """Keep so many places; raise VaultError(OVERLOADED) if there aren't as many.

        None is an officer, who takes nobody's.
        """
        self.check(service, wanted)
        weight = 0 if service is None else wanted
        self._taken += weight
        try:
            yield
        finally:
            self._taken -= weight

    def check(self, service: Service | None, wanted: int = 1) -> None:
        """Raise VaultError(OVERLOADED) unless so many places are free now."""
        if wait := self.wait(service, wanted):
            raise VaultError(
                Reason.OVERLOADED,
                "All places are taken: nothing was begun. Come back in a moment.",
                retry_after=wait,
            )

    def wait(self, service: Service | None, wanted: int = 1) -> float:
        """Return the seconds after which to look again; 0 if so many places are free now."""
        if service is None:
            return 0.0
        most = self._most + (self._most + 7) // 8 * service.subject_facing
        if self._taken + wanted <= most:
            return 0.0
        return RETRY_AFTER * (1 + SystemRandom().random())
