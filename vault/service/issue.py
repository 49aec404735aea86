"""Issue: from a root id to a pseudonym and a capability. The broker's only work.

The root id passes through and is kept nowhere: not in a variable that outlives the call, not
in a log, not in the trail. So does the assertion of an identity provider that the subject is there.
"""

import asyncio
import hmac
import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from vault.crypto import assertion
from vault.crypto.assertion import PinnedProvider
from vault.crypto.capability import Capability, encode, to_sign
from vault.crypto.primitives import is_signed
from vault.crypto.pseudonym import transit_input
from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerError
from vault.keys.keyring import WrongKeyServerError
from vault.keys.transit import Transit
from vault.names import ROOT_ID_BYTES, Pseudonym
from vault.service.call import Call

log = logging.getLogger("piivault.broker")

_NOBODY = b"piivault/v1/nobody"  # neither a subject's input nor a capability: they are longer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Issued:
    """A pseudonym, and the right to act for its subject until `expires` (seconds since 1970)."""

    pseudonym: Pseudonym
    capability: str = field(repr=False)
    expires: int


class Broker:
    """Holds no state but the names of its keys at the key server, and public keys.

    `pinned` are the public keys of capabilities that workers take.
    """

    def __init__(
        self,
        transit: Transit,
        pseudonym_key: str,
        capability_key: str,
        ttl: int,
        pinned: Collection[bytes],
        providers: Sequence[PinnedProvider] = (),
    ) -> None:
        self._transit = transit
        self._pseudonym_key = pseudonym_key
        self._capability_key = capability_key
        self._ttl = ttl
        self._pinned = pinned
        self._providers = providers
        self._signs: tuple[int, bytes] | None = None

    async def signs_with(self) -> tuple[int, bytes] | None:
        """Return the newest pinned version of the capability key, and its public half.

        A newer one that isn't pinned signs nothing: workers would refuse it. None: none is pinned.
        """
        if self._signs is None:
            keys = await self._ask(lambda: self._transit.public_keys(self._capability_key))
            pinned = [(version, key) for version, key in keys.items() if key in self._pinned]
            self._signs = max(pinned, default=None)
        return self._signs

    async def ask(self) -> None:
        """Have the key server use both keys as for a subject, for nobody.

        Raises KeyServerError, keyring.WrongKeyServerError, VaultError(KEYS_UNAVAILABLE).
        """
        version, public_key = await self._signing()
        await asyncio.to_thread(self._transit.hmac, self._pseudonym_key, _NOBODY)
        sign = self._transit.sign
        signature = await asyncio.to_thread(sign, self._capability_key, _NOBODY, version)
        if not is_signed(public_key, signature, _NOBODY):
            raise WrongKeyServerError(
                f"The key {self._capability_key} isn't the one among `capability_keys` any more. "
                "Check that [key_server] is the one that this house began with."
            )

    async def issue(
        self, call: Call, compartment: str, root_id: bytes, subject_assertion: str = ""
    ) -> Issued:
        """Return the subject's pseudonym in a compartment, with a capability for the caller.

        Raises VaultError(UNKNOWN_COMPARTMENT, MALFORMED_REQUEST, SUBJECT_ASSERTION_REQUIRED,
        SUBJECT_ASSERTION_INVALID, KEYS_UNAVAILABLE).
        """
        uuid = call.edition.compartment(compartment).uuid
        root_id = self._subject(call, root_id, subject_assertion)
        if len(root_id) != ROOT_ID_BYTES:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                f"A root id has {ROOT_ID_BYTES} bytes: draw one with piivault.new_root().",
                violations={"root_id": f"must have {ROOT_ID_BYTES} bytes"},
            )
        sought = transit_input(uuid, root_id)
        raw = await self._ask(lambda: self._transit.hmac(self._pseudonym_key, sought))
        pseudonym = Pseudonym(raw)
        expires = int(time.time()) + self._ttl
        capability = Capability(uuid, pseudonym, call.service.spiffe, expires)
        version, public_key = await self._signing()
        payload = capability.payload(public_key)
        signature = await self._ask(
            lambda: self._transit.sign(self._capability_key, to_sign(payload), version)
        )
        return Issued(pseudonym, encode(payload, signature), expires)

    def _subject(self, call: Call, root_id: bytes, subject_assertion: str) -> bytes:
        """Return whom the caller acts for. An assertion that is given counts, asked for or not."""
        if not subject_assertion:
            if call.service.require_subject_assertion:
                raise VaultError(
                    Reason.SUBJECT_ASSERTION_REQUIRED,
                    f"Edition {call.edition.number} lets {call.service.name} act only for subjects "
                    "who are there: send the identity provider's assertion for this subject.",
                )
            return root_id
        holder = call.service.spiffe
        there = assertion.verify(subject_assertion, self._providers, holder, time.time())
        if root_id and not hmac.compare_digest(root_id, there):
            raise VaultError(
                Reason.SUBJECT_ASSERTION_INVALID,
                "This assertion is another subject's: send the one of the subject of root_id.",
            )
        return there

    async def _signing(self) -> tuple[int, bytes]:
        signs = await self.signs_with()
        if signs is None:
            log.error("no version of the capability key is among `capability_keys`")
            raise VaultError(Reason.KEYS_UNAVAILABLE, "Nothing can be signed just now. Retry.")
        return signs

    async def _ask(self, call: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(call)
        except KeyServerError as e:
            log.error("key server: %s", e)
            raise VaultError(
                Reason.KEYS_UNAVAILABLE, "The key server can't be asked just now. Retry."
            ) from None
