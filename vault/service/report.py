"""Report: what is done with the subject's data, and who read it (clause 3.1.3).

The record is opened, the event of asking becomes durable, and only then is the trail asked: for
the tokens of the days since the registration, which the salt inside the record gives. So what is
found is this record's. What was refused before a record was looked at says of nobody's, and what
was there before an erasure had another salt: neither can be found.

Whoever asks for the next page says where the last one ended: a day, and a place in the trail.
"""

import time
from collections import Counter
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from itertools import count

from vault.audit.chain import WRITER_BYTES, Link, open_event
from vault.crypto.primitives import DamagedError
from vault.crypto.record import Address
from vault.crypto.request import RequestKind, SubjectRequest
from vault.errors import UNREADABLE, Reason, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.names import from_base64url, to_base64url
from vault.policy import Processing, RecordHeld, check_language, processing
from vault.sealed.v1 import sealed_pb2
from vault.service.attempt import Attempt, attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import given, moment
from vault.service.opened import OpenedRecord
from vault.service.requests import requested
from vault.service.verify_trail import batches, first_day, subject_tokens
from vault.store.subject_events import BEGINNING, subject_events

MOST_A_PAGE = 200
MOST_LOOKED_AT = 1_000
MOST_FIELDS = 2_000  # of all events of a page, so that an answer stays well below 4 MiB
_SECOND = 1_000_000  # in microseconds, as the trail counts
_DAY = 24 * 3600 * _SECOND
_PAGE = 250  # events that are read at a time
_NUMBER = 8  # bytes


@dataclass(frozen=True, slots=True)
class About:
    """What the first page says of the record. Moments in microseconds since 1970."""

    kind: int
    registered_at: int
    restricted: bool
    trail_begins: int  # earlier events may have been cut off; 0: none were
    processing: Processing


@dataclass(frozen=True, slots=True)
class ReportPage:
    """A page: events from the newest day on, and how many could not be opened, and why.

    The first one says the rest, too, and which request it answers.
    """

    as_of: int
    events: tuple[sealed_pb2.AuditEvent, ...]
    unread: Mapping[Reason, int]
    next_page: str
    about: About | None = None
    request: SubjectRequest | None = None


@dataclass(frozen=True, slots=True)
class _Place:
    """How far a report came: behind a writer's sequence on a day, of events before `as_of`."""

    as_of: int
    day: int  # since 1970
    after: tuple[bytes, int] = BEGINNING

    def write(self) -> str:
        writer, sequence = self.after
        numbers = (
            n.to_bytes(_NUMBER, "big", signed=True) for n in (self.as_of, self.day, sequence)
        )
        return to_base64url(b"".join(numbers) + writer)

    @classmethod
    def read(cls, text: str) -> "_Place":
        """Read what `write` wrote. Raises VaultError(MALFORMED_REQUEST)."""
        try:
            raw = from_base64url(text)
        except ValueError:
            raw = b""
        if len(raw) not in (3 * _NUMBER, 3 * _NUMBER + WRITER_BYTES):
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                "That is no page of a report: take next_page_token of the last one.",
                violations={"page_token": "is malformed"},
            )
        parts = (raw[at : at + _NUMBER] for at in range(0, 3 * _NUMBER, _NUMBER))
        as_of, day, sequence = (int.from_bytes(part, "big", signed=True) for part in parts)
        return cls(as_of, day, (raw[3 * _NUMBER :], sequence))


async def report(
    served: ServedCompartment, call: Call, capability: str, language: str, page: str
) -> ReportPage:
    """Return a page of what is done with a record. Raises VaultError.

    The first page puts the request on record, and says which it is.
    """
    now = time.time_ns() // 1000
    async with attempt(served, call, "report") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        if page:
            record = await _allowed(served, attempted, address)
            return await _page(served, record, _Place.read(page), now)
        async with requested(served, call, RequestKind.REPORT, address) as begun:
            check_language(call.edition, language)
            record = await _allowed(served, attempted, address)
            about = await _about(served, call, record, language, now)
            first = await _page(served, record, _Place(now, now // _DAY), now)
            return replace(first, about=about, request=begun.request)


async def _allowed(served: ServedCompartment, attempted: Attempt, address: Address) -> OpenedRecord:
    """Open the record, once the trail says that it was asked about."""
    record = await served.records.open(address)
    attempted.met(record.about)
    await attempted.allow()
    return record


async def _page(
    served: ServedCompartment, record: OpenedRecord, place: _Place, now: int
) -> ReportPage:
    gathered = await _gather(served, record, place, now)
    following = gathered.following.write() if gathered.following else ""
    return ReportPage(place.as_of, tuple(gathered.events), gathered.unread, following)


async def _about(
    served: ServedCompartment, call: Call, record: OpenedRecord, language: str, now: int
) -> About:
    about = record.about
    held = RecordHeld(
        moment(about.registered_at),
        about.restricted,
        given(about),
        [(item.uid, moment(item.set_at)) for item in about.fields],
    )
    at = moment(now // _SECOND)
    done = processing(call.policy.editions, call.edition, served.name, language, held, at)
    own = await served.lookups.identity()
    begins = own.trail_begins if own and own.trail_begins > about.registered_at * _SECOND else 0
    return About(about.subject_kind, about.registered_at, about.restricted, begins, done)


async def _gather(
    served: ServedCompartment, record: OpenedRecord, place: _Place, now: int
) -> "_Gathered":
    """Open the events behind a place, until the page is full."""
    gathered, keys = _Gathered(), _Keys(served)
    at = min(place.day, now // _DAY)  # somebody may have made it up
    async with aclosing(_stored(served, record, replace(place, day=at))) as stored:
        async for link, there in stored:
            if gathered.is_full:
                return gathered
            body = await keys.open(link)
            if isinstance(body, Reason):
                gathered.unread[body] += 1
            elif body.at < place.as_of and not gathered.take(body):
                return gathered
            gathered.looked_at += 1
            gathered.following = there
    gathered.following = None
    return gathered


@dataclass(slots=True)
class _Gathered:
    """A page as far as it came."""

    events: list[sealed_pb2.AuditEvent] = field(default_factory=list)
    unread: Counter[Reason] = field(default_factory=Counter)
    following: _Place | None = None
    looked_at: int = 0
    _fields: int = 0

    @property
    def is_full(self) -> bool:
        """Whether another event is for another page."""
        return len(self.events) == MOST_A_PAGE or self.looked_at == MOST_LOOKED_AT

    def take(self, body: sealed_pb2.AuditEvent) -> bool:
        """Take an event, unless it is too large to come beside the others."""
        self._fields += len(body.fields)
        if self.events and self._fields > MOST_FIELDS:
            return False
        self.events.append(body)
        return True


async def _stored(
    served: ServedCompartment, record: OpenedRecord, place: _Place
) -> AsyncGenerator[tuple[Link, _Place], None]:
    """Yield a record's events as they are stored, each with its place: the newest day first."""
    about, after = record.about, place.after
    tokens = subject_tokens(about.audit_salt, first_day(about), place.day * _DAY)
    for asked in batches(tokens):
        days = {its: day for day, its in zip(count(place.day, -1), asked)}
        place = replace(place, day=place.day - len(asked))
        while asked:
            rows = [
                Link(*row) for row in await subject_events(served.database, asked, after, _PAGE)
            ]
            for link in rows:
                after = (link.writer, link.sequence)
                yield link, _Place(place.as_of, days[link.token], after)
            asked = asked[asked.index(rows[-1].token) :] if len(rows) == _PAGE else []
        after = BEGINNING


class _Keys:
    """Opens events of a compartment by the versions of its audit key."""

    def __init__(self, served: ServedCompartment) -> None:
        self._served = served
        self._known: dict[int, bytes | Reason] = {}

    async def open(self, link: Link) -> sealed_pb2.AuditEvent | Reason:
        """Return an event, or why it can't be opened. Raises VaultError(KEYS_UNAVAILABLE)."""
        try:
            version = link.key_version
            if version not in self._known:
                self._known[version] = await self._key(version)
            key = self._known[version]
            return key if isinstance(key, Reason) else open_event(key, self._served.uuid, link)
        except DamagedError:
            return Reason.DAMAGED

    async def _key(self, version: int) -> bytes | Reason:
        try:
            return await self._served.keyring.get(KeyName(KeyKind.AUDIT, version))
        except VaultError as e:
            if e.reason not in UNREADABLE:
                raise
            return e.reason
