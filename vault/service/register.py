"""Register: open a record with its first values and consents (clauses 1.2, 2.1 to 2.3)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from vault.crypto.record import DataKey, new_record, seal_record
from vault.errors import Reason, VaultError
from vault.policy import Compartment, SubjectKind, verify_notice
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.changing import Planned, change, with_keys
from vault.service.compartment import ServedCompartment, now
from vault.service.etags import current_etag, etag_of
from vault.service.repeating import request_mark
from vault.service.values import check_record_size, checked, index_rows
from vault.store.whole import Registration


@dataclass(frozen=True, slots=True)
class ConsentAsked:
    """A consent on its way in: what the subject was shown, exactly."""

    purpose: str
    edition: int
    language: str
    notice_digest: bytes


async def register(
    served: ServedCompartment,
    call: Call,
    capability: str,
    kind: SubjectKind,
    fields: Mapping[str, str],
    consents: Sequence[ConsentAsked],
) -> str:
    """Open a record and return its etag. Raises VaultError.

    After an erasure the record starts anew, under a new data key, if the subject consents anew.
    """
    async with attempt(served, call, "register") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        compartment = call.edition.compartment(served.name)
        _check_kind(compartment, kind)
        values = checked(compartment, fields)
        _check_required(compartment, fields)
        check_record_size(values.values())

        about = new_record(kind.value, now())
        add_consents(call, served.name, about, consents)
        data_key = DataKey.new()
        sealed = seal_record(address, data_key, about, values.values())
        attempted.met(about)
        asked = [kind, dict(fields), [[c.purpose, c.edition, c.language] for c in consents]]

        async def write(epoch: int) -> str:
            wrapped = await served.wrap(address, data_key)
            rows = await index_rows(served, call.edition, values.values())
            tombstone = await served.tombstone(address)
            mark = await request_mark(served, call, "register", address, asked)
            opening = Registration(
                address.pseudonym, sealed, wrapped, rows, tombstone, bool(consents), mark
            )
            describe = partial(attempted.changed, sealed, None)
            opened = await change(served, Planned(attempted, opening, describe), epoch)
            return etag_of(sealed) if opened else await current_etag(served, address)

        return await with_keys(served, write)


def add_consents(
    call: Call, compartment: str, about: sealed_pb2.Record, consents: Sequence[ConsentAsked]
) -> None:
    """Write consents into a record, each in the place of an older one for the same purpose.

    Raises VaultError(NOTICE_MISMATCH) unless what was shown is the notice of the edition in force.
    """
    at = now()
    purposes = [c.purpose for c in consents]
    if len(set(purposes)) < len(purposes):
        raise VaultError(Reason.MALFORMED_REQUEST, "Consent to each purpose once in a request.")
    for consent in consents:
        if consent.edition != call.edition.number:
            raise VaultError(
                Reason.NOTICE_MISMATCH,
                f"The notice shown is of another edition; in force is {call.edition.number}. "
                "Show the subject the notices of ListNotices.",
            )
        verify_notice(
            call.edition, compartment, consent.purpose, consent.language, consent.notice_digest
        )
    kept = [c for c in about.consents if c.purpose not in purposes]
    new = [
        sealed_pb2.Consent(
            purpose=c.purpose,
            edition=c.edition,
            language=c.language,
            notice_digest=c.notice_digest,
            given_at=at,
        )
        for c in consents
    ]
    del about.consents[:]
    about.consents.extend(sorted([*kept, *new], key=lambda c: c.purpose))


def _check_kind(compartment: Compartment, kind: SubjectKind) -> None:
    if kind not in compartment.subjects:
        kinds = " or ".join(sorted(k.name.lower() for k in compartment.subjects))
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"The compartment {compartment.name} is for subjects of kind {kinds}.",
            violations={"kind": f"must be {kinds}"},
        )


def _check_required(compartment: Compartment, given: Mapping[str, str]) -> None:
    required = [f.name for f in compartment.fields.values() if not f.voluntary]
    if missing := [name for name in required if name not in given]:
        raise VaultError(
            Reason.INVALID_VALUE,
            f"Required fields are missing: {', '.join(missing)}.",
            violations={f"fields.{name}": "is required" for name in missing},
        )
