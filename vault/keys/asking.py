"""Asking the key server from the event loop: in a thread, and what a caller is told of a fault."""

import asyncio
import logging
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerError, WrappedKeyRejected

P = ParamSpec("P")
T = TypeVar("T")

log = logging.getLogger("piivault.keys")


async def ask(method: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a method of Transit. Raises VaultError(KEYS_UNAVAILABLE, DAMAGED)."""
    try:
        return await asyncio.to_thread(method, *args, **kwargs)
    except KeyServerError as e:
        raise told(e) from None


def told(error: KeyServerError) -> VaultError:
    """Return what a caller is told of a fault, and log what it was."""
    error.with_traceback(None)  # its frames hold what was asked, and it stays in our context
    log.error("key server: %s", error)
    if isinstance(error, WrappedKeyRejected):
        return VaultError(
            Reason.DAMAGED,
            "A key of this compartment can't be opened. The security team must look at this.",
        )
    return VaultError(Reason.KEYS_UNAVAILABLE, "The key server can't be asked just now. Retry.")
