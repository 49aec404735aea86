"""The policy in force: the control chain read, followed and added to."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from vault.errors import Reason, VaultError
from vault.service.call import PolicyState
from vault.service.ledger import ControlChainError, Entry, Ledger
from vault.store.control import ChainRow, ControlChain

_TRIES = 5


class Editions:
    """What this process knows of the control chain. It never goes back behind what it saw.

    A state older than `stale_after` seconds isn't served: somebody may have been blocked since.
    """

    def __init__(
        self,
        chain: ControlChain,
        officers: Mapping[str, bytes],
        stale_after: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._chain = chain
        self._stale_after, self._clock = stale_after, clock
        self._confirmed = clock()
        self.ledger = Ledger(officers)

    async def refresh(self) -> None:
        """Read what is new. Raises ControlChainError, VaultError(STORAGE_UNAVAILABLE)."""
        started, known = self._clock(), self.ledger
        entries = [_entry(row) for row in await self._chain.since(known.sequence)]
        if known.sequence:
            _check_end(entries[:1], known.sequence, known.head)
            entries = entries[1:]
        if known is self.ledger:  # else another task has read further meanwhile
            self.ledger = known.follow(entries)
        self._confirmed = max(self._confirmed, started)

    def state(self) -> PolicyState:
        """Return the edition in force.

        Raises VaultError(POLICY_UNAVAILABLE) if there is none, or if it couldn't be confirmed
        for too long.
        """
        current = self.ledger.in_force(datetime.now(UTC))
        if current is None:
            raise VaultError(
                Reason.POLICY_UNAVAILABLE,
                "No edition of the policy is in force yet. Publish one; the first by `piivault "
                "policy first`.",
            )
        if self._clock() - self._confirmed > self._stale_after:
            raise VaultError(
                Reason.POLICY_UNAVAILABLE,
                "The edition in force couldn't be confirmed for too long. Retry; if it lasts, tell "
                "the operators that the control database can't be read, or doesn't hold.",
            )
        return PolicyState(current, self.ledger)

    async def check_seen(self, sequence: int, head: bytes) -> None:
        """Raise ControlChainError unless the chain still holds what was seen before."""
        if sequence:
            _check_end([_entry(row) for row in await self._chain.since(sequence)], sequence, head)

    async def add(self, propose: Callable[[Ledger], Entry | None]) -> None:
        """Append what `propose` returns for the ledger as it is at the end of the chain.

        It may be asked several times: whoever adds first wins, and everybody else looks again.
        None adds nothing. Raises what `propose` raises, or VaultError(STALE_ETAG).
        """
        for _ in range(_TRIES):
            await self.refresh()
            entry = propose(self.ledger)
            if entry is None:
                return
            if await self._chain.append(_row(entry)):
                await self.refresh()
                return
        raise VaultError(Reason.STALE_ETAG, "Others keep adding to the control chain. Try again.")


def _check_end(entries: Sequence[Entry], sequence: int, head: bytes) -> None:
    if not entries or entries[0].hash != head:
        raise ControlChainError(
            f"The control chain no longer holds its entry {sequence}, which was seen here "
            "before: it was cut off or replaced. Restore the control database."
        )


def _entry(row: ChainRow) -> Entry:
    return Entry(row.sequence, row.previous, row.kind, row.body, row.signatures)


def _row(entry: Entry) -> ChainRow:
    return ChainRow(entry.sequence, entry.previous, entry.kind, entry.body, entry.signatures)
