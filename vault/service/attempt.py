"""One request's way into the trail: exactly one event, whatever becomes of it."""

from collections.abc import Sequence
from typing import TypeVar

from vault.audit import event as audit
from vault.audit.event import Event, SameSaid, Uses, moment
from vault.crypto.record import SealedRecord
from vault.errors import Reason, VaultError
from vault.frozen import dataclass
from vault.policy import Denied, Edition, FieldUse, Operation, decide
from vault.sealed.v1 import sealed_pb2
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.frame import Frame

T = TypeVar("T")

# Not the policy's or the record's word, but something that didn't work.
FAILURES = frozenset(
    {
        Reason.KEYS_UNAVAILABLE,
        Reason.KEYS_SUSPENDED,
        Reason.KEY_DESTROYED,
        Reason.STORAGE_UNAVAILABLE,
        Reason.AUDIT_UNAVAILABLE,
        Reason.POLICY_UNAVAILABLE,
        Reason.DAMAGED,
        Reason.DEADLINE_EXCEEDED,
        Reason.INTERNAL,
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class _Request:
    """What the events of all records of a request have in common."""

    call: Call
    operation: str
    purpose: str
    at: int


class Attempt:
    """What is known of a request so far, and the event that it will leave; see `attempt`.

    Of a batch, each record has its own.
    """

    __slots__ = ("_call", "_request", "_salt", "_served", "_settled", "_uses")

    def __init__(self, served: ServedCompartment, request: _Request, uses: Uses = ()) -> None:
        self._served = served
        self._request = request
        self._call = request.call
        self._settled = False
        self._uses = uses
        self._salt = b""

    @property
    def edition(self) -> Edition:
        """The edition that it is decided under."""
        return self._call.edition

    def decide(
        self, operation: Operation, purpose: str, names: Sequence[str]
    ) -> tuple[FieldUse, ...]:
        """Return the fields in the forms that the caller's grant gives, or raise the denial.

        Decided on the edition alone, before any data is looked at: so it tells nothing about data.
        """
        call, name = self._call, self._served.name
        decision = decide(call.edition, call.service, purpose, name, operation, names)
        if isinstance(decision, Denied):
            known = call.edition.compartments[name].fields
            self._uses = tuple((known[n].uid, 0) for n in names if n in known)
            raise decision.error()
        self.asks_for(decision.uses)
        return decision.uses

    async def admit(
        self, operation: Operation, purpose: str, names: Sequence[str]
    ) -> tuple[FieldUse, ...]:
        """Decide, count it against the caller's limits, and put a first touch on record."""
        uses = self.decide(operation, purpose, names)
        self._served.limits.take(self._call.service, operation)
        await self._served.touch(self._call)
        return uses

    def met(self, about: sealed_pb2.Record) -> None:
        """Note whose record it is: by a token that only their record can find again."""
        self._salt = about.audit_salt

    def asks_for(self, uses: Sequence[FieldUse]) -> None:
        """Note the fields, in the forms given."""
        self._uses = tuple([(use.field.uid, use.form.value) for use in uses])

    def for_each(self, count: int) -> Frame[Sequence["Attempt"]]:
        """Frame a batch of what was decided: so many records, each with an event of its own."""
        served, uses = self._served, self._uses
        each = [Attempt(served, self._request, uses) for _ in range(count)]
        return Frame(each, each, served.places.take(self._call.service, count))

    async def allow(self, recipient: str = "") -> None:
        """Return once the trail durably says that this was allowed; only then decrypt values.

        With a recipient, the event is the receipt of a disclosure.
        """
        await allow_all(self._served, (self,), recipient)

    async def allow_also(self, about: sealed_pb2.Record) -> None:
        """Return once the trail durably says that it was allowed of one record more.

        An event of its own, in the same place: who has one waits for no other.
        """
        await self._served.committer.record(self.event(salt=about.audit_salt))

    async def refuse(self, error: VaultError) -> None:
        """Record a refusal, unless an event was recorded before; in a flood, count it."""
        if not self._settled:
            self.settle(True)
            await self._served.flood.refuse(self._refused(error))

    def count(self, error: VaultError) -> None:
        """Count a refusal for which no work is to be done."""
        self.settle(True)
        self._served.flood.count(self._refused(error))

    def leave(self) -> None:
        """Note that nobody waits for the answer any more, unless an event is on its way."""
        if not self._settled:
            self.settle(True)
            self._served.flood.note(unanswered(self.event()))

    def event(
        self,
        *,
        salt: bytes = b"",
        recipient: str = "",
        became: SealedRecord | None = None,
        replaced: SealedRecord | None = None,
    ) -> Event:
        """Return the event of a request that was allowed: of this record, or that of a salt.

        Made whole, at once: a copy with one thing more costs as much again.
        """
        call, request, salt = self._call, self._request, salt or self._salt
        return Event(
            edition=call.edition.number,
            service=call.service.name,
            owner=call.service.owner,
            purpose=request.purpose,
            operation=request.operation,
            request_id=call.request_id,
            outcome=audit.ALLOWED,
            uses=self._uses,
            row_digest=became.digest if became else b"",
            recipient=recipient,
            replaces=audit.replaced_mark(salt, replaced.digest) if replaced else b"",
            token=self._token(salt),
            at=request.at,
        )

    def like(self, other: "Attempt", its: Event) -> SameSaid | None:
        """Return this one's event, if it says what that of the other one does; else None."""
        alike = self._request is other._request and self._uses == other._uses
        return SameSaid(its, self._token(self._salt)) if alike else None

    def _token(self, salt: bytes) -> bytes:
        return audit.token(salt, self._request.at) if salt else audit.no_token()

    def settle(self, settled: bool) -> None:
        """Note whether an event of its own is on its way, or durable."""
        self._settled = self._call.trace.has_event = settled

    def unwritten(self) -> None:
        """Note that there is no event, and that there can be none."""
        self._call.trace.has_event = False

    def changed(
        self, sealed: SealedRecord, replaced: SealedRecord | None, outcome: object
    ) -> Event:
        """Return the event of a change: what became of it; None is a repetition."""
        if isinstance(outcome, VaultError):
            return self._refused(outcome)
        if outcome is None:
            return self.event()
        return self.event(became=sealed, replaced=replaced)

    def erased(self, left: SealedRecord | None, outcome: SealedRecord | VaultError | None) -> Event:
        """Return the event of an erasure: the row that it deleted, if any, and what is left."""
        if isinstance(outcome, VaultError):
            return self._refused(outcome)
        if outcome is None or not self._salt:
            return self.event()
        return self.event(became=left, replaced=outcome)

    def _refused(self, error: VaultError) -> Event:
        return refused(self.event(), error)


async def allow_all(
    served: ServedCompartment, attempts: Sequence[Attempt], recipient: str = ""
) -> None:
    """Return once the trail durably says of each that it was allowed; only then decrypt values.

    Their events become durable together, or none does. Raises VaultError.
    """

    def settle(settled: bool) -> None:
        for its in attempts:
            its.settle(settled)

    settle(True)
    events = _allowed(attempts, recipient)
    try:
        await served.committer.record_all(events, lambda: settle(False))
    except VaultError:
        settle(False)
        raise
    await served.keyring.current()  # writing the events may have taken long


def _allowed(attempts: Sequence[Attempt], recipient: str) -> Sequence[Event | SameSaid]:
    """Return an event for each. As a rule all of a batch say the same, which is made but once."""
    events: list[Event | SameSaid] = []
    last: tuple[Attempt, Event] | None = None
    for its in attempts:
        if also := last and its.like(*last):
            events.append(also)
        else:
            last = its, its.event(recipient=recipient)
            events.append(last[1])
    return events


def refused(event: Event, error: VaultError) -> Event:
    """Return the event of a request that was denied, or failed."""
    outcome = audit.FAILED if error.reason in FAILURES else audit.DENIED
    return event.refused(outcome, error.reason)


def unanswered(event: Event) -> Event:
    """Return the event of a request whose deadline passed, or whose caller left, undecided.

    On the server one can't be told from the other: gRPC cancels a call at its deadline.
    """
    return event.refused(audit.FAILED, Reason.DEADLINE_EXCEEDED)


def attempt(
    served: ServedCompartment, call: Call, operation: str, purpose: str = ""
) -> Frame[Attempt]:
    """Frame a use case: whatever it raises is recorded before the caller hears of it.

    A frame that neither allows, changes nor raises leaves no event: nothing was asked for yet.

    If the trail can't be written, the answer is VaultError(AUDIT_UNAVAILABLE) instead. Whoever
    leaves before there is an answer leaves an event all the same. Where no place is free the answer
    is VaultError(OVERLOADED), before anything is asked for.
    """
    attempted = Attempt(served, _request(call, operation, purpose))
    return Frame(attempted, (attempted,), served.places.take(call.service))


def attempt_each(
    served: ServedCompartment, calls: Sequence[Call], operation: str, purpose: str
) -> Frame[Sequence[Attempt]]:
    """Frame several requests of one service, each with an event of its own."""
    each = [Attempt(served, _request(call, operation, purpose)) for call in calls]
    return Frame(each, each, served.places.take(calls[0].service, len(calls)))


def _request(call: Call, operation: str, purpose: str) -> _Request:
    # A purpose that isn't in the edition may be anything: only known words enter the trail.
    known = purpose if purpose in call.edition.purposes else ""
    return _Request(call, operation, known, moment())
