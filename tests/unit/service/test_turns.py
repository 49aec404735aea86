"""Turns: who waits is woken by what it waits for, in its order, and is admitted anew before it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from tests.house import POLICY
from tests.wire import PATIENCE
from vault.errors import Reason, VaultError
from vault.policy import Operation, Service, compile_edition
from vault.policy.edition import Limit
from vault.service.call import Call, PolicyState
from vault.service.compartment import ServedCompartment
from vault.service.limits import Limits
from vault.service.places import Places
from vault.service.streaming import Turns

EDITION = compile_edition(POLICY.read_text(encoding="utf-8"))
ORDERS, SUPPORT = EDITION.services["orders"], EDITION.services["support"]
REVEAL, FIND = Operation.REVEAL, Operation.FIND


class Compartment:
    """Its places and limits alone. Its clock stands still: only what is given back helps."""

    def __init__(self, places: int = 1, finds: float = 1) -> None:
        self.places, self.limits = Places(places), Limits(finds, 1, clock=lambda: 0.0)
        self.admitted: list[str] = []
        self.blocked = False
        self.served: list[str] = []

    def stream(self, service: Service = ORDERS) -> Turns:
        def calls() -> Call:
            if self.blocked:
                raise VaultError(Reason.SERVICE_BLOCKED, "blocked")
            self.admitted.append(service.name)
            return Call(cast(PolicyState, None), service, "", repeatable=False)

        served = SimpleNamespace(places=self.places, limits=self.limits)
        return Turns(cast(ServedCompartment, served), calls)

    def item(self, turns: Turns, name: str, *operations: Operation) -> "asyncio.Task[None]":
        """Let an item wait for its turn, take its place, and serve it."""

        async def serve() -> None:
            call, _ = await turns.next(*operations or (REVEAL,))
            with self.places.take(call.service):
                self.served.append(name)
                await asyncio.sleep(0)

        return asyncio.create_task(serve())

    @asynccontextmanager
    async def full(self, service: Service = SUPPORT) -> AsyncIterator[AsyncExitStack]:
        """Yield what gives back the one place that there is."""
        async with AsyncExitStack() as stack:
            stack.enter_context(self.places.take(service))
            yield stack


async def _settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def _done(*tasks: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)


async def test_a_waiting_item_is_woken_by_the_place_and_admitted_anew_just_before_it() -> None:
    compartment = Compartment()
    turns = compartment.stream()
    async with compartment.full() as place:
        items = [compartment.item(turns, str(n)) for n in range(3)]
        await asyncio.sleep(0.1)
        assert len(compartment.admitted) == 2  # the stream, and its first item once
        await place.aclose()
        await _done(*items)
    assert compartment.served == ["0", "1", "2"]
    assert len(compartment.admitted) <= 2 + 2 * 3


async def test_who_may_no_longer_call_is_refused_when_the_place_comes() -> None:
    compartment = Compartment()
    async with compartment.full() as place:
        item = compartment.item(compartment.stream(), "0")
        await _settled()
        compartment.blocked = True
        await place.aclose()
        with pytest.raises(VaultError, match="SERVICE_BLOCKED"):
            await _done(item)
    assert compartment.served == []


async def test_streams_of_a_service_and_services_take_turns() -> None:
    compartment = Compartment()
    mine, mine_too, others = (compartment.stream(s) for s in (ORDERS, ORDERS, SUPPORT))
    async with compartment.full() as place:
        items = [compartment.item(mine, f"a{n}") for n in range(3)]
        items += [compartment.item(mine_too, f"b{n}") for n in range(3)]
        items += [compartment.item(others, f"c{n}") for n in range(3)]
        await _settled()
        await place.aclose()
        await _done(*items)
    order = compartment.served
    assert sorted(order, key=lambda name: name[0]) == sorted(order)  # each stream's in its own
    first = [name[0] for name in order[:4]]
    assert [first.count(stream) for stream in "abc"] == [1, 1, 2]


async def test_who_leaves_the_line_holds_up_nobody() -> None:
    compartment = Compartment()
    streams = [compartment.stream() for _ in range(3)]
    async with compartment.full() as place:
        first, second, third = (compartment.item(s, str(n)) for n, s in enumerate(streams))
        await _settled()
        first.cancel()
        await _settled()
        second.cancel()
        await place.aclose()
        await _done(third)
    assert compartment.served == ["2"]


async def test_what_is_given_back_of_a_limit_wakes_who_waits_for_it() -> None:
    compartment = Compartment(places=8, finds=0.25)  # one, and the next one in four seconds
    turns = compartment.stream()
    compartment.limits.take(ORDERS, FIND)
    item = compartment.item(turns, "a find", REVEAL, FIND)
    other = compartment.item(compartment.stream(), "no find")
    await _done(other)  # it stands in another line
    assert not item.done()
    compartment.limits.give_back(SUPPORT, FIND)
    await _settled()
    assert not item.done()
    compartment.limits.give_back(ORDERS, FIND)
    await _done(item)
    assert compartment.served == ["no find", "a find"]


async def test_a_limit_wakes_who_waits_for_it_when_its_time_comes() -> None:
    compartment = Compartment(places=8)
    compartment.limits = Limits(20, 1)
    turns = compartment.stream()
    while not compartment.limits.wait(ORDERS, FIND):
        compartment.limits.take(ORDERS, FIND)
    compartment.admitted.clear()
    await _done(compartment.item(turns, "0", FIND))
    assert len(compartment.admitted) <= 3  # not again and again


async def test_what_takes_long_is_left_to_be_refused() -> None:
    compartment = Compartment()
    limited = replace(ORDERS, limits={REVEAL: Limit(per_second=None, per_day=1)})
    compartment.limits.take(limited, REVEAL)
    async with compartment.full():
        call, now = await compartment.stream(limited).next(REVEAL, wanted=9)
    assert now == 1
    assert compartment.limits.wait(call.service, REVEAL) > 0


NOW: dict[str, tuple[int, Limit | None, int]] = {
    # places, the limit of reveals, and how many of nine may go now
    "as many as are wanted": (64, None, 9),
    "as many as have places": (8, None, 6),
    "as many as the rate has left": (64, Limit(per_second=2, per_day=None), 4),
    "as many as the day has left": (64, Limit(per_second=None, per_day=3), 3),
    "as many as both have": (64, Limit(per_second=4, per_day=5), 5),
}


@pytest.mark.parametrize(("places", "limit", "now"), NOW.values(), ids=NOW)
async def test_as_many_go_as_there_is_room_for(places: int, limit: Limit | None, now: int) -> None:
    compartment = Compartment(places)
    service = replace(ORDERS, limits={REVEAL: limit} if limit else {})
    call, found = await compartment.stream(service).next(REVEAL, FIND, wanted=9)
    assert found == min(now, 2)  # of finds there are two at once
    call, found = await compartment.stream(service).next(REVEAL, wanted=9)
    assert found == now
    for _ in range(now):
        compartment.limits.take(call.service, REVEAL)
