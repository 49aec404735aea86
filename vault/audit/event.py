"""An audit event: what was asked, by whom, for what purpose, and what became of it."""

import os
import time
from dataclasses import field, replace
from typing import Self

from vault.crypto.primitives import mac
from vault.frozen import dataclass
from vault.names import SPIFFE_ID
from vault.sealed.v1 import sealed_pb2

TOKEN_BYTES = 16
_DAY = 24 * 3600

ALLOWED = sealed_pb2.OUTCOME_ALLOWED
DENIED = sealed_pb2.OUTCOME_DENIED
FAILED = sealed_pb2.OUTCOME_FAILED

Uses = tuple[tuple[int, int], ...]
"""Fields, by uid, and the forms that they were asked for in."""

# Stands for a service where there is none that an edition knows: no name has a space.
UNKNOWN_CALLER = "unknown caller"
_MOST_OF_AN_ID = 200  # characters


def moment() -> int:
    """Return the time as events have it: microseconds since 1970."""
    return time.time_ns() // 1000


def no_token() -> bytes:
    """Return what stands in the place of a token where no record was met: noise."""
    return os.urandom(TOKEN_BYTES)


@dataclass(frozen=True, slots=True)
class Event:
    """One event. It names no subject: `token` finds it again while the subject's record lives."""

    edition: int
    service: str
    owner: str
    purpose: str
    operation: str
    request_id: str
    outcome: sealed_pb2.Outcome.ValueType
    reason: str = ""
    uses: Uses = ()
    row_digest: bytes = b""
    recipient: str = ""
    count: int = 1  # how many denials alike it stands for
    replaces: bytes = field(default=b"", repr=False)
    compartment: str = ""  # the one that the broker was asked for
    token: bytes = field(default_factory=no_token, repr=False)
    at: int = field(default_factory=moment)

    @property
    def said(self) -> "Event":
        """What it says: itself (`SameSaid` says what another one does)."""
        return self

    def of_subject(self, salt: bytes) -> Self:
        """Return the event findable by whoever holds the salt of its subject's record."""
        return replace(self, token=token(salt, self.at))

    def refused(self, outcome: sealed_pb2.Outcome.ValueType, reason: str) -> Self:
        """Return the event for the same request with another outcome; nothing changed."""
        return replace(self, outcome=outcome, reason=reason, row_digest=b"", replaces=b"")

    def replacing(self, salt: bytes, row_digest: bytes) -> Self:
        """Return the event of a change that put something, or nothing, in the place of a row."""
        return replace(self, replaces=replaced_mark(salt, row_digest))

    def to_message(self) -> sealed_pb2.AuditEvent:
        """Return what is sealed."""
        return sealed_pb2.AuditEvent(
            at=self.at,
            edition=self.edition,
            service=self.service,
            owner=self.owner,
            purpose=self.purpose,
            operation=self.operation,
            fields=[sealed_pb2.FieldUse(uid=uid, form=form) for uid, form in self.uses],
            outcome=self.outcome,
            reason=self.reason,
            request_id=self.request_id,
            row_digest=self.row_digest,
            recipient=self.recipient,
            count=self.count if self.count > 1 else 0,
            replaces=self.replaces,
            compartment=self.compartment,
        )


@dataclass(frozen=True, slots=True)
class SameSaid:
    """An event that says what another one says, of another record: as those of a batch do."""

    said: Event
    token: bytes = field(repr=False)


def officer(name: str) -> str:
    """Return what stands for a service in an event of what an officer did."""
    return f"officer:{name}"


def caller_of(spiffe: str) -> str:
    """Return what stands for a service of an event whose caller no edition knows.

    Their SPIFFE id, which a CA vouched for, if it is spelt as an edition would have it.
    """
    fits = len(spiffe) <= _MOST_OF_AN_ID and SPIFFE_ID.fullmatch(spiffe)
    return spiffe if fits else UNKNOWN_CALLER


def counted_as(service: str) -> str:
    """Return what the caller of an event is counted by: all whom no edition knows are one."""
    return UNKNOWN_CALLER if service.startswith("spiffe://") else service


def replaced_mark(salt: bytes, row_digest: bytes) -> bytes:
    """Return what the event says of a row that it ended, given its digest and its record's salt.

    Whoever opens the row computes it and learns that the row's time is over, exactly, whatever the
    clocks of writers said. To everybody else it is noise, so that the trail alone doesn't show
    which changes were of one record.
    """
    return mac(salt, b"piivault/v1/audit-replaced", row_digest)[:TOKEN_BYTES]


def token(salt: bytes, at: int) -> bytes:
    """Return the token of a subject's events on one day (UTC): keyed by a salt in their record.

    Without the salt it is noise, like the token of an event that met no record. It changes
    daily, so that the trail alone doesn't show whose events are whose over time.
    """
    day = at // 1_000_000 // _DAY
    return mac(salt, b"piivault/v1/audit-token", day.to_bytes(4, "big"))[:TOKEN_BYTES]
