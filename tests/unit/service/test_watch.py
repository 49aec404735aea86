"""What raises an alarm, and what doesn't: cases of events and moments, with what they raise."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest

from vault.sealed.v1 import sealed_pb2
from vault.service.reading import SECOND, ReadEvent
from vault.service.watch import Alarm, Kind, Most, Thresholds, Watch

NOW = 1_800_000_000 * SECOND
ALLOWED, DENIED = sealed_pb2.OUTCOME_ALLOWED, sealed_pb2.OUTCOME_DENIED
FAILED = sealed_pb2.OUTCOME_FAILED
THRESHOLDS = Thresholds(
    window=60.0,
    most=Most(subjects=3, reveals=5, denials=4),
    services={"newsletter": Most(subjects=100, reveals=100, denials=1)},
    checkpoint_overdue=300.0,
    old_edition=60.0,
    again=600.0,
)


def event(
    at: float,
    subject: object = "",
    *,
    service: str = "orders",
    operation: str = "reveal",
    outcome: sealed_pb2.Outcome.ValueType = ALLOWED,
    count: int = 0,
    edition: int = 1,
    writer: bytes = b"w" * 16,
    damaged: bool = False,
) -> ReadEvent:
    """An event so many seconds after NOW."""
    body = sealed_pb2.AuditEvent(
        at=NOW + int(at * SECOND),
        service=service,
        owner="shop",
        operation=operation,
        outcome=outcome,
        count=count,
        edition=edition,
    )
    return ReadEvent(writer, 0, str(subject).encode(), body, damaged)


def denied(at: float, count: int = 0, service: str = "orders") -> ReadEvent:
    return event(at, outcome=DENIED, count=count, service=service)


Events = Sequence[ReadEvent]
ENUMERATION, DENIALS = Kind.ENUMERATION, Kind.DENIALS
SEEN: dict[str, tuple[Events, list[Kind]]] = {
    "nothing": ([], []),
    "as many subjects as may be": ([event(i, i) for i in range(3)], []),
    "one subject too many": ([event(i, i) for i in range(4)], [ENUMERATION]),
    "the same subjects again": ([event(i, i % 3) for i in range(5)], []),
    "too many looks at one subject": ([event(i, "one") for i in range(6)], [ENUMERATION]),
    "many subjects, slowly": ([event(25 * i, i) for i in range(20)], []),
    "many subjects, by searching": (
        [event(i, i, operation="find") for i in range(4)], [ENUMERATION]),
    "many subjects, by the subject's own service": (
        [event(i, i, operation="view", service="portal") for i in range(4)], [ENUMERATION]),
    "many registrations": ([event(i, i, operation="register") for i in range(9)], []),
    "many subjects of two services": (
        [event(i, i, service=f"service{i % 2}") for i in range(6)], []),
    "many subjects of a service that may": (
        [event(i, i, service="newsletter") for i in range(90)], []),
    "events in no order": ([event(i, i) for i in (9, 2, 7, 1)], [ENUMERATION]),
    "as many denials as may be": ([denied(i) for i in range(4)], []),
    "one denial too many": ([denied(i) for i in range(5)], [DENIALS]),
    "denials, slowly": ([denied(20 * i) for i in range(30)], []),
    "counted denials": ([denied(0), denied(1, count=4)], [DENIALS]),
    "denials of a service with a threshold of its own": (
        [denied(i, service="newsletter") for i in range(2)], [DENIALS]),
    "denials of many whom no edition knows": (
        [denied(i, service=f"spiffe://oshto.kg/{i}") for i in range(5)], [DENIALS]),
    "failures": ([event(i, outcome=FAILED) for i in range(50)], []),
    "both, once each": (
        [event(i, i) for i in range(50)] + [denied(i) for i in range(50)],
        [ENUMERATION, DENIALS]),
    "what doesn't open": ([event(0, damaged=True)], [Kind.BROKEN_CHAIN]),
    "much that doesn't open": (
        [replace(event(0, damaged=True), sequence=i) for i in range(99)], [Kind.BROKEN_CHAIN]),
}  # fmt: skip


@pytest.mark.parametrize(("events", "kinds"), SEEN.values(), ids=SEEN)
def test_what_events_raise(events: Events, kinds: list[Kind]) -> None:
    watch = Watch("accounts", THRESHOLDS, NOW)
    raised = [a for e in events for a in watch.see(e, e.body.at)]
    found = list(dict.fromkeys(a.kind for a in raised))
    assert found == kinds
    assert len(raised) <= len(kinds) + 1  # subjects and reveals are two alarms of one kind


AHEAD: dict[str, tuple[Events, list[Kind]]] = {
    "between others": (
        [*(event(i, i) for i in range(3)), event(1e9, 0), event(4, 4)], [ENUMERATION]),
    "between denials": ([*(denied(i) for i in range(4)), denied(1e9), denied(5)], [DENIALS]),
    "alone": ([event(1e9, 0)], []),
}  # fmt: skip


@pytest.mark.parametrize(("events", "kinds"), AHEAD.values(), ids=AHEAD)
def test_an_event_far_ahead_of_the_clock_ends_no_window(events: Events, kinds: list[Kind]) -> None:
    """Somebody who was taken over writes any time, so that what others did would be forgotten."""
    watch = Watch("accounts", THRESHOLDS, NOW)
    raised = [a for e in events for a in watch.see(e, NOW + 10 * SECOND)]
    assert list(dict.fromkeys(a.kind for a in raised)) == kinds


def _slow_enumeration(watch: Watch) -> Iterator[Alarm]:
    for minute in range(25):
        for i in range(4):
            now = NOW + (60 * minute + i) * SECOND
            yield from watch.see(event(60 * minute + i, i), now)


def _first_touches(watch: Watch) -> Iterator[Alarm]:
    yield from watch.touched("shop", NOW)
    yield from watch.touched("press", NOW)


def _no_checkpoint(watch: Watch) -> Iterator[Alarm]:
    for second in range(0, 901, 10):
        yield from watch.tick(NOW + second * SECOND)


def _checkpoints(watch: Watch) -> Iterator[Alarm]:
    for second in range(0, 3000, 10):
        if second % 290 == 0:
            watch.checkpointed(NOW + second * SECOND)
        yield from watch.tick(NOW + second * SECOND)


def _checkpoints_until_they_end(watch: Watch) -> Iterator[Alarm]:
    yield from _checkpoints(watch)
    yield from watch.tick(NOW + 3600 * SECOND)


def _broken(watch: Watch) -> Iterator[Alarm]:
    for second in range(700):
        yield from watch.broken("writer 00, event 7: is missing", NOW + second * SECOND)


def _editions(*decided: tuple[float, int]) -> Callable[[Watch], Iterator[Alarm]]:
    """Edition 2 comes into force at 100 s; events are decided so many seconds later, by these."""

    def run(watch: Watch) -> Iterator[Alarm]:
        watch.edition(1, NOW)
        watch.edition(2, NOW + 100 * SECOND)
        for at, number in decided:
            yield from watch.see(event(100 + at, edition=number), NOW + int((100 + at) * SECOND))

    return run


def _two_old_workers(watch: Watch) -> Iterator[Alarm]:
    watch.edition(2, NOW)
    for at in range(61, 90):
        writer = bytes([at % 2]) * 16
        yield from watch.see(event(at, "one", writer=writer, outcome=FAILED), NOW + at * SECOND)


OVERDUE, OLD = Kind.CHECKPOINT_OVERDUE, Kind.OLD_EDITION
TOLD: dict[str, tuple[Callable[[Watch], Iterator[Alarm]], list[Kind]]] = {
    "what lasts is said again after ten minutes": (
        _slow_enumeration, [ENUMERATION, ENUMERATION, ENUMERATION]),
    "first touches of two owners": (_first_touches, [Kind.FIRST_TOUCH, Kind.FIRST_TOUCH]),
    "no checkpoint at all": (_no_checkpoint, [OVERDUE]),
    "checkpoints in time": (_checkpoints, []),
    "checkpoints that cease": (_checkpoints_until_they_end, [OVERDUE]),
    "a chain that stays broken": (_broken, [Kind.BROKEN_CHAIN, Kind.BROKEN_CHAIN]),
    "the new edition": (_editions((1, 2), (500, 2)), []),
    "the old edition, for a moment": (_editions((1, 1), (59, 1), (61, 2)), []),
    "the old edition, for too long": (_editions((1, 1), (61, 1), (70, 1)), [OLD]),
    "a newer edition than the auditor knows": (_editions((61, 3)), []),
    "refused because none could be confirmed": (_editions((61, 0), (70, 0)), []),
    "two workers with an old edition": (_two_old_workers, [OLD, OLD]),
}  # fmt: skip


@pytest.mark.parametrize(("run", "kinds"), TOLD.values(), ids=TOLD)
def test_what_else_raises(run: Callable[[Watch], Iterator[Alarm]], kinds: list[Kind]) -> None:
    assert [alarm.kind for alarm in run(Watch("accounts", THRESHOLDS, NOW))] == kinds


def test_an_alarm_says_who_and_how_much_and_what_to_do() -> None:
    watch = Watch("accounts", THRESHOLDS, NOW)
    (alarm,) = [a for i in range(4) for a in watch.see(event(i, i), NOW + 9 * SECOND)]
    assert (alarm.compartment, alarm.service, alarm.owner) == ("accounts", "orders", "shop")
    assert (alarm.count, alarm.limit, alarm.at) == (4, 3, NOW + 9 * SECOND)
    assert "piivault service block orders" in alarm.sentence


def test_callers_whom_no_edition_knows_are_watched_together() -> None:
    """Nobody can block them by name, and each name more would be memory that they fill."""
    watch = Watch("accounts", THRESHOLDS, NOW)
    raised = [
        alarm
        for i in range(1000)
        for alarm in watch.see(denied(i % 50, service=f"spiffe://oshto.kg/{i}"), NOW)
    ]
    (alarm,) = raised
    assert (alarm.service, alarm.count) == ("unknown caller", 5)
    assert "service block" not in alarm.sentence
    assert "have their CA revoke them" in alarm.sentence
    assert len(watch._denials) == 1


def test_a_window_is_bounded_however_much_comes() -> None:
    watch = Watch("accounts", THRESHOLDS, NOW)
    for i in range(10_000):
        list(watch.see(event(0, i), NOW))
    (window,) = watch._reveals.values()
    assert len(window.happened) <= 10
    assert len(window.subjects) <= 10
