"""Consents between the policy's words and the seal's."""

from collections.abc import Sequence
from datetime import UTC, datetime

from vault.errors import Reason, VaultError
from vault.policy import ConsentGiven, Denied, FieldUse, check_consent
from vault.sealed.v1 import sealed_pb2
from vault.service.call import Call
from vault.service.compartment import OpenedRecord, ServedCompartment


def consented(
    call: Call,
    served: ServedCompartment,
    purpose: str,
    uses: tuple[FieldUse, ...],
    record: OpenedRecord,
) -> tuple[FieldUse, ...]:
    """Return the uses that the record allows for a purpose, or raise the denial.

    Raises VaultError(RESTRICTED, CONSENT_REQUIRED, RETENTION_EXPIRED).
    """
    if record.about.restricted:
        raise VaultError(Reason.RESTRICTED, "The subject restricted the processing of this record.")
    decision = check_consent(
        call.policy.editions,
        call.edition,
        purpose,
        served.name,
        uses,
        given(record.about),
        moment(record.about.registered_at),
        datetime.now(UTC),
    )
    if isinstance(decision, Denied):
        raise decision.error()
    return decision


def given(about: sealed_pb2.Record) -> Sequence[ConsentGiven]:
    """Read the consents that a record holds."""
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
    ]


def moment(seconds: int) -> datetime:
    """Return seconds since 1970 as a moment in UTC."""
    return datetime.fromtimestamp(seconds, UTC)
