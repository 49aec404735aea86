"""Issue: from a root id to a pseudonym and a capability. The broker's only work.

The root id passes through and is kept nowhere: not in a variable that outlives the call, not
in a log, not in the trail. So does the assertion of an identity provider that the subject is there.
"""

import asyncio
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from vault.crypto import assertion
from vault.crypto.assertion import PinnedProvider
from vault.crypto.capability import Capability, encode, to_sign
from vault.crypto.export_key import THUMBPRINT_BYTES
from vault.crypto.pseudonym import transit_input
from vault.errors import Reason, VaultError
from vault.keys.asking import ask
from vault.keys.sharing import Lanes
from vault.keys.signing import SigningKey
from vault.keys.transit import Transit
from vault.names import ROOT_ID_BYTES, Pseudonym
from vault.service.call import Call

_NOBODY = b"piivault/v1/nobody"  # no subject's input: those are longer


@dataclass(frozen=True, slots=True)
class Issued:
    """A pseudonym, and the right to act for its subject until `expires` (seconds since 1970)."""

    pseudonym: Pseudonym
    capability: str = field(repr=False)
    expires: int


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the pseudonym key is used on, and the capability for the pseudonym that it gives."""

    sought: bytes = field(repr=False)
    capability: Callable[[Pseudonym], Capability] = field(repr=False)


class Broker:
    """Holds no state but the names of its keys at the key server, and public keys.

    `signing` is pinned to the public keys of capabilities that workers take.
    """

    def __init__(
        self,
        transit: Transit,
        pseudonym_key: str,
        signing: SigningKey,
        ttl: int,
        providers: Sequence[PinnedProvider] = (),
    ) -> None:
        self._transit = transit
        self._pseudonym_key = pseudonym_key
        self._signing = signing
        self._ttl = ttl
        self._providers = providers
        self._issued = Lanes(self._issue_each)

    async def probe(self) -> None:
        """Have the key server use both keys as for a subject, for nobody.

        Raises KeyServerError, keyring.WrongKeyServerError, VaultError(KEYS_UNAVAILABLE).
        """
        await self._signing.check()
        await asyncio.to_thread(self._transit.hmac, self._pseudonym_key, _NOBODY)

    async def issue(
        self,
        call: Call,
        compartment: str,
        root_id: bytes,
        subject_assertion: str = "",
        export_key: bytes = b"",
    ) -> Issued:
        """Return the subject's pseudonym in a compartment, with a capability for the caller.

        With the thumbprint of an export key, it is a capability for an export to that key.

        Raises VaultError(UNKNOWN_COMPARTMENT, MALFORMED_REQUEST, SUBJECT_ASSERTION_REQUIRED,
        SUBJECT_ASSERTION_INVALID, KEYS_UNAVAILABLE).
        """
        uuid = call.edition.compartment(compartment).uuid
        if len(export_key) not in (0, THUMBPRINT_BYTES):
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                f"A JWK thumbprint has {THUMBPRINT_BYTES} bytes.",
                violations={"export_key": f"must have {THUMBPRINT_BYTES} bytes"},
            )
        root_id = self._subject(call, root_id, subject_assertion, export_key)
        if len(root_id) != ROOT_ID_BYTES:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                f"A root id has {ROOT_ID_BYTES} bytes: draw one with piivault.new_root().",
                violations={"root_id": f"must have {ROOT_ID_BYTES} bytes"},
            )
        expires = int(time.time()) + self._ttl
        asked = _Asked(
            transit_input(uuid, root_id),
            lambda its: Capability(uuid, its, call.service.spiffe, expires, export_key),
        )
        return await self._issued.ask(uuid, asked)

    async def _issue_each(self, asked: Sequence[_Asked]) -> Sequence[Issued]:
        """Use both keys, one after the other, for all who asked at one time. Raises VaultError."""
        version, public_key = await self._signing.newest()

        def issued() -> Sequence[Issued]:
            found = self._transit.hmacs(self._pseudonym_key, [its.sought for its in asked])
            pseudonyms = zip(asked, map(Pseudonym, found), strict=True)
            capabilities = [its.capability(pseudonym) for its, pseudonym in pseudonyms]
            payloads = [its.payload(public_key) for its in capabilities]
            messages = [to_sign(payload) for payload in payloads]
            signatures = self._transit.signatures(self._signing.name, messages, version)
            each = zip(capabilities, payloads, signatures, strict=True)
            return [Issued(c.pseudonym, encode(p, s), c.expires) for c, p, s in each]

        return await ask(issued)

    def _subject(
        self, call: Call, root_id: bytes, subject_assertion: str, export_key: bytes
    ) -> bytes:
        """Return whom the caller acts for. An assertion that is given counts, asked for or not.

        Where a provider is pinned, its word alone says whose an export key is: a service that only
        relays an export would otherwise put in its own.
        """
        if not subject_assertion:
            if call.service.require_subject_assertion:
                raise VaultError(
                    Reason.SUBJECT_ASSERTION_REQUIRED,
                    f"Edition {call.edition.number} lets {call.service.name} act only for subjects "
                    "who are there: send the identity provider's assertion for this subject.",
                )
            if export_key and self._providers:
                raise VaultError(
                    Reason.SUBJECT_ASSERTION_REQUIRED,
                    "Here an identity provider says whose an export key is: send its assertion for "
                    "this subject, with the key's thumbprint as `jkt` of its `cnf`.",
                )
            return root_id
        holder = call.service.spiffe
        there = assertion.verify(subject_assertion, self._providers, holder, time.time())
        if root_id and not hmac.compare_digest(root_id, there.root_id):
            raise VaultError(
                Reason.SUBJECT_ASSERTION_INVALID,
                "This assertion is another subject's: send the one of the subject of root_id.",
            )
        if export_key and not hmac.compare_digest(export_key, there.export_key):
            raise VaultError(
                Reason.SUBJECT_ASSERTION_INVALID,
                "This assertion confirms no export key, or another one: the thumbprint of the "
                "subject's own key must be the `jkt` of its `cnf`.",
            )
        return there.root_id
