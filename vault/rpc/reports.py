"""A report on the wire: what an event of the trail tells the subject that it is about."""

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import errors_pb2, types_pb2
from piivault.v1 import subject_service_pb2 as pb

from vault.errors import Reason
from vault.policy import (
    Edition,
    ForPurpose,
    HeldField,
    Named,
    SeenField,
    field_named,
    owner_title,
    purpose_title,
    recipient_title,
)
from vault.rpc import wire
from vault.rpc.requests import request_out
from vault.sealed.v1 import sealed_pb2
from vault.service.call import Call
from vault.service.consents import moment
from vault.service.report import About, ReportPage


def report_out(page: ReportPage, call: Call, uuid: bytes, language: str) -> pb.ReportResponse:
    """Write a page. Events speak in the words of their editions."""
    editions = call.policy.editions
    return pb.ReportResponse(
        processing=_processing(page, page.about, call.edition) if page.about else None,
        events=[_event(e, editions.get(e.edition), uuid, language) for e in page.events],
        unread=[
            pb.UnreadEvents(reason=wire.reason_out(reason), count=count)
            for reason, count in sorted(page.unread.items())
        ],
        next_page_token=page.next_page,
        request=request_out(page.request) if page.request else None,
    )


def _processing(page: ReportPage, about: About, edition: Edition) -> pb.Processing:
    done = about.processing
    return pb.Processing(
        as_of=_moment(page.as_of),
        language=done.language,
        title=done.title,
        kind=types_pb2.SubjectKind.ValueType(about.kind),
        edition=edition.number,
        in_force=wire.timestamp(edition.in_force),
        law=done.law,
        registered_at=wire.timestamp(moment(about.registered_at)),
        restricted=about.restricted,
        fields=[_held(its) for its in done.fields],
        purposes=[_purpose(its) for its in done.purposes],
        consents=[
            pb.ReportedConsent(
                consent=wire.consent_out(its.consent, ask_again=its.ask_again),
                title=its.title,
            )
            for its in done.agreed
        ],
        trail_begins=_moment(about.trail_begins) if about.trail_begins else None,
    )


def _held(held: HeldField) -> pb.HeldField:
    return pb.HeldField(
        field=_named(held.field),
        voluntary=held.voluntary,
        set_at=wire.timestamp(held.set_at),
        kept_until=wire.timestamp(held.kept_until),
    )


def _purpose(its: ForPurpose) -> pb.ReportedPurpose:
    return pb.ReportedPurpose(
        purpose=_named(its.purpose),
        description=its.description,
        basis=its.basis,
        basis_text=its.basis_text,
        retention=its.retention,
        fields=[_seen(field) for field in its.fields],
        recipients=[_named(recipient) for recipient in its.recipients],
        joins=its.joins,
        closed=wire.reason_out(its.closed or ""),
    )


def _event(
    body: sealed_pb2.AuditEvent, edition: Edition | None, uuid: bytes, language: str
) -> pb.ReportedEvent:
    named = (
        (body.owner, owner_title),
        (body.purpose, purpose_title),
        (body.recipient, recipient_title),
    )
    owner, purpose, recipient = (
        pb.Named(name=name, title=title(edition, name, language)) if name else None
        for name, title in named
    )
    return pb.ReportedEvent(
        at=_moment(body.at),
        edition=body.edition,
        service=body.service,
        owner=owner,
        purpose=purpose,
        operation=body.operation,
        fields=[
            pb.SeenField(
                field=_named(field_named(edition, uuid, use.uid, language)),
                form=types_pb2.Form.ValueType(use.form),
            )
            for use in body.fields
        ],
        recipient=recipient,
        refused=_refused(body),
    )


def _refused(body: sealed_pb2.AuditEvent) -> errors_pb2.ErrorReason.ValueType:
    """Return why nothing was given; a reason that only a newer release knows is some reason too."""
    if body.outcome == sealed_pb2.OUTCOME_ALLOWED:
        return wire.reason_out("")
    return wire.reason_out(body.reason) or wire.reason_out(Reason.INTERNAL)


def _seen(seen: SeenField) -> pb.SeenField:
    form = types_pb2.Form.ValueType(seen.form.value)
    return pb.SeenField(field=_named(seen.field), form=form)


def _named(named: Named) -> pb.Named:
    return pb.Named(name=named.name, title=named.title)


def _moment(microseconds: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMicroseconds(microseconds)
    return stamp
