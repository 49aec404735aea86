"""AuditService on the wire: what an event tells an officer, and what it keeps to itself."""

from collections.abc import AsyncGenerator

from google.protobuf.timestamp_pb2 import Timestamp
from piivault.v1 import audit_service_pb2 as pb
from piivault.v1 import errors_pb2, types_pb2

from vault.errors import Reason, VaultError
from vault.rpc.wire import reason_out
from vault.service.audits import MOST_A_PAGE, Audited, Audits, Filter
from vault.service.call import Visit
from vault.service.reading import SECOND, ReadEvent

_PREFIX = "ERROR_REASON_"
_USUAL_PAGE = 100
_USUAL_BUCKET = 3600  # seconds
_LATEST = 253402300799  # seconds since 1970: the last that a Timestamp holds


class AuditServicer:
    """The trail, as people look into it. No answer holds a token: see `_event`."""

    def __init__(self, audits: Audits) -> None:
        self._audits = audits

    async def ListEvents(
        self, visit: Visit, request: pb.ListEventsRequest
    ) -> pb.ListEventsResponse:
        """Return a page of events."""
        trail = self._audits.trail(request.compartment)
        most = min(request.page_size or _USUAL_PAGE, MOST_A_PAGE)
        events, token = await trail.page(_filter(request.filter), most, request.page_token)
        return pb.ListEventsResponse(
            events=[_event(trail, event) for event in events], next_page_token=token
        )

    async def TailEvents(
        self, visit: Visit, request: pb.TailEventsRequest
    ) -> AsyncGenerator[pb.TailEventsResponse, None]:
        """Send events as they come."""
        trail, wanted = self._audits.trail(request.compartment), _filter(request.filter)
        if wanted.since is not None or wanted.until is not None:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                "A tail begins now and has no end. List what was before.",
                violations={"filter.from": "must be unset", "filter.until": "must be unset"},
            )
        with trail.follower.subscribed() as subscription:
            while True:
                found = [e for e in await subscription.next() if trail.fits(wanted, e)]
                for first in range(0, len(found), MOST_A_PAGE):
                    sent = found[first : first + MOST_A_PAGE]
                    yield pb.TailEventsResponse(events=[_event(trail, event) for event in sent])

    async def Summarize(self, visit: Visit, request: pb.SummarizeRequest) -> pb.SummarizeResponse:
        """Return counts."""
        trail, bucket = self._audits.trail(request.compartment), request.bucket_seconds
        counted, token = await trail.counts(
            _filter(request.filter), bucket or _USUAL_BUCKET, request.page_token
        )
        return pb.SummarizeResponse(
            counts=[
                pb.EventCount(
                    start=Timestamp(seconds=alike.start),
                    service=alike.service,
                    purpose=alike.purpose,
                    operation=alike.operation,
                    outcome=pb.Outcome.ValueType(alike.outcome),
                    count=count,
                )
                for alike, count in counted.items()
            ],
            next_page_token=token,
        )


def _filter(asked: pb.EventFilter) -> Filter:
    # The field is called `from`, which Python can't say.
    return Filter(
        since=_moment(getattr(asked, "from")) if asked.HasField("from") else None,
        until=_moment(asked.until) if asked.HasField("until") else None,
        service=asked.service,
        purpose=asked.purpose,
        operation=asked.operation,
        outcome=asked.outcome,
        reason=_name(asked.reason),
        fields=frozenset(asked.fields),
        request_id=asked.request_id,
    )


def _moment(stamp: Timestamp) -> int:
    """Return microseconds since 1970; a moment before then is none of the trail's."""
    seconds = min(max(stamp.seconds, 0), _LATEST)
    return seconds * SECOND + min(max(stamp.nanos, 0), 999_999_999) // 1000


def _name(reason: errors_pb2.ErrorReason.ValueType) -> str:
    if reason not in errors_pb2.ErrorReason.values():
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            "This release knows no error reason of that number.",
            violations={"filter.reason": "is unknown"},
        )
    return errors_pb2.ErrorReason.Name(reason).removeprefix(_PREFIX) if reason else ""


def _event(trail: Audited, event: ReadEvent) -> pb.AuditEvent:
    """Write an event: neither its token nor its row's digest, by which records could be told."""
    body = event.body
    seconds, microseconds = divmod(body.at, SECOND)
    names = trail.names(body.edition)
    written = pb.AuditEvent(
        at=Timestamp(seconds=seconds, nanos=microseconds * 1000),
        edition=body.edition,
        service=body.service,
        owner=body.owner,
        purpose=body.purpose,
        operation=body.operation,
        outcome=pb.Outcome.ValueType(body.outcome),
        reason=reason_out(body.reason),
        request_id=body.request_id,
        recipient=body.recipient,
        changed=bool(body.row_digest),
        count=event.stands_for,
        writer=event.writer,
        sequence=event.sequence,
        compartment=body.compartment,
    )
    for use in body.fields:  # each is made in its place: none is copied there
        uid = use.uid
        form = types_pb2.Form.ValueType(use.form)
        written.fields.add(name=names.get(uid) or str(uid), form=form)
    return written
