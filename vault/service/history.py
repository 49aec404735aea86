"""The wall of history: what an owner's services once touched, they have seen for ever.

Unless two officers say otherwise, with a reason (a reset): the owner's next operation there, at a
worker that has read of it, is a first one again, held against all else that it touched. A worker
that hasn't (a second's time, or `edition_stale_after` where it is cut off from the control
database) serves what no touch records. What people saw, they remember.

The first operation of an owner in a compartment is written into the control chain before it is
served. Publishing an edition appends to the same chain, and of two who append at once one looks
again: so no edition is judged without the touch, and no touch served under an edition that no
longer is. Later operations look into memory and pay nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from vault.errors import Reason, VaultError
from vault.policy import WORKERS
from vault.service.bodies import touch_body
from vault.service.call import Call
from vault.service.editions import Editions
from vault.service.ledger import TOUCH, Entry, Ledger


@dataclass(frozen=True, slots=True)
class Touch:
    """What an owner touched: ids, and the last names that editions gave them ("" if none did)."""

    owner_id: str
    owner: str
    compartment_uuid: bytes
    compartment: str


def named(ledger: Ledger, owner_id: str, uuid: bytes) -> Touch:
    """Name a touch as people know it."""
    newest_first = [ledger.editions[number] for number in sorted(ledger.editions, reverse=True)]
    owners = (name for e in newest_first for name, its in e.owners.items() if its == owner_id)
    compartments = (e.by_uuid[uuid].name for e in newest_first if uuid in e.by_uuid)
    return Touch(owner_id, next(owners, ""), uuid, next(compartments, ""))


def touches(ledger: Ledger) -> Iterator[Touch]:
    """Yield all that counts. What workers opened is no owner's history."""
    for owner_id, uuids in ledger.touched.items():
        if owner_id != WORKERS:
            yield from (named(ledger, owner_id, uuid) for uuid in sorted(uuids))


def resets(ledger: Ledger) -> Iterator[tuple[Touch, str]]:
    """Yield each touch that officers took back, and their reason."""
    for reset in ledger.resets:
        yield named(ledger, reset.owner_id, reset.compartment_uuid), reset.reason


class History:
    """Notes first touches, and which compartments workers have opened."""

    def __init__(self, editions: Editions) -> None:
        self._editions = editions

    @property
    def seen(self) -> tuple[int, bytes]:
        """How far the control chain was read: the last entry's sequence number and hash."""
        return self._editions.ledger.sequence, self._editions.ledger.head

    async def provisioned(self, compartment: bytes) -> None:
        """Put on record that a worker opened a compartment: an edition may bring it now."""

        def propose(ledger: Ledger) -> Entry | None:
            if compartment in ledger.touched.get(WORKERS, ()):
                return None
            return ledger.next(TOUCH, touch_body(WORKERS, compartment), {})

        await self._editions.add(propose)

    async def touch(self, call: Call, compartment: bytes) -> bool:
        """Return once the control chain holds this touch; tell whether it is the first.

        Raises VaultError(NOT_GRANTED) if the owner touched what must not be joined with it, or
        VaultError(POLICY_UNAVAILABLE) if the policy changed meanwhile: the caller retries.
        """
        owner = call.service.owner_id
        if compartment in self._editions.ledger.touched.get(owner, ()):
            return False

        def propose(ledger: Ledger) -> Entry | None:
            touched = ledger.touched.get(owner, frozenset())
            if compartment in touched:
                return None
            if ledger.newest is not call.policy.ledger.newest:
                raise VaultError(Reason.POLICY_UNAVAILABLE, "The policy changed just now. Retry.")
            _check(call, touched, compartment)
            return ledger.next(TOUCH, touch_body(owner, compartment), {})

        await self._editions.add(propose)
        return True


def _check(call: Call, touched: frozenset[bytes], compartment: bytes) -> None:
    uuids = {c.uuid: c.name for c in call.edition.compartments.values()}
    here = uuids[compartment]
    for before in touched:
        other = uuids.get(before)
        if other is None or frozenset((here, other)) not in call.edition.joinable:
            raise VaultError(
                Reason.NOT_GRANTED,
                f"The owner {call.service.owner} touched {other or 'a compartment of the past'} "
                f"before, which isn't joinable with {here}: what was once seen stays seen.",
            )
