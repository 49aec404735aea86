"""Watching a trail: what crosses a threshold raises an alarm. Pure: fed with events and the time.

An alarm that lasts is raised again after `again` seconds, not at each event. Windows slide by the
events' own time, but no further than our clock, and what a window holds is bounded by its
thresholds.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from vault.audit.chain import WRITER_BYTES
from vault.audit.event import UNKNOWN_CALLER, counted_as
from vault.sealed.v1 import sealed_pb2
from vault.service.reading import SECOND, ReadEvent, why_unopened


class Kind(StrEnum):
    """What an alarm is about."""

    ENUMERATION = "enumeration"
    DENIALS = "denials"
    FIRST_TOUCH = "first_touch"
    BROKEN_CHAIN = "broken_chain"
    CHECKPOINT_OVERDUE = "checkpoint_overdue"
    OLD_EDITION = "old_edition"


@dataclass(frozen=True, slots=True)
class Alarm:
    """What somebody should look at. It holds no request id, no token, no data."""

    kind: Kind
    compartment: str
    at: int  # microseconds since 1970
    sentence: str
    service: str = ""
    owner: str = ""
    count: int = 0
    limit: int = 0


@dataclass(frozen=True, slots=True)
class Most:
    """What one service may do within a window before it is an alarm."""

    subjects: int  # whose data it saw, by distinct tokens
    reveals: int
    denials: int


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When to raise an alarm; times in seconds."""

    window: float
    most: Most
    services: Mapping[str, Most]  # those that have thresholds of their own
    checkpoint_overdue: float
    old_edition: float
    again: float

    def of(self, service: str) -> Most:
        """Return the thresholds of a service."""
        return self.services.get(service, self.most)


@dataclass(slots=True)
class _Window:
    """What happened last, in the order of its coming: when, how often, to which subject."""

    happened: deque[tuple[int, int, bytes]] = field(default_factory=deque)
    subjects: Counter[bytes] = field(default_factory=Counter)
    total: int = 0

    def add(self, at: int, times: int, subject: bytes, most: int) -> None:
        self.happened.append((at, times, subject))
        self.total += times
        self.subjects[subject] += 1
        if len(self.happened) > most:
            self._drop()

    def expire(self, before: int) -> None:
        while self.happened and self.happened[0][0] < before:
            self._drop()

    def _drop(self) -> None:
        _, times, subject = self.happened.popleft()
        self.total -= times
        self.subjects[subject] -= 1
        if not self.subjects[subject]:
            del self.subjects[subject]


_SEES = frozenset({"reveal", "find", "view", "report", "export"})


class Watch:
    """One compartment's state. `now` and all times are in microseconds since 1970."""

    def __init__(self, compartment: str, thresholds: Thresholds, now: int) -> None:
        self._compartment = compartment
        self._thresholds = thresholds
        self._reveals: dict[str, _Window] = {}
        self._denials: dict[str, _Window] = {}
        self._raised: dict[tuple[Kind, str], int] = {}
        self._checkpoint = now
        self._edition = (0, now)  # the one in force, and since when we know

    def see(self, event: ReadEvent, now: int) -> Iterator[Alarm]:
        """Take in an event; yield what it raises."""
        body = event.body
        if event.damaged:
            writer = event.writer[:WRITER_BYTES].hex()  # somebody may have stored a longer one
            what = f"event {event.sequence} of writer {writer} {why_unopened(body.reason)}"
            yield from self.broken(what, now)
            return
        if body.outcome == sealed_pb2.OUTCOME_ALLOWED and body.operation in _SEES:
            yield from self._saw(event, now)
        if body.outcome == sealed_pb2.OUTCOME_DENIED:
            yield from self._denied(event, now)
        number, since = self._edition
        at = min(body.at, now)
        # 0 is that of a request refused because no edition could be confirmed.
        if 0 < body.edition < number and at > since + self._thresholds.old_edition * SECOND:
            yield from self._raise(
                Kind.OLD_EDITION,
                event.writer.hex(),
                now,
                f"The worker that writes the chain {event.writer.hex()} still decides by edition "
                f"{body.edition}, and edition {number} is in force: restart it, and see what keeps "
                "it from the control database.",
            )

    def edition(self, number: int, now: int) -> None:
        """Take note of the edition in force."""
        if number != self._edition[0]:
            self._edition = (number, now)

    def touched(self, owner: str, now: int) -> Iterator[Alarm]:
        """Yield the alarm of an owner's first touch of the compartment."""
        yield from self._raise(
            Kind.FIRST_TOUCH,
            owner,
            now,
            f"The owner {owner} touched {self._compartment} for the first time: what its services "
            "see there counts for ever with what else they may see.",
            owner=owner,
        )

    def broken(self, what: str, now: int, about: str = "") -> Iterator[Alarm]:
        """Yield the alarm of a chain that doesn't hold; `what` says where and why.

        Those of one `about` are one alarm: by default all, however many events were forged.
        """
        yield from self._raise(
            Kind.BROKEN_CHAIN,
            about,
            now,
            f"The trail of {self._compartment} doesn't hold: {what}. Run `piivault audit verify`, "
            "and keep the database as it is.",
        )

    def checkpointed(self, at: int) -> None:
        """Take note of a checkpoint that was shipped."""
        self._checkpoint = max(self._checkpoint, at)
        self._raised.pop((Kind.CHECKPOINT_OVERDUE, ""), None)

    def checkpoint_age(self, now: int) -> float:
        """Return the seconds since the last checkpoint, or since the watch began."""
        return max(0.0, (now - self._checkpoint) / SECOND)

    def tick(self, now: int) -> Iterator[Alarm]:
        """Yield what the passing of time raises."""
        age, most = self.checkpoint_age(now), self._thresholds.checkpoint_overdue
        if age > most:
            yield from self._raise(
                Kind.CHECKPOINT_OVERDUE,
                "",
                now,
                f"No checkpoint of {self._compartment} was shipped for {age:.0f} s: what is cut "
                "off the trail since then can't be noticed.",
                count=int(age),
                limit=int(most),
            )

    def _saw(self, event: ReadEvent, now: int) -> Iterator[Alarm]:
        body, most = event.body, self._thresholds.of(event.body.service)
        window = self._reveals.setdefault(body.service, _Window())
        bound = 2 * max(most.reveals, most.subjects)
        self._slide(window, event, bound, now)
        for count, limit, what in (
            (len(window.subjects), most.subjects, "subjects"),
            (window.total, most.reveals, "reveals"),
        ):
            if count > limit:
                yield from self._crowd(Kind.ENUMERATION, event, now, count, limit, what)

    def _denied(self, event: ReadEvent, now: int) -> Iterator[Alarm]:
        caller = counted_as(event.body.service)
        limit = self._thresholds.of(caller).denials
        window = self._denials.setdefault(caller, _Window())
        self._slide(window, event, 2 * limit, now)
        if window.total > limit:
            yield from self._crowd(Kind.DENIALS, event, now, window.total, limit, "denials")

    def _slide(self, window: _Window, event: ReadEvent, bound: int, now: int) -> None:
        # By our clock at most: an event of the far future would end every window.
        at = min(event.body.at, now)
        window.add(at, event.stands_for, event.token, bound)
        window.expire(at - int(self._thresholds.window * SECOND))

    def _crowd(
        self, kind: Kind, event: ReadEvent, now: int, count: int, limit: int, what: str
    ) -> Iterator[Alarm]:
        service = counted_as(event.body.service)
        who, remedy = f"The service {service}", f"`piivault service block {service}`"
        if service == UNKNOWN_CALLER:
            who = "Callers whom the edition doesn't know"
            remedy = "see which certificates they have, and have their CA revoke them"
        yield from self._raise(
            kind,
            f"{service} {what}",
            now,
            f"{who} had {count} {what} in {self._compartment} within "
            f"{self._thresholds.window:.0f} s, and more than {limit} are an alarm. If nobody "
            f"expects it: {remedy}.",
            service=service,
            owner=event.body.owner,
            count=count,
            limit=limit,
        )

    def _raise(
        self,
        kind: Kind,
        about: str,
        now: int,
        sentence: str,
        *,
        service: str = "",
        owner: str = "",
        count: int = 0,
        limit: int = 0,
    ) -> Iterator[Alarm]:
        again = self._thresholds.again * SECOND
        self._raised = {key: at for key, at in self._raised.items() if now - at < again}
        if (kind, about) in self._raised:
            return
        self._raised[kind, about] = now
        yield Alarm(kind, self._compartment, now, sentence, service, owner, count, limit)
