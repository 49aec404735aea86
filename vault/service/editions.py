"""The editions in force, read from the control chain and believed only if officers signed them.

    hash = SHA-256(label, sequence, previous hash, kind, body)

An officer's signature is over the hash: it holds for one body at one place of one chain. Whoever
edits the control database can cut its end off, no more; an edition older than the last one seen
is refused.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from vault.crypto.primitives import digest, is_signed
from vault.errors import Reason, VaultError
from vault.names import from_base64url, to_base64url
from vault.policy import Edition, EditionError, compile_edition
from vault.service.call import PolicyState
from vault.store.control import ChainRow, ControlChain

log = logging.getLogger("piivault.policy")

EDITION = "edition"
_START = bytes(32)


class ControlChainError(Exception):
    """The control chain doesn't hold: altered, unsigned, or signed by nobody we know."""


@dataclass(frozen=True, slots=True)
class Signature:
    """An officer's signature over an entry's hash."""

    officer: str
    signature: bytes


def entry_hash(sequence: int, previous: bytes, kind: str, body: bytes) -> bytes:
    """Return what officers sign, and what the next entry holds."""
    place = sequence.to_bytes(8, "big")
    return digest(b"piivault/v1/control", place, previous, kind.encode(), body)


def to_bytes(signatures: Sequence[Signature]) -> bytes:
    """Write signatures as a chain row keeps them."""
    return json.dumps({s.officer: to_base64url(s.signature) for s in signatures}).encode()


class Editions:
    """All editions that officers published, in order. `officers` are public keys by name."""

    def __init__(self, chain: ControlChain, officers: Mapping[str, bytes]) -> None:
        self._chain = chain
        self._officers = officers
        self._last = 0
        self._hash = _START
        self._editions: dict[int, Edition] = {}

    async def refresh(self) -> None:
        """Read what is new in the chain. Raises ControlChainError, VaultError(STORAGE_UNAVAILABLE).

        Never goes back: an entry once seen stays in force whatever the database says later.
        """
        for row in await self._chain.after(self._last):
            edition = self._believe(row)
            self._editions[edition.number] = edition
            self._last, self._hash = row.sequence, self._hash_of(row)
            log.info("edition %d read, in force from %s", edition.number, edition.in_force)

    def state(self, now: datetime | None = None) -> PolicyState:
        """Return the edition in force; raise VaultError(STORAGE_UNAVAILABLE) if there is none."""
        moment = now or datetime.now(UTC)
        current = max(
            (e for e in self._editions.values() if e.in_force <= moment),
            key=lambda e: e.number,
            default=None,
        )
        if current is None:
            raise VaultError(
                Reason.STORAGE_UNAVAILABLE, "No edition of the policy is in force yet."
            )
        return PolicyState(current, dict(self._editions))

    @property
    def newest(self) -> Edition | None:
        """The edition published last, in force or not."""
        return self._editions[max(self._editions)] if self._editions else None

    async def publish(self, text: str, officer: str, sign: Callable[[bytes], bytes]) -> Edition:
        """Check an edition and append it, signed; `sign` gets the hash and returns 64 bytes.

        Raises EditionError with every fault, or VaultError(STALE_ETAG).
        """
        await self.refresh()
        edition = compile_edition(text)
        self._check_succession(edition)
        sequence, body = self._last + 1, text.encode()
        signed = Signature(officer, sign(entry_hash(sequence, self._hash, EDITION, body)))
        row = ChainRow(sequence, self._hash, EDITION, body, to_bytes([signed]))
        self._believe(row)  # refuses our own mistakes before anybody else meets them
        await self._chain.append(row)
        await self.refresh()
        return edition

    def _believe(self, row: ChainRow) -> Edition:
        if row.sequence != self._last + 1 or row.previous != self._hash:
            raise ControlChainError(
                f"Entry {row.sequence} of the control chain doesn't follow from the one before it."
            )
        if row.kind != EDITION:
            raise ControlChainError(
                f"Entry {row.sequence} is of a kind that this release doesn't know."
            )
        if not self._is_signed(row):
            raise ControlChainError(
                f"Entry {row.sequence} of the control chain isn't signed by an officer whose "
                "key is in the configuration."
            )
        edition = compile_edition(row.body.decode())
        self._check_succession(edition)
        return edition

    def _is_signed(self, row: ChainRow) -> bool:
        signed = self._hash_of(row)
        return any(
            (key := self._officers.get(officer)) is not None
            and is_signed(key, from_base64url(signature), signed)
            for officer, signature in json.loads(row.signatures).items()
        )

    def _check_succession(self, edition: Edition) -> None:
        newest = self.newest
        expected = newest.number + 1 if newest else 1
        if edition.number != expected:
            raise ControlChainError(f"The next edition is number {expected}, not {edition.number}.")
        if edition.predecessor != (newest.digest if newest else None):
            raise ControlChainError(
                f"Edition {edition.number} must name its predecessor's digest as `predecessor`: "
                f"{newest.digest.hex() if newest else 'null'}."
            )

    @staticmethod
    def _hash_of(row: ChainRow) -> bytes:
        return entry_hash(row.sequence, row.previous, row.kind, row.body)


__all__ = ["ControlChainError", "EditionError", "Editions", "Signature", "entry_hash", "to_bytes"]
