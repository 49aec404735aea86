"""A signing key of Transit, used in the newest version that those who verify have pinned.

A version that isn't pinned signs nothing: nobody would believe it. So a rotation begins to count
when the operators say so, and no call fails because of it.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol, TypeVar

from vault.crypto.primitives import is_signed
from vault.errors import Reason, VaultError
from vault.keys.asking import ask
from vault.keys.keyring import WrongKeyServerError
from vault.keys.sharing import Lanes

log = logging.getLogger("piivault.keys")

T = TypeVar("T")

_NOBODY = b"piivault/v1/nobody"  # no capability or attestation: those are labelled


class Signs(Protocol):
    """Transit, as signing needs it. Calls block, and raise KeyServerError."""

    def sign(self, key: str, data: bytes, version: int | None = None) -> bytes:
        """Sign with a version of an ed25519 key, the newest by default."""

    def signatures(
        self, key: str, messages: Sequence[bytes], version: int | None = None
    ) -> Sequence[bytes]:
        """Sign several, in one request."""

    def public_keys(self, key: str) -> Mapping[int, bytes]:
        """Return the public keys by version."""


class SigningKey:
    """Signs by one key of the key server; `pinned` are its public halves that count."""

    def __init__(self, transit: Signs, name: str, pinned: Collection[bytes]) -> None:
        self.name = name
        self._transit = transit
        self._pinned = pinned
        self._signs: tuple[int, bytes] | None = None
        self._signatures = Lanes(self._sign)

    async def signs_with(self) -> tuple[int, bytes] | None:
        """Return the version that signs, and its public half; None: none is pinned.

        Raises VaultError(KEYS_UNAVAILABLE).
        """
        if self._signs is None:
            keys = await ask(self._transit.public_keys, self.name)
            pinned = [(version, key) for version, key in keys.items() if key in self._pinned]
            # One answer stands, the first: a payload that names its key is signed with it.
            self._signs = self._signs or max(pinned, default=None)
        return self._signs

    async def newest(self) -> tuple[int, bytes]:
        """Return the version that signs, and its public half.

        Raises VaultError(KEYS_UNAVAILABLE), also where none is pinned.
        """
        signs = await self.signs_with()
        if signs is None:
            log.error("no version of the key %s is among the pinned public keys", self.name)
            raise VaultError(Reason.KEYS_UNAVAILABLE, "Nothing can be signed just now. Retry.")
        return signs

    async def sign(
        self,
        compartment: bytes,
        payload: Callable[[bytes], bytes],
        to_sign: Callable[[bytes], bytes],
    ) -> tuple[bytes, bytes]:
        """Return the payload for the public key that signs, and the signature over it.

        `to_sign` returns the bytes that are signed for it. Others of the same compartment may be
        signed in the same request. Raises VaultError(KEYS_UNAVAILABLE).
        """
        _, public_key = await self.newest()
        written = payload(public_key)
        return written, await self._signatures.ask(compartment, to_sign(written))

    async def check(self) -> None:
        """Have the key server sign, for nobody, and see that it is with the pinned key.

        Raises KeyServerError, keyring.WrongKeyServerError, VaultError(KEYS_UNAVAILABLE).
        """
        version, public_key = await self.newest()
        signature = await asyncio.to_thread(self._transit.sign, self.name, _NOBODY, version)
        if not is_signed(public_key, signature, _NOBODY):
            raise WrongKeyServerError(
                f"The key {self.name} isn't the one among the pinned public keys any more. "
                "Check that [key_server] is the one that this house began with."
            )

    async def _sign(self, messages: Sequence[bytes]) -> Sequence[bytes]:
        version, _ = await self.newest()
        return await ask(self._transit.signatures, self.name, messages, version)
