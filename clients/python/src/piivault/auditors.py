"""What tools of auditors are built on: the audit trail of one compartment at a time.

    with AuditClient.from_env() as trail:
        for event in trail.events("accounts", EventFilter(service="orders", outcome="denied")):
            print(event.at, event.reason)

Officers may call it. No event holds a value, a pseudonym, or anything that finds a subject.
"""

import os
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, Self

from google.protobuf.timestamp_pb2 import Timestamp

from piivault._call import form_of
from piivault._officer_connection import OfficerConnection, as_it_is
from piivault._settings import Settings
from piivault._types import Form
from piivault.errors import InvalidRequest
from piivault.v1 import audit_service_pb2 as pb
from piivault.v1 import errors_pb2

Outcome = Literal["allowed", "denied", "failed"]

_AUDIT = "/piivault.v1.AuditService/"
_PAGE = 500
_OUTCOME, _REASON = "OUTCOME_", "ERROR_REASON_"
_OUTCOMES = {n: name.removeprefix(_OUTCOME).lower() for name, n in pb.Outcome.items()}
_REASONS = {n: name.removeprefix(_REASON) for name, n in errors_pb2.ErrorReason.items() if n}


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; whatever is empty fits all. `since` and `until` (not included) know their zone.

    `reason` is an error reason such as NOT_GRANTED; of `fields`, all were asked for.
    """

    since: datetime | None = None
    until: datetime | None = None
    service: str = ""
    purpose: str = ""
    operation: str = ""
    outcome: Outcome | None = None
    reason: str = ""
    fields: Sequence[str] = ()
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """What was asked, by whom, for what purpose, and what became of it.

    `fields` has the form that was given for each that was asked for, None where none was.
    `count` is above one for denials of a flood, which are counted. `writer` (hexadecimal) and
    `sequence` are its place in the trail. `compartment` is the one that the broker was asked for,
    in the broker's trail.
    """

    at: datetime
    edition: int
    service: str
    owner: str
    purpose: str
    operation: str
    fields: Mapping[str, Form | None]
    outcome: str
    reason: str
    request_id: str
    recipient: str
    changed: bool
    count: int
    writer: str
    sequence: int
    compartment: str = ""


@dataclass(frozen=True, slots=True)
class Alike:
    """What requests are counted together by; `start` is when their time begins."""

    start: datetime
    service: str
    purpose: str
    operation: str
    outcome: str


class AuditClient(OfficerConnection):
    """Talks to the auditor, as an officer."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read PIIVAULT_ADDRESS and the rest; raise ConfigurationError naming what is missing.

        PIIVAULT_AUDITOR_ADDRESS says where the auditor is, if elsewhere.
        """
        environ = os.environ if environ is None else environ
        settings = Settings.from_env(environ)
        address = environ.get("PIIVAULT_AUDITOR_ADDRESS") or settings.address
        return cls(replace(settings, address=address, broker_address=None))

    def events(
        self, compartment: str, only: EventFilter | None = None, *, page_size: int = _PAGE
    ) -> Generator[AuditEvent, None, None]:
        """Yield events, the newest first, asking for pages as they are needed."""
        asked, token = _filter(only), ""
        while True:
            request = pb.ListEventsRequest(
                compartment=compartment, filter=asked, page_size=page_size, page_token=token
            )
            page = self._send(_AUDIT + "ListEvents", None, request, pb.ListEventsResponse)
            yield from map(_event, page.events)
            token = page.next_page_token
            if not token:
                return

    def tail(
        self, compartment: str, only: EventFilter | None = None
    ) -> Generator[AuditEvent, None, None]:
        """Yield events as they are written, until the server or the caller leaves.

        Raises Overloaded where they are read slower than they come.
        """
        request = pb.TailEventsRequest(compartment=compartment, filter=_filter(only))
        call = as_it_is(_AUDIT + "TailEvents", None, request, pb.TailEventsResponse)
        for part in self._transport.stream(call):
            yield from map(_event, part.events)

    def summary(
        self, compartment: str, only: EventFilter | None = None, *, bucket: int = 3600
    ) -> Counter[Alike]:
        """Count requests by `bucket` seconds, service, purpose, operation and outcome."""
        asked, token, counted = _filter(only), "", Counter[Alike]()
        while True:
            request = pb.SummarizeRequest(
                compartment=compartment, filter=asked, bucket_seconds=bucket, page_token=token
            )
            part = self._send(_AUDIT + "Summarize", None, request, pb.SummarizeResponse)
            for found in part.counts:
                start = _moment(found.start)
                outcome = _outcome(found.outcome)
                alike = Alike(start, found.service, found.purpose, found.operation, outcome)
                counted[alike] += found.count
            token = part.next_page_token
            if not token:
                return counted


def _filter(only: EventFilter | None) -> pb.EventFilter:
    only = only or EventFilter()
    found = pb.EventFilter(
        until=_timestamp(only.until),
        service=only.service,
        purpose=only.purpose,
        operation=only.operation,
        fields=only.fields,
        request_id=only.request_id,
    )
    if (since := _timestamp(only.since)) is not None:
        getattr(found, "from").CopyFrom(since)  # a word that Python keeps for itself
    if only.outcome is not None:
        outcome = f"{_OUTCOME}{only.outcome.upper()}"
        if outcome not in pb.Outcome.keys():  # noqa: SIM118 -- not a dict
            raise InvalidRequest("An outcome is allowed, denied or failed.")
        found.outcome = pb.Outcome.Value(outcome)
    if only.reason:
        reason = f"{_REASON}{only.reason.upper()}"
        if reason not in errors_pb2.ErrorReason.keys():  # noqa: SIM118 -- not a dict
            raise InvalidRequest("That is no error reason: one is NOT_GRANTED.")
        found.reason = errors_pb2.ErrorReason.Value(reason)
    return found


def _timestamp(moment: datetime | None) -> Timestamp | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidRequest("A moment needs its time zone: datetime.now(UTC).")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _event(found: pb.AuditEvent) -> AuditEvent:
    return AuditEvent(
        at=_moment(found.at),
        edition=found.edition,
        service=found.service,
        owner=found.owner,
        purpose=found.purpose,
        operation=found.operation,
        fields={f.name: form_of(f.form) if f.form else None for f in found.fields},
        outcome=_outcome(found.outcome),
        reason=_REASONS.get(found.reason, ""),
        request_id=found.request_id,
        recipient=found.recipient,
        changed=found.changed,
        count=found.count,
        writer=found.writer.hex(),
        sequence=found.sequence,
        compartment=found.compartment,
    )


def _moment(stamp: Timestamp) -> datetime:
    # What ToDatetime does, for a third of its time: there are as many as there are events.
    whole = datetime.fromtimestamp(stamp.seconds, UTC)
    return whole.replace(microsecond=stamp.nanos // 1000)


def _outcome(number: pb.Outcome.ValueType) -> str:
    return _OUTCOMES.get(number) or f"outcome-{number}"  # a newer server's
