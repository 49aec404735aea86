"""A flood of denials: what is counted, what is stored, and that no count is lost."""

import asyncio
from dataclasses import replace

import pytest

from vault.audit.event import ALLOWED, DENIED, FAILED, Event
from vault.errors import Reason, VaultError
from vault.service.flood import LOOKED_AT_NO_DATA, Flood

DENIAL = Event(1, "orders", "shop", "services", "reveal", "", DENIED, Reason.NOT_GRANTED)
RATE = 10.0


class Trail:
    """What was recorded; fails where it is told to: the one fake here."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.fails = False
        self.recorded = asyncio.Event()

    async def record(self, event: Event) -> None:
        if self.fails:
            raise VaultError(Reason.AUDIT_UNAVAILABLE, "The trail can't be written.")
        self.events.append(event)
        self.recorded.set()


class Clock:
    """Stands still until it is moved."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def _flood(trail: Trail, clock: Clock, window: float = 3600.0) -> Flood:
    return Flood(trail.record, RATE, window, clock)


async def test_up_to_twice_the_rate_at_once_is_stored_one_by_one() -> None:
    trail, clock = Trail(), Clock()
    flood = _flood(trail, clock)
    taken = [flood.takes(DENIAL) for _ in range(50)]
    assert taken == [False] * 20 + [True] * 30
    clock.now += 1.0
    assert [flood.takes(DENIAL) for _ in range(12)] == [False] * 10 + [True] * 2
    await flood.close()
    assert [event.count for event in trail.events] == [32]
    assert trail.events[0].to_message().count == 32


async def test_each_service_has_its_own_rate() -> None:
    trail = Trail()
    flood = _flood(trail, Clock())
    for _ in range(100):
        flood.takes(DENIAL)
    assert not flood.takes(replace(DENIAL, service="support"))
    await flood.close()


async def test_counts_are_kept_apart_by_all_that_an_event_says() -> None:
    trail = Trail()
    flood = _flood(trail, Clock())
    kinds = [
        DENIAL,
        replace(DENIAL, purpose="account"),
        replace(DENIAL, operation="put"),
        replace(DENIAL, reason=Reason.FIELD_BEYOND_PURPOSE),
        replace(DENIAL, uses=((1, 0),)),
        replace(DENIAL, edition=2),
    ]
    for _ in range(20):
        flood.takes(DENIAL)
    for number, kind in enumerate(kinds, 1):
        for i in range(number):
            assert flood.takes(replace(kind, request_id=str(i)))
    await flood.close()
    expected = [replace(k, request_id="0", count=n) for n, k in enumerate(kinds, 1)]
    assert [replace(event, token=DENIAL.token) for event in trail.events] == expected
    assert len({event.token for event in (*trail.events, DENIAL)}) == len(kinds) + 1


async def test_a_caller_who_varies_fields_fills_no_memory() -> None:
    trail = Trail()
    flood = _flood(trail, Clock())
    for i in range(1020):
        flood.takes(replace(DENIAL, uses=((i, 0),)))
    await flood.close()
    assert len(trail.events) == 65
    assert sum(event.count for event in trail.events) == 1000
    assert [event.count for event in trail.events if not event.uses] == [1000 - 64]


STORED = {
    "allowed": replace(DENIAL, outcome=ALLOWED, reason=""),
    "failed": replace(DENIAL, outcome=FAILED, reason=Reason.STORAGE_UNAVAILABLE),
    **{
        reason.value: replace(DENIAL, reason=reason)
        for reason in Reason
        if reason not in LOOKED_AT_NO_DATA
    },
}


@pytest.mark.parametrize("event", STORED.values(), ids=STORED)
async def test_whatever_may_have_met_data_is_always_stored(event: Event) -> None:
    flood = _flood(Trail(), Clock())
    for _ in range(100):
        flood.takes(DENIAL)
    assert not flood.takes(event)
    await flood.close()


def test_what_tells_of_a_record_is_never_counted() -> None:
    tells = {
        Reason.NOT_FOUND,
        Reason.ERASED,
        Reason.CONSENT_REQUIRED,
        Reason.RETENTION_EXPIRED,
        Reason.RESTRICTED,
        Reason.RECIPIENT_NOT_ALLOWED,
        Reason.ALREADY_REGISTERED,
        Reason.VALUE_TAKEN,
    }
    assert not tells & LOOKED_AT_NO_DATA


async def test_counts_are_written_each_window_and_kept_while_they_cannot_be() -> None:
    trail = Trail()
    flood = _flood(trail, Clock(), window=0.01)
    trail.fails = True
    for _ in range(50):
        flood.takes(DENIAL)
    await asyncio.sleep(0.05)
    assert not trail.events
    trail.fails = False
    await asyncio.wait_for(trail.recorded.wait(), 10)
    assert [event.count for event in trail.events] == [30]
    flood.takes(DENIAL)
    await flood.close()
    assert [event.count for event in trail.events] == [30, 1]


# What nobody waits for.

STRANGER = replace(DENIAL, service="spiffe://oshto.kg/a", owner="", reason=Reason.IDENTITY_UNKNOWN)


async def test_what_is_noted_is_stored_without_waiting() -> None:
    trail = Trail()
    flood = _flood(trail, Clock())
    storing = flood.note(DENIAL)
    assert storing is not None
    assert not trail.events
    await storing
    assert trail.events == [DENIAL]
    flood.note(DENIAL)
    await flood.close()
    assert trail.events == [DENIAL, DENIAL]


async def test_callers_whom_nobody_knows_have_one_allowance_and_fill_no_disk() -> None:
    """However many identities they have, and whatever they call."""
    trail, clock = Trail(), Clock()
    flood = _flood(trail, clock)
    for i in range(3000):
        kind = replace(STRANGER, service=f"spiffe://oshto.kg/{i}", operation=f"operation {i % 30}")
        flood.note(kind)
        flood.note(replace(kind, reason=Reason.IDENTITY_MISSING))
    assert flood.note(DENIAL) is not None  # a service's allowance isn't theirs
    await flood.close()
    stored = {event.service for event in trail.events if event.count == 1}
    assert stored == {"orders", *(f"spiffe://oshto.kg/{i}" for i in range(10))}
    counted = {(e.service, e.operation, e.reason): e.count for e in trail.events if e.count > 1}
    assert counted == {
        ("unknown caller", "", Reason.IDENTITY_UNKNOWN): 2990,
        ("unknown caller", "", Reason.IDENTITY_MISSING): 2990,
    }
    assert len(flood._allowances) == 2


async def test_what_can_not_be_stored_is_counted_until_it_can_be() -> None:
    trail = Trail()
    flood = _flood(trail, Clock(), window=0.01)
    trail.fails = True
    storing = [flood.note(DENIAL), flood.note(DENIAL)]
    await asyncio.gather(*(task for task in storing if task))
    with pytest.raises(VaultError):
        await flood.refuse(replace(DENIAL, reason=Reason.NOT_FOUND))
    trail.fails = False
    await flood.close()
    assert {(e.outcome, e.reason): e.count for e in trail.events} == {
        (DENIED, Reason.NOT_GRANTED): 2,
        (FAILED, Reason.AUDIT_UNAVAILABLE): 1,
    }


async def test_a_trail_that_hangs_is_waited_for_by_few() -> None:
    release = asyncio.Event()
    stored: list[Event] = []

    async def hang(event: Event) -> None:
        await release.wait()
        stored.append(event)

    flood = Flood(hang, 1000.0, 3600.0, Clock())
    storing = [flood.note(DENIAL) for _ in range(500)]
    assert sum(task is not None for task in storing) == 100
    release.set()
    await flood.close()
    assert sum(event.count for event in stored) == 500
    assert len(stored) == 101
