"""What a refusal looks like on the wire: a gRPC code, a sentence, and google.rpc details."""

from collections.abc import Mapping

import grpc
from google.protobuf import any_pb2
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from vault.errors import Reason, VaultError

DOMAIN = "piivault"
REQUEST_ID = "piivault-request-id"  # metadata, both ways
DETAILS = "grpc-status-details-bin"
PUSHBACK = "grpc-retry-pushback-ms"  # gRPC's own word to its retries; -1 is "don't"

_CODES: Mapping[grpc.StatusCode, tuple[Reason, ...]] = {
    grpc.StatusCode.INVALID_ARGUMENT: (
        Reason.MALFORMED_REQUEST,
        Reason.UNKNOWN_COMPARTMENT,
        Reason.UNKNOWN_PURPOSE,
        Reason.UNKNOWN_FIELD,
        Reason.INVALID_VALUE,
        Reason.TOO_LARGE,
        Reason.MALFORMED_PSEUDONYM,
        Reason.NOTICE_MISMATCH,
    ),
    grpc.StatusCode.UNAUTHENTICATED: (Reason.IDENTITY_MISSING, Reason.IDENTITY_UNKNOWN),
    grpc.StatusCode.PERMISSION_DENIED: (
        Reason.METHOD_NOT_ALLOWED,
        Reason.NOT_GRANTED,
        Reason.FIELD_BEYOND_PURPOSE,
        Reason.CAPABILITY_INVALID,
        Reason.CAPABILITY_EXPIRED,
        Reason.CAPABILITY_BORROWED,
        Reason.RECIPIENT_NOT_ALLOWED,
        Reason.SERVICE_BLOCKED,
        Reason.SUBJECT_ASSERTION_REQUIRED,
        Reason.SUBJECT_ASSERTION_INVALID,
    ),
    grpc.StatusCode.NOT_FOUND: (Reason.NOT_FOUND, Reason.ERASED),
    grpc.StatusCode.ALREADY_EXISTS: (Reason.ALREADY_REGISTERED, Reason.VALUE_TAKEN),
    grpc.StatusCode.FAILED_PRECONDITION: (
        Reason.CONSENT_REQUIRED,
        Reason.RETENTION_EXPIRED,
        Reason.RESTRICTED,
        Reason.REQUEST_ID_REUSED,
        Reason.KEYS_SUSPENDED,
        Reason.KEY_DESTROYED,
    ),
    grpc.StatusCode.ABORTED: (Reason.STALE_ETAG,),
    grpc.StatusCode.RESOURCE_EXHAUSTED: (Reason.RATE_LIMITED, Reason.OVERLOADED),
    grpc.StatusCode.DEADLINE_EXCEEDED: (Reason.DEADLINE_EXCEEDED,),
    grpc.StatusCode.UNAVAILABLE: (
        Reason.KEYS_UNAVAILABLE,
        Reason.STORAGE_UNAVAILABLE,
        Reason.AUDIT_UNAVAILABLE,
        Reason.POLICY_UNAVAILABLE,
    ),
    grpc.StatusCode.DATA_LOSS: (Reason.DAMAGED,),
    grpc.StatusCode.INTERNAL: (Reason.INTERNAL,),
}
CODE_OF = {reason: code for code, reasons in _CODES.items() for reason in reasons}
_RETRYABLE = frozenset(
    (*_CODES[grpc.StatusCode.UNAVAILABLE], Reason.RATE_LIMITED, Reason.OVERLOADED)
)


def is_retryable(reason: Reason) -> bool:
    """Tell whether the same request may succeed later, unchanged."""
    return reason in _RETRYABLE


def details(error: VaultError, request_id: str) -> bytes:
    """Return a google.rpc.Status: ErrorInfo, and BadRequest and RetryInfo where they say more."""
    status = status_pb2.Status(code=CODE_OF[error.reason].value[0], message=error.message)
    parts: list[any_pb2.Any] = []
    info = error_details_pb2.ErrorInfo(
        reason=error.reason, domain=DOMAIN, metadata={"request_id": request_id}
    )
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=path, description=what)
        for path, what in error.violations.items()
    ]
    delay = retry_delay(error)
    for message in (
        info,
        error_details_pb2.BadRequest(field_violations=violations) if violations else None,
        error_details_pb2.RetryInfo(retry_delay=delay) if delay is not None else None,
    ):
        if message is not None:
            parts.append(any_pb2.Any())
            parts[-1].Pack(message)
    status.details.extend(parts)
    serialised: bytes = status.SerializeToString()
    return serialised


def pushback(error: VaultError, remaining: float | None) -> tuple[tuple[str, str], ...]:
    """Return what tells gRPC's retries when to come back, in a client of any language.

    Not at all where the caller's deadline comes first, or where it is the caller's own limit that
    is spent: then they hear at once why. `remaining` is in seconds, None without a deadline.
    """
    wait = error.retry_after
    if wait is None:
        return ()
    worth_it = error.reason is Reason.OVERLOADED and (remaining is None or wait < remaining)
    return ((PUSHBACK, str(int(wait * 1000) + 1 if worth_it else -1)),)


def retry_delay(error: VaultError) -> Duration | None:
    """Return when to come back, if that is known."""
    if error.retry_after is None:
        return None
    delay = Duration()
    delay.FromMilliseconds(int(error.retry_after * 1000) + 1)
    return delay
