"""Consents between the policy's words and the seal's."""

from collections.abc import Sequence
from datetime import UTC, datetime

from vault.errors import Reason, VaultError
from vault.policy import (
    ConsentGiven,
    Covered,
    Denied,
    FieldUse,
    check_consent,
    check_recipient,
)
from vault.sealed.v1 import sealed_pb2
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.opened import OpenedRecord


def covered(
    call: Call,
    served: ServedCompartment,
    purpose: str,
    uses: tuple[FieldUse, ...],
    record: OpenedRecord,
    recipient: str = "",
) -> Covered:
    """Return what the subject's word covers of these uses, or raise the denial.

    Raises VaultError(RESTRICTED, CONSENT_REQUIRED, RETENTION_EXPIRED, RECIPIENT_NOT_ALLOWED).
    """
    about = record.about
    if about.restricted and not call.edition.purposes[purpose].basis.outlasts_restriction:
        raise VaultError(Reason.RESTRICTED, "The subject restricted the processing of this record.")
    policy = (call.policy.editions, call.edition, purpose, served.name)
    consents = given(about, purpose)
    registered = moment(about.registered_at)
    now = datetime.now(UTC)
    decision = check_consent(*policy, uses, consents, registered, now)
    if isinstance(decision, Denied):
        raise decision.error()
    if recipient:
        denied = check_recipient(*policy, consents, registered, now, recipient)
        if denied is not None:
            raise denied.error()
    return decision


def wholly_covered(
    call: Call,
    served: ServedCompartment,
    purpose: str,
    uses: tuple[FieldUse, ...],
    record: OpenedRecord,
) -> None:
    """Raise VaultError unless the subject's word covers all of these uses."""
    if withheld := covered(call, served, purpose, uses, record).withheld:
        raise VaultError(
            Reason.CONSENT_REQUIRED,
            f"The purpose {purpose} isn't covered by consent for "
            f"{', '.join(f.name for f in withheld)}. Ask the subject, with the notice of "
            f"edition {call.edition.number}.",
        )


def given(about: sealed_pb2.Record, purpose: str | None = None) -> Sequence[ConsentGiven]:
    """Read the consents that a record holds, or those for one purpose alone."""
    return [
        ConsentGiven(
            purpose=c.purpose,
            edition=c.edition,
            language=c.language,
            notice_digest=c.notice_digest,
            given_at=moment(c.given_at),
            withdrawn_at=moment(c.withdrawn_at) if c.withdrawn_at else None,
        )
        for c in about.consents
        if purpose is None or c.purpose == purpose
    ]


def moment(seconds: int) -> datetime:
    """Return seconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
