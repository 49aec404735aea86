"""Approving: officers' signatures gather under an entry until there are enough for it."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from vault.errors import Reason, VaultError
from vault.policy import EditionError
from vault.service.editions import Editions
from vault.service.ledger import (
    ControlChainError,
    Entry,
    Ledger,
    sign_off,
    signatures_in,
    statement,
)
from vault.store.control import ControlChain, PendingRow

log = logging.getLogger("piivault.policy")


@dataclass(frozen=True, slots=True)
class Pending:
    """An entry, who approved it so far, and how many officers it needs."""

    kind: str
    body: bytes
    approved_by: tuple[str, ...]
    needed: int
    effective: bool = False


class Approvals:
    """The control process's own work."""

    def __init__(self, chain: ControlChain, editions: Editions) -> None:
        self._chain = chain
        self._editions = editions

    async def approve(self, kind: str, body: bytes, officer: str, signature: bytes) -> Pending:
        """Add an officer's signature to an entry; append the entry once there are enough.

        Raises VaultError(MALFORMED_REQUEST) with all that is wrong with the entry.
        """
        await self._editions.refresh()
        signed = statement(kind, body)
        signatures = await self._gathered(signed) | {officer: signature}
        try:
            ledger = self._editions.ledger
            # First: to read a large document keeps control busy.
            if not ledger.signers(kind, body, {officer: signature}):
                raise ControlChainError(
                    "The signature doesn't hold for this officer, or the officer isn't in the "
                    "server's configuration."
                )
            approved = ledger.signers(kind, body, signatures)
            needed = ledger.needed(kind, body)
            ledger.check(kind, body)
            effective = signed in ledger.applied
            if len(approved) >= needed and not effective:
                await self._append(kind, body, {o: signatures[o] for o in approved})
                effective = True
        except (ControlChainError, EditionError) as e:
            raise VaultError(Reason.MALFORMED_REQUEST, str(e)) from None
        if effective:
            await self._drop_spent()
        else:
            await self._chain.keep_pending(PendingRow(signed, kind, body, sign_off(signatures)))
        return Pending(kind, body, tuple(sorted(approved)), needed, effective)

    async def refreshed(self) -> Ledger:
        """Return the control chain as it is now."""
        await self._editions.refresh()
        return self._editions.ledger

    async def pending(self) -> Sequence[Pending]:
        """Return what waits for more officers."""
        ledger = self._editions.ledger
        found = []
        for row in await self._chain.pending():
            approved = ledger.signers(row.kind, row.body, signatures_in(row.signatures))
            if not approved or not _possible(ledger, row):  # what nobody signed isn't even read
                log.error("what waits under %s can't take effect: passed over", row.statement.hex())
                continue
            found.append(
                Pending(
                    row.kind, row.body, tuple(sorted(approved)), ledger.needed(row.kind, row.body)
                )
            )
        return found

    async def _append(self, kind: str, body: bytes, signatures: dict[str, bytes]) -> None:
        def propose(ledger: Ledger) -> Entry | None:
            return ledger.next(kind, body, signatures)

        await self._editions.add(propose)

    async def _drop_spent(self) -> None:
        """Drop what took effect, and what no longer can: nobody should be asked to sign it.

        A reset that is late must not wait for the owner's next touch.
        """
        ledger = self._editions.ledger
        for row in await self._chain.pending():
            if row.statement in ledger.applied or not _possible(ledger, row):
                await self._chain.drop_pending(row.statement)

    async def _gathered(self, signed: bytes) -> dict[str, bytes]:
        for row in await self._chain.pending():
            if row.statement == signed:
                return signatures_in(row.signatures)
        return {}


def _possible(ledger: Ledger, row: PendingRow) -> bool:
    try:
        ledger.check(row.kind, row.body)
    except (ControlChainError, EditionError):
        return False
    return True
