"""Compartments as processes serve them, without a server in front, on a real key server."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from vault.keys.keyring import Keyring
from vault.keys.transit import Transit
from vault.service.compartment import KEY_STALE_AFTER, ServedCompartment
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.limits import Limits
from vault.store.engine import connect

UUID = b"accounts: 16 byt"


@asynccontextmanager
async def serving_process(
    url: str,
    transit: Transit,
    stale_after: float = KEY_STALE_AFTER,
    stuck_after: float | None = None,
) -> AsyncIterator[ServedCompartment]:
    """Open a compartment as one more process would; it isn't established yet."""
    nobody_asks = cast(Editions, None)  # no request passes here
    ring = Keyring(transit, "piivault-accounts", "piivault-accounts.audit", UUID)
    database = connect(url, stuck_after=stuck_after)
    served = ServedCompartment(
        "accounts",
        UUID,
        database,
        ring,
        {},
        History(nobody_asks),
        Limits(10, 10),
        key_stale_after=stale_after,
    )
    try:
        yield served
    finally:
        await served.close()
