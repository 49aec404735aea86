"""Export: all that a record holds, sealed to a key that its subject made (clause 3.1.3).

Whoever relays it can't open it. One compartment a request: what several hold is put together on the
subject's side alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from vault.crypto import package
from vault.crypto.attestation import Kind
from vault.crypto.export_key import ExportKey
from vault.crypto.package import Addressee
from vault.crypto.primitives import DamagedError
from vault.crypto.request import RequestKind, SubjectRequest
from vault.errors import Reason, VaultError, damaged
from vault.names import to_base64url
from vault.policy import (
    Asked,
    FieldUse,
    Form,
    Held,
    HeldByLaw,
    Record,
    SubjectKind,
    holdings,
    rfc3339,
)
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment, now
from vault.service.consents import given, moment
from vault.service.keep import kept_records, open_own
from vault.service.opened import OpenedRecord
from vault.service.requests import requested


@dataclass(frozen=True, slots=True)
class Exported:
    """The package, and the request that it answers: open until the subject says that it came."""

    package: bytes
    request: SubjectRequest


async def export_record(
    served: ServedCompartment, call: Call, capability: str, key: ExportKey
) -> Exported:
    """Return the subject's holdings here, signed and sealed. Raises VaultError.

    The capability must be one for an export to this very key: the broker saw to it that the key is
    the subject's, where an identity provider can say so.
    """
    async with attempt(served, call, "export") as attempted:
        _check_key(key)
        address = served.bearer(capability, call.service.spiffe, key.thumbprint)
        fields = call.edition.compartment(served.name).fields.values()
        attempted.asks_for([FieldUse(field, Form.PLAIN) for field in fields])
        async with requested(served, call, RequestKind.EXPORT, address) as begun:
            kept = await kept_records(served, call, address)
            record = await open_own(served, address, kept)
            attempted.met(record.about)
            await attempted.allow()
            asked = Asked(begun.id.hex(), rfc3339(datetime.now(UTC)), to_base64url(key.thumbprint))
            opened = _opened(record, kept)
            editions = call.policy.editions
            held = holdings(editions, call.edition, served.name, opened, asked).text
            salt = package.new_salt()
            attestation = await served.attest(Kind.EXPORT, package.commitment(salt, held))
            addressee = Addressee(served.uuid, begun.id, key)
            return Exported(package.seal(addressee, salt, attestation, held), begun.request)


def _check_key(key: ExportKey) -> None:
    try:
        key.public_key()
    except ValueError:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "This is no public key of its suite: make a pair with piivault.export_keys.",
            violations={"public_key": "is no key of the suite"},
        ) from None


def _opened(record: OpenedRecord, kept: Sequence[OpenedRecord]) -> Record:
    """Open all values: a record's, and those that the law has kept of erased ones."""
    about, erased = record.about, bool(record.about.kept)
    try:
        return Record(
            SubjectKind(about.subject_kind),
            moment(about.registered_at),
            about.restricted,
            given(about),
            () if erased else _values(record),
            [
                HeldByLaw(k.purpose, k.basis, moment(k.until), _values(its, k.uids))
                for its in kept
                for k in its.about.kept
                if k.until > now()
            ],
            erased,
        )
    except DamagedError:
        raise damaged("A value") from None


def _values(record: OpenedRecord, uids: Iterable[int] | None = None) -> Sequence[Held]:
    values = record.values(uids).values()
    return [Held(its.uid, its.type, its.value, moment(its.set_at)) for its in values]
