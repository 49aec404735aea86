"""What is done with a subject's data, as a report tells it, in the report's language."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Self

from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

from piivault._call import form_of
from piivault._requests import SubjectRequest, request_in
from piivault._types import ConsentState, Form, SubjectKind
from piivault.errors import InvalidRequest
from piivault.v1 import errors_pb2, types_pb2
from piivault.v1 import subject_service_pb2 as pb

_REASON = "ERROR_REASON_"


@dataclass(frozen=True, slots=True)
class Named:
    """Something by its name in an edition, and as people call it."""

    name: str
    title: str

    def __str__(self) -> str:
        return self.title or self.name


@dataclass(frozen=True, slots=True)
class HeldField:
    """A value that is held: which, since when, and until when at most. What it is, `view` says."""

    field: Named
    voluntary: bool
    set_at: datetime
    kept_until: datetime


@dataclass(frozen=True, slots=True)
class SeenField:
    """A field, and the form that somebody saw it in; None where none was given."""

    field: Named
    form: Form | None


@dataclass(frozen=True, slots=True)
class ReportedPurpose:
    """What a purpose does with the record.

    `fields` are those that it sees; where it is `closed` for a reason such as CONSENT_REQUIRED,
    those that it would see. `joins` are titles of databases that it may join this one with.
    """

    purpose: Named
    description: str
    basis: str
    basis_text: str
    retention: str
    fields: tuple[SeenField, ...]
    recipients: tuple[Named, ...]
    joins: tuple[str, ...]
    closed: str


@dataclass(frozen=True, slots=True)
class ReportedConsent:
    """A consent, and what its purpose is called in the edition that was agreed to."""

    consent: ConsentState
    title: str


@dataclass(frozen=True, slots=True)
class ReportedEvent:
    """Something that was done with the record, or asked and `refused` for a reason.

    Names and titles are those of the edition that it was decided under. `owner` answers for the
    service; it is None for what the clock does, and `purpose` for what the subject does.
    """

    at: datetime
    edition: int
    service: str
    owner: Named | None
    purpose: Named | None
    operation: str
    fields: tuple[SeenField, ...]
    recipient: Named | None
    refused: str


@dataclass(frozen=True, slots=True)
class Report:
    """What is done with a subject's data in one compartment, as of a moment.

    `title` is what the edition calls the compartment, `law` what governs all that it leaves open.
    `events` begin with the newest. `unread` counts events that are there and can't be opened, by
    reason. Events from before `trail_begins` are no longer kept; None if all are. `request` is what
    this answers: it stays open until the subject's side says that the report came.
    """

    as_of: datetime
    language: str
    title: str
    kind: SubjectKind
    edition: int
    in_force: datetime
    law: str
    registered_at: datetime
    restricted: bool
    fields: tuple[HeldField, ...]
    purposes: tuple[ReportedPurpose, ...]
    consents: tuple[ReportedConsent, ...]
    trail_begins: datetime | None
    events: tuple[ReportedEvent, ...]
    unread: tuple[tuple[str, int], ...]
    request: SubjectRequest | None
    _message: pb.ReportResponse = field(repr=False, compare=False)

    def to_json(self) -> str:
        """Write it as JSON: piivault.v1.ReportResponse in protobuf's own mapping."""
        return json_format.MessageToJson(
            self._message, preserving_proto_field_name=True, ensure_ascii=False
        )

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` wrote; raise InvalidRequest for anything else."""
        try:
            message = json_format.Parse(text, pb.ReportResponse())
        except (json_format.ParseError, RecursionError):
            message = pb.ReportResponse()
        if not message.HasField("processing"):
            raise InvalidRequest("That is no report: one is written by Report.to_json().")
        return cls.of([message])

    @classmethod
    def of(cls, pages: Sequence[pb.ReportResponse]) -> Self:
        """Put pages together."""
        whole = pb.ReportResponse()
        for page in pages:
            whole.MergeFrom(page)
        whole.next_page_token = ""
        said = whole.processing
        unread: dict[str, int] = {}
        for its in whole.unread:
            reason = _reason(its.reason)
            unread[reason] = unread.get(reason, 0) + its.count
        events = [_event(event) for event in whole.events]
        return cls(
            as_of=_moment(said.as_of),
            language=said.language,
            title=said.title,
            kind="enterprise" if said.kind == types_pb2.SUBJECT_KIND_ENTERPRISE else "person",
            edition=said.edition,
            in_force=_moment(said.in_force),
            law=said.law,
            registered_at=_moment(said.registered_at),
            restricted=said.restricted,
            fields=tuple(
                HeldField(
                    _named(its.field), its.voluntary, _moment(its.set_at), _moment(its.kept_until)
                )
                for its in said.fields
            ),
            purposes=tuple(_purpose(its) for its in said.purposes),
            consents=tuple(
                ReportedConsent(consent_state(its.consent), its.title) for its in said.consents
            ),
            trail_begins=_moment(said.trail_begins) if said.HasField("trail_begins") else None,
            events=tuple(sorted(events, key=lambda event: event.at, reverse=True)),
            unread=tuple(sorted(unread.items())),
            request=request_in(whole.request) if whole.HasField("request") else None,
            _message=whole,
        )


def consent_state(state: types_pb2.ConsentState) -> ConsentState:
    """Read a consent as the record keeps it."""
    withdrawn = state.HasField("withdrawn_at")
    return ConsentState(
        purpose=state.purpose,
        edition=state.edition,
        language=state.language,
        given_at=_moment(state.given_at),
        withdrawn_at=_moment(state.withdrawn_at) if withdrawn else None,
        ask_again=state.ask_again,
    )


def _purpose(its: pb.ReportedPurpose) -> ReportedPurpose:
    return ReportedPurpose(
        purpose=_named(its.purpose),
        description=its.description,
        basis=its.basis,
        basis_text=its.basis_text,
        retention=its.retention,
        fields=tuple(_seen(seen) for seen in its.fields),
        recipients=tuple(_named(recipient) for recipient in its.recipients),
        joins=tuple(its.joins),
        closed=_reason(its.closed),
    )


def _event(its: pb.ReportedEvent) -> ReportedEvent:
    return ReportedEvent(
        at=_moment(its.at),
        edition=its.edition,
        service=its.service,
        owner=_named(its.owner) if its.HasField("owner") else None,
        purpose=_named(its.purpose) if its.HasField("purpose") else None,
        operation=its.operation,
        fields=tuple(_seen(seen) for seen in its.fields),
        recipient=_named(its.recipient) if its.HasField("recipient") else None,
        refused=_reason(its.refused),
    )


def _seen(seen: pb.SeenField) -> SeenField:
    return SeenField(_named(seen.field), form_of(seen.form) if seen.form else None)


def _named(named: pb.Named) -> Named:
    return Named(named.name, named.title)


def _moment(stamp: Timestamp) -> datetime:
    return stamp.ToDatetime(UTC)


def _reason(reason: errors_pb2.ErrorReason.ValueType) -> str:
    """Return a reason's name; "" for none, and a word for one that is newer than this SDK."""
    if not reason:
        return ""
    known = reason in errors_pb2.ErrorReason.values()
    return errors_pb2.ErrorReason.Name(reason).removeprefix(_REASON) if known else "OTHER"
