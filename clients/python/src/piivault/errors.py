"""What can go wrong, as one tree. Catch a leaf, a branch, or `PiivaultError` for all of it.

    PiivaultError
    ├── ConfigurationError       the environment or the certificate files aren't right
    ├── ConnectionFailed *       nobody listens, TLS was refused, or the connection broke
    ├── Unauthenticated          the server knows nobody by this certificate
    ├── PermissionDenied         this caller may never call this method
    │   ├── NotGranted           no grant for this operation, purpose and compartment
    │   ├── FieldBeyondPurpose   the purpose doesn't see this field
    │   ├── RecipientNotAllowed  the edition or the subject knows nothing of this recipient
    │   ├── ServiceBlocked       an officer blocked this service: talk to the security team
    │   ├── CapabilityError      the capability is malformed, forged or another holder's
    │   │   └── CapabilityExpired
    │   └── SubjectAssertionError   the assertion isn't one for this service and subject, now
    │       └── SubjectAssertionRequired   the service acts only for subjects who are there
    ├── InvalidRequest           the request itself is wrong; `violations` says where
    │   ├── UnknownName          no such compartment, purpose or field in the edition
    │   ├── InvalidValue         a value hasn't the form that its field's type asks for
    │   ├── TooLarge             a value above 64 KiB, or a record above 1 MiB
    │   ├── ResponseTooLarge     the answer is above 4 MiB: ask for fewer records at once
    │   ├── MalformedPseudonym   piivault can't have issued this pseudonym
    │   ├── NoticeMismatch       the notice that a consent names isn't the one in force
    │   └── RequestIdReused      the request id was used before, with another request
    ├── NotFound                 nothing is registered under this pseudonym
    │   └── Erased               the subject erased their data
    ├── AmbiguousError           find() met several records: use find_all()
    ├── AlreadyExists
    │   ├── AlreadyRegistered    the subject is registered in this compartment already
    │   └── ValueTaken           another record holds this value of a unique field
    ├── NotPermittedNow          the record is there, and may not be used for this
    │   ├── ConsentRequired      the subject hasn't consented to the purpose, or withdrew
    │   ├── RetentionExpired     the retention declared for the purpose is over
    │   ├── Restricted           the subject restricted the processing of the record
    │   ├── KeysSuspended        the security team stopped this compartment, or a key of it
    │   └── KeyDestroyed         the key was destroyed: what it sealed is unreadable for ever
    ├── StaleEtag                the record changed since it was read: read again
    ├── TooBusy *
    │   ├── RateLimited *        this caller asks too often; `retry_after` says when to return
    │   └── Overloaded *         the server's queues are full; `retry_after` likewise
    ├── DeadlineExceeded *       no answer in time; a write may or may not have been done
    ├── Unavailable *
    │   ├── KeysUnavailable *    the key server can't be asked
    │   ├── StorageUnavailable * the database can't be asked
    │   ├── AuditUnavailable *   the audit trail can't be written, so nothing is revealed
    │   └── PolicyUnavailable *  no edition is in force, or none confirmed for too long
    ├── Damaged                  stored bytes don't authenticate: tell the security team
    ├── AttestationError         what came isn't what the compartment signed: don't believe it
    ├── PackageError             this export can't be opened with these keys, or was changed
    └── InternalError            a fault of the server's; its log has the request id

`*`: the same call may succeed later, unchanged (`error.retryable`; a TLS refusal isn't).
A write that is repeated must carry the same request id: `put(…, request_id=error.request_id)`.
No error carries a value, a key or a pseudonym.
"""

from collections.abc import Mapping
from typing import ClassVar


class PiivaultError(Exception):
    """Anything that piivault refuses or fails at.

    `reason` is a word of piivault.v1.ErrorReason, or of the SDK's own where no server was
    asked. `request_id` finds the call in the server's log and audit trail ("" if nothing was
    sent). `violations` maps a part of the request ("fields.email") to what is wrong with it.
    `retry_after` is in seconds, where coming back later helps. `retryable` tells whether the
    same call may succeed later, unchanged.
    """

    default_reason: ClassVar[str] = "UNKNOWN"
    default_retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        reason: str | None = None,
        request_id: str = "",
        retryable: bool | None = None,
        violations: Mapping[str, str] | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = self.default_reason if reason is None else reason
        self.request_id = request_id
        self.retryable = self.default_retryable if retryable is None else retryable
        self.violations = dict(violations or {})
        self.retry_after = retry_after

    def __str__(self) -> str:
        text = f"{self.reason}: {self.message}"
        for part, fault in self.violations.items():
            text += f"\n  {part}: {fault}"
        return f"{text} (request id {self.request_id})" if self.request_id else text


class ConfigurationError(PiivaultError):
    """The environment or the certificate files aren't right; the message names the remedy."""

    default_reason = "CONFIGURATION"


class ConnectionFailed(PiivaultError):
    """Nobody listens, TLS was refused, or the connection broke.

    The reason is UNREACHABLE, TLS_REFUSED (not retryable) or CONNECTION_LOST.
    """

    default_reason = "UNREACHABLE"
    default_retryable = True


class Unauthenticated(PiivaultError):
    """The certificate holds no SPIFFE id, or one that is nobody's in the edition in force."""


class PermissionDenied(PiivaultError):
    """This kind of caller may not call this method."""


class NotGranted(PermissionDenied):
    """No grant gives this service this operation for this purpose in this compartment."""


class FieldBeyondPurpose(PermissionDenied):
    """The purpose doesn't see this field."""


class RecipientNotAllowed(PermissionDenied):
    """The edition doesn't list the recipient for this purpose, or the subject wasn't told of it."""


class ServiceBlocked(PermissionDenied):
    """An officer blocked this service, by its name or its certificate's identity."""


class CapabilityError(PermissionDenied):
    """The capability is malformed, forged, for another compartment, or another holder's."""


class CapabilityExpired(CapabilityError):
    """The capability's time is over, even after the SDK asked for a new one."""


class SubjectAssertionError(PermissionDenied):
    """The assertion is malformed, forged, expired, another service's or another subject's."""


class SubjectAssertionRequired(SubjectAssertionError):
    """The edition lets this service act only for subjects who are there: give an assertion."""


class AttestationError(PiivaultError):
    """What came isn't what the compartment signed: forged, changed, or of another kind or place."""

    default_reason = "NOT_ATTESTED"


class PackageError(PiivaultError):
    """An export that isn't for these keys, was changed on the way, or answers another request."""

    default_reason = "NOT_OPENED"


class InvalidRequest(PiivaultError):
    """The request itself is wrong: sent again, it is refused again."""

    default_reason = "MALFORMED_REQUEST"


class UnknownName(InvalidRequest):
    """The compartment, purpose or field isn't in the edition in force."""


class InvalidValue(InvalidRequest):
    """A value hasn't the form that its field's type asks for."""

    default_reason = "INVALID_VALUE"


class TooLarge(InvalidRequest):
    """A value is above 64 KiB, or a record above 1 MiB."""


class ResponseTooLarge(InvalidRequest):
    """The answer is above 4 MiB: ask for fewer records at once."""

    default_reason = "RESPONSE_TOO_LARGE"


class MalformedPseudonym(InvalidRequest):
    """Piivault can't have issued this pseudonym."""


class NoticeMismatch(InvalidRequest):
    """The notice that a consent names isn't the edition in force's for purpose and language."""


class RequestIdReused(InvalidRequest):
    """The request id was used before, with another request."""


class NotFound(PiivaultError):
    """Nothing is registered under this pseudonym."""


class Erased(NotFound):
    """The subject erased their data. It doesn't come back unless they register again."""


class AmbiguousError(PiivaultError):
    """More than one record holds the value that find() looked for: use find_all()."""

    default_reason = "AMBIGUOUS"


class AlreadyExists(PiivaultError):
    """What the write would make is there already."""


class AlreadyRegistered(AlreadyExists):
    """The subject is registered in this compartment already."""


class ValueTaken(AlreadyExists):
    """Another record holds this value of a unique field; `violations` names the field."""


class NotPermittedNow(PiivaultError):
    """The record is there, and may not be used for this purpose now."""


class ConsentRequired(NotPermittedNow):
    """The subject hasn't consented to this purpose, or withdrew."""


class RetentionExpired(NotPermittedNow):
    """The retention declared for this purpose is over."""


class Restricted(NotPermittedNow):
    """The subject restricted the processing of this record."""


class KeysSuspended(NotPermittedNow):
    """The security team suspended this compartment, or a version of its keys: ask them."""


class KeyDestroyed(NotPermittedNow):
    """The key that this was sealed under was destroyed: it is unreadable for ever."""


class StaleEtag(PiivaultError):
    """The record changed since the etag was read: read again, then write."""


class TooBusy(PiivaultError):
    """Come back after `retry_after` seconds."""

    default_retryable = True


class RateLimited(TooBusy):
    """This caller asks too often."""


class Overloaded(TooBusy):
    """The server's queues are full."""


class DeadlineExceeded(PiivaultError):
    """No answer in time. Whether a write was done isn't known: repeat it with its request id."""

    default_reason = "DEADLINE_EXCEEDED"
    default_retryable = True


class Unavailable(PiivaultError):
    """Something that the server needs can't be asked now."""

    default_retryable = True


class KeysUnavailable(Unavailable):
    """The key server can't be asked, and the cached key is too old."""


class StorageUnavailable(Unavailable):
    """The database can't be asked."""


class AuditUnavailable(Unavailable):
    """The audit trail can't be written, so nothing is revealed."""


class PolicyUnavailable(Unavailable):
    """No edition is in force, or it is stale, just changed, or forbids what the process holds."""


class Damaged(PiivaultError):
    """The stored bytes don't authenticate: damaged, moved or tampered with."""


class InternalError(PiivaultError):
    """A fault of the server's; its log has the request id and the cause."""
