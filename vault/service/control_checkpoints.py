"""The auditor's word on how far the control chain went."""

import asyncio
from collections.abc import Callable

from vault.audit.checkpoint import ControlCheckpoint
from vault.audit.signed import CONTROL
from vault.service.checkpoints import microseconds
from vault.service.shipping import Shipping
from vault.service.signer import Signer


class ControlCheckpoints:
    """Ships how far the control chain went. It is a single chain, and its entries are numbered."""

    def __init__(
        self, signer: Signer, shipping: Shipping, clock: Callable[[], int] = microseconds
    ) -> None:
        self.signer, self._shipping, self._clock = signer, shipping, clock
        self._shipped = 0

    async def look(self, sequence: int, head: bytes) -> None:
        """Ship the chain's end, unless it was shipped. Raises VaultError, OSError."""
        if sequence > self._shipped:
            signed = await self.signer.sign(ControlCheckpoint(self._clock(), sequence, head).body)
            await asyncio.to_thread(self._shipping.ship, signed.line(CONTROL))
            self._shipped = sequence
