"""Between messages and what use cases speak of."""

from collections.abc import AsyncGenerator, Collection, Iterable
from datetime import datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import errors_pb2, subject_service_pb2, types_pb2

from vault.crypto.export_key import ExportKey, Suite
from vault.errors import Reason, VaultError
from vault.policy import ConsentGiven, Notice
from vault.rpc.status import is_retryable, retry_delay
from vault.service.register import ConsentAsked
from vault.service.reveal import RevealedValue

MOST_WRITTEN = 1000  # of one record in one request

Parts = Any
"""A message as the parts it is made of; one put into another whole would be made twice."""

_REASON = "ERROR_REASON_"
_REASONS = dict(errors_pb2.ErrorReason.items())


async def started(requests: AsyncGenerator[Any, None]) -> Any:
    """Return the start of a stream, its first message. Raises VaultError(MALFORMED_REQUEST)."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("message") != "start":
        raise VaultError(
            Reason.MALFORMED_REQUEST, "A stream begins with its start: compartment and purpose."
        )
    return first.start


async def items(requests: AsyncGenerator[Any, None], kind: str) -> AsyncGenerator[Any, None]:
    """Yield what comes after the start. Raises VaultError(MALFORMED_REQUEST)."""
    async for request in requests:
        if request.WhichOneof("message") != kind:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                f"After its start a stream brings `{kind}` alone, in one compartment and purpose.",
            )
        yield getattr(request, kind)


def fields_in(values: Collection[types_pb2.FieldValue]) -> dict[str, str]:
    """Read values by field name; raise VaultError(MALFORMED_REQUEST) if one stands twice.

    Or if there are more than any record has: in memory a name takes far more than on the wire.
    """
    _check_few(values)
    fields: dict[str, str] = {}
    for item in values:
        if item.name in fields:
            raise VaultError(Reason.MALFORMED_REQUEST, "A field is named twice. Name each once.")
        fields[item.name] = item.value
    return fields


def clear_in(names: Collection[str]) -> list[str]:
    """Read the names of fields to remove; raise VaultError(MALFORMED_REQUEST) as `fields_in`."""
    _check_few(names)
    return list(names)


def _check_few(written: Collection[object]) -> None:
    if len(written) > MOST_WRITTEN:
        raise VaultError(
            Reason.MALFORMED_REQUEST, f"At most {MOST_WRITTEN:,} fields are written at once."
        )


def consents_in(consents: Iterable[types_pb2.Consent]) -> list[ConsentAsked]:
    """Read consents."""
    return [ConsentAsked(c.purpose, c.edition, c.language, c.notice_digest) for c in consents]


def export_key_in(request: subject_service_pb2.ExportRequest) -> ExportKey:
    """Read the key of an export; raise VaultError(MALFORMED_REQUEST) for an unknown suite."""
    try:
        return ExportKey(Suite(request.suite), request.public_key)
    except ValueError:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "An export is sealed by one of the suites of ExportSuite.",
            violations={"suite": "must be X25519 or MLKEM768_X25519"},
        ) from None


def fields_out(values: Iterable[RevealedValue]) -> list[Parts]:
    """Write revealed fields."""
    return [
        {"name": v.name, "form": v.form, "present": v.present, "value": v.value} for v in values
    ]


def consent_out(consent: ConsentGiven, *, ask_again: bool) -> types_pb2.ConsentState:
    """Write a consent as the record keeps it."""
    return types_pb2.ConsentState(
        purpose=consent.purpose,
        edition=consent.edition,
        language=consent.language,
        given_at=timestamp(consent.given_at),
        withdrawn_at=timestamp(consent.withdrawn_at) if consent.withdrawn_at else None,
        ask_again=ask_again,
    )


def notice_out(notice: Notice) -> types_pb2.Notice:
    """Write what a subject is shown."""
    return types_pb2.Notice(
        purpose=notice.purpose,
        edition=notice.edition,
        language=notice.language,
        text=notice.text,
        digest=notice.digest,
        consent_needed=notice.consent_needed,
    )


def error_out(error: VaultError) -> types_pb2.ItemError:
    """Write one item's refusal."""
    return types_pb2.ItemError(
        reason=reason_out(error.reason),
        message=error.message,
        retryable=is_retryable(error.reason),
        retry_delay=retry_delay(error),
    )


def reason_out(reason: str) -> errors_pb2.ErrorReason.ValueType:
    """Return a reason's number: unset for none, and for one that a newer release wrote."""
    return _REASONS.get(f"{_REASON}{reason}", errors_pb2.ERROR_REASON_UNSPECIFIED)


def timestamp(moment: datetime) -> Timestamp:
    """Write a moment."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
