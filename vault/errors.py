"""The one error that reaches a caller, and its reasons.

Every reason stands in piivault.v1.ErrorReason (a test compares the two) and is documented
there. A message is a sentence for people and never carries a value, a key or a pseudonym.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Reason(StrEnum):
    """Why a call was refused; piivault.v1.ErrorReason without its prefix."""

    MALFORMED_REQUEST = "MALFORMED_REQUEST"
    UNKNOWN_COMPARTMENT = "UNKNOWN_COMPARTMENT"
    UNKNOWN_PURPOSE = "UNKNOWN_PURPOSE"
    UNKNOWN_FIELD = "UNKNOWN_FIELD"
    INVALID_VALUE = "INVALID_VALUE"
    TOO_LARGE = "TOO_LARGE"
    MALFORMED_PSEUDONYM = "MALFORMED_PSEUDONYM"
    NOTICE_MISMATCH = "NOTICE_MISMATCH"
    IDENTITY_MISSING = "IDENTITY_MISSING"
    IDENTITY_UNKNOWN = "IDENTITY_UNKNOWN"
    METHOD_NOT_ALLOWED = "METHOD_NOT_ALLOWED"
    NOT_GRANTED = "NOT_GRANTED"
    FIELD_BEYOND_PURPOSE = "FIELD_BEYOND_PURPOSE"
    CAPABILITY_INVALID = "CAPABILITY_INVALID"
    CAPABILITY_EXPIRED = "CAPABILITY_EXPIRED"
    CAPABILITY_BORROWED = "CAPABILITY_BORROWED"
    RECIPIENT_NOT_ALLOWED = "RECIPIENT_NOT_ALLOWED"
    SERVICE_BLOCKED = "SERVICE_BLOCKED"
    SUBJECT_ASSERTION_REQUIRED = "SUBJECT_ASSERTION_REQUIRED"
    SUBJECT_ASSERTION_INVALID = "SUBJECT_ASSERTION_INVALID"
    NOT_FOUND = "NOT_FOUND"
    ERASED = "ERASED"
    ALREADY_REGISTERED = "ALREADY_REGISTERED"
    VALUE_TAKEN = "VALUE_TAKEN"
    CONSENT_REQUIRED = "CONSENT_REQUIRED"
    RETENTION_EXPIRED = "RETENTION_EXPIRED"
    RESTRICTED = "RESTRICTED"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    KEYS_SUSPENDED = "KEYS_SUSPENDED"
    KEY_DESTROYED = "KEY_DESTROYED"
    STALE_ETAG = "STALE_ETAG"
    RATE_LIMITED = "RATE_LIMITED"
    OVERLOADED = "OVERLOADED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    KEYS_UNAVAILABLE = "KEYS_UNAVAILABLE"
    STORAGE_UNAVAILABLE = "STORAGE_UNAVAILABLE"
    AUDIT_UNAVAILABLE = "AUDIT_UNAVAILABLE"
    POLICY_UNAVAILABLE = "POLICY_UNAVAILABLE"
    DAMAGED = "DAMAGED"
    INTERNAL = "INTERNAL"


LOST = frozenset({Reason.DAMAGED, Reason.KEY_DESTROYED})
"""Why one record, or event, opens no more."""

UNREADABLE = LOST | {Reason.KEYS_SUSPENDED}
"""Why one doesn't open now."""


class VaultError(Exception):
    """A refusal that a caller may see.

    `violations` maps a request's part ("fields.email") to what is wrong with it;
    `retry_after` is in seconds, where coming back later helps.
    """

    def __init__(
        self,
        reason: Reason,
        message: str,
        *,
        violations: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.violations = dict(violations or {})
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


def returned(outcome: T | VaultError) -> T:
    """Return what something came to, or raise why it was refused."""
    if isinstance(outcome, VaultError):
        raise outcome
    return outcome


def damaged(what: str) -> VaultError:
    """Return the error for bytes that don't authenticate: those of a value, say."""
    return VaultError(
        Reason.DAMAGED, f"{what}'s bytes don't hold. The security team must look at this."
    )
