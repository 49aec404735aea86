"""From a gRPC status to the exception that says what happened."""

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from piivault import _diagnosis, errors
from piivault._certificate import TLS
from piivault.errors import PiivaultError
from piivault.v1 import types_pb2
from piivault.v1.errors_pb2 import ErrorReason

DOMAIN = "piivault"
_REASON_PREFIX = "ERROR_REASON_"
_DETAILS_KEY = "grpc-status-details-bin"

# Every reason of piivault.v1.ErrorReason has its class (a test compares the two).
BY_REASON: dict[str, type[PiivaultError]] = {
    "MALFORMED_REQUEST": errors.InvalidRequest,
    "UNKNOWN_COMPARTMENT": errors.UnknownName,
    "UNKNOWN_PURPOSE": errors.UnknownName,
    "UNKNOWN_FIELD": errors.UnknownName,
    "INVALID_VALUE": errors.InvalidValue,
    "TOO_LARGE": errors.TooLarge,
    "MALFORMED_PSEUDONYM": errors.MalformedPseudonym,
    "NOTICE_MISMATCH": errors.NoticeMismatch,
    "IDENTITY_MISSING": errors.Unauthenticated,
    "IDENTITY_UNKNOWN": errors.Unauthenticated,
    "METHOD_NOT_ALLOWED": errors.PermissionDenied,
    "NOT_GRANTED": errors.NotGranted,
    "FIELD_BEYOND_PURPOSE": errors.FieldBeyondPurpose,
    "CAPABILITY_INVALID": errors.CapabilityError,
    "CAPABILITY_EXPIRED": errors.CapabilityExpired,
    "CAPABILITY_BORROWED": errors.CapabilityError,
    "RECIPIENT_NOT_ALLOWED": errors.RecipientNotAllowed,
    "SERVICE_BLOCKED": errors.ServiceBlocked,
    "SUBJECT_ASSERTION_REQUIRED": errors.SubjectAssertionRequired,
    "SUBJECT_ASSERTION_INVALID": errors.SubjectAssertionError,
    "NOT_FOUND": errors.NotFound,
    "ERASED": errors.Erased,
    "ALREADY_REGISTERED": errors.AlreadyRegistered,
    "VALUE_TAKEN": errors.ValueTaken,
    "CONSENT_REQUIRED": errors.ConsentRequired,
    "RETENTION_EXPIRED": errors.RetentionExpired,
    "RESTRICTED": errors.Restricted,
    "REQUEST_ID_REUSED": errors.RequestIdReused,
    "KEYS_SUSPENDED": errors.KeysSuspended,
    "KEY_DESTROYED": errors.KeyDestroyed,
    "STALE_ETAG": errors.StaleEtag,
    "RATE_LIMITED": errors.RateLimited,
    "OVERLOADED": errors.Overloaded,
    "DEADLINE_EXCEEDED": errors.DeadlineExceeded,
    "KEYS_UNAVAILABLE": errors.KeysUnavailable,
    "STORAGE_UNAVAILABLE": errors.StorageUnavailable,
    "AUDIT_UNAVAILABLE": errors.AuditUnavailable,
    "POLICY_UNAVAILABLE": errors.PolicyUnavailable,
    "DAMAGED": errors.Damaged,
    "INTERNAL": errors.InternalError,
}

# For reasons that a newer server has and this SDK doesn't, and for statuses of proxies.
BY_CODE: dict[grpc.StatusCode, type[PiivaultError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.UNAUTHENTICATED: errors.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.PermissionDenied,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.NotPermittedNow,
    grpc.StatusCode.ABORTED: errors.StaleEtag,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.TooBusy,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DATA_LOSS: errors.Damaged,
}


def from_rpc_error(
    error: grpc.RpcError, *, request_id: str, address: str, tls: TLS, timeout: float
) -> PiivaultError:
    """Turn what gRPC raised for a call to `address` into the SDK's exception."""
    code = error.code()
    refusal = _refusal(code, error.trailing_metadata())
    if refusal is None:
        refusal = _without_reason(code, error.details() or "", address, tls, timeout)
    refusal.request_id = request_id
    return refusal


def from_item(item: types_pb2.ItemError, request_id: str) -> PiivaultError:
    """Turn one item's refusal within a batch into an exception (not raised here)."""
    name = (
        ErrorReason.Name(item.reason).removeprefix(_REASON_PREFIX)
        if item.reason in ErrorReason.values()
        else f"REASON_{item.reason}"  # a newer server's
    )
    kind = BY_REASON.get(name, PiivaultError)
    return kind(
        item.message,
        reason=name,
        request_id=request_id,
        retryable=item.retryable,
        retry_after=_seconds(item),
    )


def _refusal(code: grpc.StatusCode, metadata: Iterable[Any] | None) -> PiivaultError | None:
    """Read the server's own refusal, or None where the status isn't piivault's."""
    raw = next((value for key, value in metadata or () if key == _DETAILS_KEY), None)
    if not isinstance(raw, bytes):
        return None
    try:
        status = status_pb2.Status.FromString(raw)
        info, request, retry = (
            error_details_pb2.ErrorInfo(),
            error_details_pb2.BadRequest(),
            error_details_pb2.RetryInfo(),
        )
        for detail in status.details:
            for known in (info, request, retry):
                detail.Unpack(known)
    except DecodeError:
        return None
    if info.domain != DOMAIN:
        return None
    kind = BY_REASON.get(info.reason) or BY_CODE.get(code, errors.InternalError)
    return kind(
        status.message,
        reason=info.reason,
        violations={v.field: v.description for v in request.field_violations},
        retry_after=_seconds(retry),
    )


def _seconds(retry: error_details_pb2.RetryInfo | types_pb2.ItemError) -> float | None:
    if not retry.HasField("retry_delay"):
        return None
    return float(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)


def _without_reason(
    code: grpc.StatusCode, details: str, address: str, tls: TLS, timeout: float
) -> PiivaultError:
    """Explain a status that carries no ErrorInfo: gRPC's own, or a proxy's."""
    match code:
        case grpc.StatusCode.UNAVAILABLE | grpc.StatusCode.CANCELLED:
            return _diagnosis.explain(address, tls, details)
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return errors.DeadlineExceeded(
                f"No answer from {address} within {timeout:g} s. A write may have been done: "
                "repeat it with this request id, and it is done once."
            )
        case grpc.StatusCode.RESOURCE_EXHAUSTED if "larger than max" in details:
            return errors.ResponseTooLarge(
                "The answer is above 4 MiB: ask for fewer records at once (batch_size=…)."
            )
        case grpc.StatusCode.UNIMPLEMENTED:
            return errors.InternalError(
                f"The server at {address} doesn't know this method: it plays another role, is "
                "older than this SDK, or isn't piivault. Check the addresses.",
                reason=code.name,
            )
        case _:
            kind = BY_CODE.get(code, errors.InternalError)
            return kind(f"The status {code.name} came without a reason.", reason=code.name)
