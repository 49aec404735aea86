"""The auditor's signature under checkpoints, by a key of Transit: of each of its versions."""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from vault.audit.signed import KEY_ID_BYTES, Signed, by_id, sign_off, to_sign
from vault.errors import Reason, VaultError
from vault.keys.asking import ask

_NOTHING = b"piivault/v1/nothing"  # no label of a checkpoint's


class SigningKeys(Protocol):
    """Transit, as signing needs it. Calls block, and raise KeyServerError."""

    def sign(self, key: str, data: bytes) -> bytes:
        """Sign with the newest version of a key."""

    def public_keys(self, key: str) -> Mapping[int, bytes]:
        """Return the public keys by version."""


class Signer:
    """Signs checkpoints. No worker may: the key server lets the auditor's login alone."""

    def __init__(self, transit: SigningKeys, key: str) -> None:
        self._transit, self._key = transit, key
        self._keys: Mapping[bytes, bytes] = {}

    async def keys(self) -> Mapping[bytes, bytes]:
        """Return the public keys by key id. Raises VaultError(KEYS_UNAVAILABLE)."""
        if not self._keys:
            await self._read_keys()
        return self._keys

    async def probe(self) -> None:
        """Have the key server sign what is no checkpoint. Raises KeyServerError."""
        await asyncio.to_thread(self._transit.sign, self._key, _NOTHING)

    async def sign(self, body: bytes) -> Signed:
        """Sign a body. Raises VaultError(KEYS_UNAVAILABLE)."""
        bare = await ask(self._transit.sign, self._key, to_sign(body))
        signed = sign_off(body, bare, await self.keys())
        if signed is None:  # the key was rotated since they were read
            await self._read_keys()
            signed = sign_off(body, bare, self._keys)
        if signed is None:
            raise VaultError(Reason.KEYS_UNAVAILABLE, "The key server signs with another key.")
        return signed

    async def check(self, signed: Signed) -> None:
        """Raise CheckpointError unless a version of this key signed it, a new one included.

        Raises VaultError(KEYS_UNAVAILABLE).
        """
        if signed.signature[:KEY_ID_BYTES] not in await self.keys():
            await self._read_keys()  # it may have been rotated since
        signed.check(self._keys)

    async def _read_keys(self) -> None:
        found = await ask(self._transit.public_keys, self._key)
        self._keys = by_id(found.values())
