"""Drawing a key of the ring, so that none is kept that the key server opens no more.

Between drawing a key and writing it, an officer may rotate the Transit key, have all keys wrapped
anew, and trim the older versions away: a worker that was stopped for a while is enough. The key
would be written, be the newest, and never open: nothing could be written any more, and nothing
would mend that. So whoever writes a key looks, in the same transaction, whether it is behind.

The transaction has the compartment's own row: wrapping anew ends by taking it alone, and an officer
trims after that, by what the keyring says then.
"""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, WrappedKey, transit_version
from vault.keys.keyring import Keyring, WrongKeyServerError
from vault.store.lookups import KeyRow, Lookups

_DRAWS = 5  # of one key, while others are wrapped anew each time

T = TypeVar("T")


class OvertakenError(VaultError):
    """A key was drawn, and others were wrapped anew before it was written. Draw it anew."""

    def __init__(self) -> None:
        super().__init__(
            Reason.KEYS_UNAVAILABLE,
            "The key server wraps new keys under an older version of its key than those that are "
            "here: they are being wrapped anew just now, or it was restored from an older "
            "snapshot. Retry; if that goes on, the security team must look at the key server.",
        )


async def until_written(draw_and_write: Callable[[], Awaitable[T]]) -> T:
    """Return what it returns; do it anew while it raises OvertakenError, but not for ever."""
    for _ in range(_DRAWS - 1):
        try:
            return await draw_and_write()
        except OvertakenError:
            continue
    return await draw_and_write()


async def draw(keyring: Keyring, lookups: Lookups, name: KeyName) -> WrappedKey:
    """Draw a key, of the key server that wrote this database.

    Raises VaultError(DAMAGED) if it isn't, or was restored from another time; KEYS_UNAVAILABLE,
    STORAGE_UNAVAILABLE.
    """
    await _check_canary(keyring, lookups)
    return await keyring.new_key(name)


async def _check_canary(keyring: Keyring, lookups: Lookups) -> None:
    refused = ""
    while (own := await lookups.identity()) is not None and own.canary != refused:
        try:
            return await keyring.check_canary(own.canary)
        except WrongKeyServerError:
            refused = own.canary  # it may have been wrapped anew since it was read
    raise VaultError(
        Reason.DAMAGED,
        "The key server can't open the canary of this compartment: restored from another time, or "
        "not the one that wrote the data. No key was drawn. The security team must look at this.",
    )


def check_drawn(key: KeyRow, ring: Iterable[KeyRow], canary: str) -> None:
    """Raise OvertakenError if a key that was drawn is behind what its Transit key wraps here."""
    of_trail = key.kind == KeyKind.AUDIT
    wrapped = [row.wrapped for row in ring if (row.kind == KeyKind.AUDIT) == of_trail]
    if not of_trail:
        wrapped.append(canary)
    if transit_version(key.wrapped) < max(map(transit_version, wrapped), default=0):
        raise OvertakenError
