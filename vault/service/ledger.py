"""What the control chain says, as a state machine without I/O.

    hash      = SHA-256(label, sequence, previous hash, kind, body, signatures)
    statement = SHA-256(label, kind, body)

Each entry holds the hash of the one before. Officers sign the statement, not the place; a statement
takes effect once, so that a signature can't be replayed. Whoever edits the control database can cut
its end off, no more, and a process refuses to go back behind what it saw.

    kind      body                             who signs             effect
    edition   the YAML document                1 officer, or 2 (*)   the policy changes
    block     {"service", "reason", "nonce"}   1 officer             a service is refused at once
    unblock   {"block": statement, "reason"}   2 officers            it is served again
    destroy   {"compartment", "digest",        2 officers            a worker may destroy the key
               "reason", "nonce"}                                    that the digest is of
    touch     {"compartment", "owner"}         nobody                history (`service.history`)
    reset     {"owner", "compartment",         2 officers            the touch counts no more, from
               "reason", "nonce"}                                    this entry on

(*) two where it declares a new joinable pair, has a new service act for subjects, or no longer asks
    one for `require_subject_assertion`.

An entry that doesn't hold is part of the chain and of no effect: it is reported, and can't stop the
entries behind it. It was judged at its place: what a later entry allows, a reset above all, doesn't
bring it back. A touch needs no signature, since a forged one only forbids; a reset undoes it.
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from vault.crypto.primitives import digest, is_signed
from vault.names import from_base64url, to_base64url
from vault.policy import (
    WORKERS,
    Edition,
    EditionError,
    Service,
    compile_edition,
    compile_successor,
    needs_officers,
)
from vault.service.bodies import canonical

log = logging.getLogger("piivault.policy")

EDITION, BLOCK, UNBLOCK, TOUCH, RESET = "edition", "block", "unblock", "touch", "reset"
DESTROY = "destroy"
SIGNED = (EDITION, BLOCK, UNBLOCK, RESET, DESTROY)
_START = bytes(32)


class ControlChainError(Exception):
    """The control chain doesn't hold, or an entry can't be added to it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as stored; `signatures` is what `sign_off` wrote."""

    sequence: int
    previous: bytes
    kind: str
    body: bytes
    signatures: bytes

    @property
    def hash(self) -> bytes:
        """What the next entry holds."""
        place = self.sequence.to_bytes(8, "big")
        parts = (place, self.previous, self.kind.encode(), self.body, self.signatures)
        return digest(b"piivault/v1/control", *parts)


@dataclass(frozen=True, slots=True)
class Block:
    """A blocked service: by its name, and by every identity that it has had."""

    service: str
    identities: frozenset[str]  # the SPIFFE ids that the name has had
    reason: str


@dataclass(frozen=True, slots=True)
class Reset:
    """A touch that two officers took back, and why."""

    owner_id: str
    compartment_uuid: bytes
    reason: str


def statement(kind: str, body: bytes) -> bytes:
    """Return the 32 bytes that an officer signs."""
    return digest(b"piivault/v1/control-statement", kind.encode(), body)


def sign_off(signatures: Mapping[str, bytes]) -> bytes:
    """Write officers' signatures (64 bytes each, by name) as an entry keeps them."""
    return canonical({name: to_base64url(raw) for name, raw in signatures.items()})


def signatures_in(stored: bytes) -> dict[str, bytes]:
    """Read what `sign_off` wrote; anything else is no signature."""
    try:
        return {name: from_base64url(text) for name, text in json.loads(stored).items()}
    except (ValueError, AttributeError, TypeError, RecursionError):
        return {}


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """All that the chain has said so far. `officers` are public keys by name."""

    officers: Mapping[str, bytes]
    sequence: int = 0
    head: bytes = _START
    editions: Mapping[int, Edition] = field(default_factory=dict)
    documents: Mapping[int, str] = field(default_factory=dict)
    blocks: Mapping[bytes, Block] = field(default_factory=dict)  # by statement
    touched: Mapping[str, frozenset[bytes]] = field(default_factory=dict)  # uuids by owner id
    resets: tuple[Reset, ...] = ()  # as they were decided
    applied: frozenset[bytes] = frozenset()  # statements that took effect
    destructions: frozenset[bytes] = frozenset()  # digests of dry runs: `service.destruction`

    @property
    def newest(self) -> Edition | None:
        """The edition published last, in force or not."""
        return self.editions[max(self.editions)] if self.editions else None

    def in_force(self, moment: datetime) -> Edition | None:
        """Return the newest edition whose time has come."""
        newest_first = reversed([*self.editions.values()])  # each follows its predecessor
        return next((e for e in newest_first if e.in_force <= moment), None)

    def is_blocked(self, service: Service) -> bool:
        """Tell whether officers blocked a service, by its name or its identity."""
        return any(
            b.service == service.name or service.spiffe in b.identities
            for b in self.blocks.values()
        )

    def check(self, kind: str, body: bytes) -> None:
        """Raise ControlChainError or EditionError for what couldn't take effect, signed or not."""
        if statement(kind, body) not in self.applied:
            self._effect(kind)(body)

    def next(self, kind: str, body: bytes, signatures: Mapping[str, bytes]) -> Entry:
        """Return the entry that would follow. What `follow` would pass over is refused here."""
        entry = Entry(self.sequence + 1, self.head, kind, body, sign_off(signatures))
        self._take(entry)
        return entry

    def follow(self, entries: Sequence[Entry]) -> "Ledger":
        """Return the ledger after more entries; raise ControlChainError if they don't follow."""
        ledger = self
        for entry in entries:
            if entry.sequence != ledger.sequence + 1 or entry.previous != ledger.head:
                raise ControlChainError(
                    f"Entry {entry.sequence} of the control chain doesn't follow from the one "
                    "before it: the control database was altered. Compare it with its backups."
                )
            try:
                after = ledger._take(entry)
            except (ControlChainError, EditionError) as e:
                log.error("entry %d of the control chain has no effect: %s", entry.sequence, e)
                after = ledger
            ledger = replace(after, sequence=entry.sequence, head=entry.hash)
        return ledger

    def needed(self, kind: str, body: bytes) -> int:
        """Return how many officers must sign an entry. Raises ControlChainError, EditionError."""
        if kind == EDITION:
            return needs_officers(self.newest, compile_edition(_utf8(body)))
        if kind not in SIGNED:
            raise ControlChainError(f"Officers sign {', '.join(SIGNED)}; nothing else.")
        return 1 if kind == BLOCK else 2

    def signers(self, kind: str, body: bytes, signatures: Mapping[str, bytes]) -> frozenset[str]:
        """Return the officers whose signatures under an entry hold; one key is one officer."""
        signed = statement(kind, body)
        by_key = {
            self.officers[name]: name
            for name, signature in sorted(signatures.items(), reverse=True)  # the first name stays
            if name in self.officers and is_signed(self.officers[name], signature, signed)
        }
        return frozenset(by_key.values())

    def _take(self, entry: Entry) -> "Ledger":
        if entry.kind == TOUCH:
            return self._touch(entry.body)
        signed = statement(entry.kind, entry.body)
        if signed in self.applied:
            raise ControlChainError("It took effect before: a signature counts once.")
        signers = self.signers(entry.kind, entry.body, signatures_in(entry.signatures))
        # What no officer signed isn't even read: a large document would keep every process busy.
        needed = self.needed(entry.kind, entry.body) if signers else 1
        if len(signers) < needed:
            raise ControlChainError(
                f"It needs the signatures of {needed} officers whose keys are in the configuration."
            )
        after = self._effect(entry.kind)(entry.body)
        return replace(after, applied=self.applied | {signed})

    def _effect(self, kind: str) -> Callable[[bytes], "Ledger"]:
        if kind not in SIGNED:
            raise ControlChainError(f"Officers sign {', '.join(SIGNED)}; nothing else.")
        return {
            EDITION: self._publish,
            BLOCK: self._block,
            UNBLOCK: self._unblock,
            RESET: self._reset,
            DESTROY: self._destroy,
        }[kind]

    def _publish(self, body: bytes) -> "Ledger":
        edition = compile_successor(_utf8(body), self.editions, self.touched)
        return replace(
            self,
            editions={**self.editions, edition.number: edition},
            documents={**self.documents, edition.number: body.decode()},
        )

    def _block(self, body: bytes) -> "Ledger":
        said = _read(body, "service", "reason", "nonce")
        # In any edition: one that is published and not in force yet may lack it already.
        newest_first = [self.editions[number] for number in sorted(self.editions, reverse=True)]
        found = [e.services[said["service"]] for e in newest_first if said["service"] in e.services]
        if not found:
            raise ControlChainError("There is no such service in any edition.")
        identities = frozenset(service.spiffe for service in found)
        block = Block(said["service"], identities, said["reason"])
        return replace(self, blocks={**self.blocks, statement(BLOCK, body): block})

    def _unblock(self, body: bytes) -> "Ledger":
        lifted = _hex(_read(body, "block", "reason")["block"])
        if lifted not in self.blocks:
            raise ControlChainError("There is no such block, or it was lifted before.")
        return replace(self, blocks={k: b for k, b in self.blocks.items() if k != lifted})

    def _destroy(self, body: bytes) -> "Ledger":
        approved = _hex(_read(body, "compartment", "digest", "reason", "nonce")["digest"])
        if len(approved) != 32:
            raise ControlChainError("It names no digest of a dry run, which has 32 bytes.")
        return replace(self, destructions=self.destructions | {approved})

    def _touch(self, body: bytes) -> "Ledger":
        said = _read(body, "owner", "compartment")
        owner, uuid = said["owner"], _hex(said["compartment"])
        if owner != WORKERS and not _is_uuid(owner):  # a name, say: it would pass for its owner's
            raise ControlChainError("A touch names its owner by a UUID.")
        touched = self.touched.get(owner, frozenset()) | {uuid}
        return replace(self, touched={**self.touched, owner: touched})

    def _reset(self, body: bytes) -> "Ledger":
        said = _read(body, "owner", "compartment", "reason", "nonce")
        owner, uuid = said["owner"], _hex(said["compartment"])
        if owner == WORKERS or uuid not in self.touched.get(owner, ()):
            raise ControlChainError("The owner has no touch of this compartment on record.")
        if not said["reason"].strip():
            raise ControlChainError("A reset needs a reason, for those who read it later.")
        touched = {**self.touched, owner: self.touched[owner] - {uuid}}
        reset = Reset(owner, uuid, said["reason"])
        return replace(self, touched=touched, resets=(*self.resets, reset))


def _utf8(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise ControlChainError("An edition is UTF-8 text.") from None


def _read(body: bytes, *keys: str) -> dict[str, str]:
    """Read a body of strings, in its one spelling: what an officer sees is what takes effect."""
    try:
        said = json.loads(body)
        plain = all(isinstance(text, str) and text.isprintable() for text in said.values())
        if plain and set(said) == set(keys) and canonical(said) == body:
            return dict(said)
    except (ValueError, TypeError, AttributeError, RecursionError):
        pass
    raise ControlChainError(
        f"Its body must be canonical JSON of the strings {', '.join(sorted(keys))}, without "
        "control characters."
    )


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ControlChainError("It names something that isn't written in hexadecimal.") from None


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
