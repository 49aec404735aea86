"""Calls of PseudonymService and SubjectService: what a subject-facing service asks. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from piivault._call import (
    Call,
    field_values,
    names_to_clear,
    request_id_or_new,
    secret_of,
    text,
    texts,
)
from piivault._report import consent_state
from piivault._requests import kept_in
from piivault._types import Consent, ConsentText, Notice, RootId, SubjectKind, SubjectView
from piivault.errors import InvalidRequest
from piivault.export_keys import PublicKey
from piivault.v1 import pseudonym_service_pb2 as pseudonym_pb
from piivault.v1 import subject_service_pb2 as pb
from piivault.v1 import types_pb2

A = TypeVar("A")

_SERVICE = "/piivault.v1.SubjectService"
_KINDS: Mapping[SubjectKind, types_pb2.SubjectKind.ValueType] = {
    "person": types_pb2.SUBJECT_KIND_PERSON,
    "enterprise": types_pb2.SUBJECT_KIND_ENTERPRISE,
}
_EARLY = timedelta(seconds=10)  # a capability may end while its call is under way


@dataclass(frozen=True, slots=True, repr=False)
class Issued:
    """What the broker gave for one subject in one compartment."""

    pseudonym: str
    capability: str
    expires_at: datetime

    def is_fresh(self) -> bool:
        """Tell whether the capability will last for another call."""
        return datetime.now(UTC) + _EARLY < self.expires_at


def checked_root(root: RootId) -> RootId:
    """Return it; raise InvalidRequest for anything but a RootId, without showing it."""
    if not isinstance(root, RootId):
        raise InvalidRequest("A subject is named by its root id: new_root() or RootId.parse(…).")
    return root


def checked_assertion(assertion: A) -> A:
    """Return it; raise InvalidRequest for anything but a str, a function or None, unshown."""
    if not (assertion is None or isinstance(assertion, str) or callable(assertion)):
        raise InvalidRequest("assertion is a JWT as a str, or a function that returns a fresh one.")
    return assertion


def checked_key(key: PublicKey) -> PublicKey:
    """Return it; raise InvalidRequest for anything but a public key: above all for a pair."""
    if not isinstance(key, PublicKey):
        raise InvalidRequest("An export is sealed to a PublicKey: read_public(…)[compartment].")
    return key


def issue(
    compartment: str, root: RootId, assertion: str, export_key: bytes = b""
) -> Call[pseudonym_pb.IssueResponse, Issued]:
    """Ask the broker. Its request id is its own: broker and worker log nothing in common.

    With the thumbprint of an export key, the capability is for an export to that key alone.
    """
    return Call(
        "/piivault.v1.PseudonymService/Issue",
        None,
        pseudonym_pb.IssueRequest(
            compartment=text(compartment, "compartment"),
            root_id=bytes(root),
            subject_assertion=text(assertion, "assertion"),
            export_key=export_key,
        ),
        pseudonym_pb.IssueResponse,
        lambda got: Issued(got.pseudonym, got.capability, got.expires_at.ToDatetime(UTC)),
        request_id_or_new(),
    )


def list_notices(compartment: str, language: str) -> Call[pb.ListNoticesResponse, list[Notice]]:
    """Ask for what a subject must be shown."""
    return Call(
        f"{_SERVICE}/ListNotices",
        compartment,
        pb.ListNoticesRequest(
            compartment=text(compartment, "compartment"), language=text(language, "language")
        ),
        pb.ListNoticesResponse,
        lambda got: [_notice(notice) for notice in got.notices],
        request_id_or_new(),
    )


def register(
    compartment: str,
    capability: str,
    kind: SubjectKind,
    fields: Mapping[str, str],
    consents: Iterable[Consent],
    request_id: str,
) -> Call[pb.RegisterResponse, str]:
    """Open a record."""
    if kind not in _KINDS:
        raise InvalidRequest(f"kind is one of: {', '.join(_KINDS)}.")
    if names_to_clear(fields):
        raise InvalidRequest("A new record has nothing to remove: leave the field out.")
    return Call(
        f"{_SERVICE}/Register",
        compartment,
        pb.RegisterRequest(
            compartment=compartment,
            capability=capability,
            kind=_KINDS[kind],
            fields=field_values(fields),
            consents=[_to_proto(consent) for consent in consents],
        ),
        pb.RegisterResponse,
        lambda got: got.etag,
        request_id,
    )


def put(
    compartment: str,
    capability: str,
    fields: Mapping[str, str | None],
    etag: str | None,
    request_id: str,
) -> Call[pb.SubjectServicePutResponse, str]:
    """Set and remove the subject's values."""
    return Call(
        f"{_SERVICE}/Put",
        compartment,
        pb.SubjectServicePutRequest(
            compartment=compartment,
            capability=capability,
            fields=field_values(fields),
            clear=names_to_clear(fields),
            etag=text(etag or "", "etag"),
        ),
        pb.SubjectServicePutResponse,
        lambda got: got.etag,
        request_id,
    )


def view(
    compartment: str, capability: str, fields: Iterable[str]
) -> Call[pb.ViewResponse, SubjectView]:
    """Ask for the subject's own values."""
    return Call(
        f"{_SERVICE}/View",
        compartment,
        pb.ViewRequest(
            compartment=compartment, capability=capability, fields=texts(fields, "fields")
        ),
        pb.ViewResponse,
        _view,
        request_id_or_new(),
    )


def grant(
    compartment: str, capability: str, consents: Iterable[Consent], request_id: str
) -> Call[pb.GrantConsentResponse, str]:
    """Add or renew consents."""
    return Call(
        f"{_SERVICE}/GrantConsent",
        compartment,
        pb.GrantConsentRequest(
            compartment=compartment,
            capability=capability,
            consents=[_to_proto(consent) for consent in consents],
        ),
        pb.GrantConsentResponse,
        lambda got: got.etag,
        request_id,
    )


def withdraw(
    compartment: str, capability: str, purposes: Iterable[str], request_id: str
) -> Call[pb.WithdrawConsentResponse, str]:
    """Take consents back."""
    return Call(
        f"{_SERVICE}/WithdrawConsent",
        compartment,
        pb.WithdrawConsentRequest(
            compartment=compartment, capability=capability, purposes=texts(purposes, "purposes")
        ),
        pb.WithdrawConsentResponse,
        lambda got: got.etag,
        request_id,
    )


def list_consents(
    compartment: str, capability: str, language: str
) -> Call[pb.ListConsentsResponse, list[ConsentText]]:
    """Ask for the consents, with the texts that they were given to."""
    return Call(
        f"{_SERVICE}/ListConsents",
        compartment,
        pb.ListConsentsRequest(compartment=compartment, capability=capability, language=language),
        pb.ListConsentsResponse,
        lambda got: [
            ConsentText(consent_state(its.consent), _notice(its.notice), its.as_shown)
            for its in got.consents
        ],
        request_id_or_new(),
    )


def several(consents: Iterable[Consent]) -> tuple[Consent, ...]:
    """Return them, to be sent more than once; raise InvalidRequest for one alone."""
    if isinstance(consents, Consent):
        raise InvalidRequest("consents is a list, even if there is only one.")
    return tuple(consents)


def _to_proto(consent: Consent) -> types_pb2.Consent:
    if not isinstance(consent, Consent):
        raise InvalidRequest("consents are Consent objects: notice.accept() makes them.")
    return types_pb2.Consent(
        purpose=consent.purpose,
        edition=consent.edition,
        language=consent.language,
        notice_digest=consent.notice_digest,
    )


def _notice(notice: types_pb2.Notice) -> Notice:
    return Notice(
        purpose=notice.purpose,
        edition=notice.edition,
        language=notice.language,
        text=notice.text,
        digest=notice.digest,
        consent_needed=notice.consent_needed,
    )


def _view(got: pb.ViewResponse) -> SubjectView:
    return SubjectView(
        fields={field.name: secret_of(field) for field in got.fields},
        kind="enterprise" if got.kind == types_pb2.SUBJECT_KIND_ENTERPRISE else "person",
        consents=tuple(consent_state(state) for state in got.consents),
        etag=got.etag,
        restricted=got.restricted,
        erased=got.erased,
        kept=kept_in(got.kept),
    )
