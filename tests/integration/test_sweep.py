"""The sweeper: by the database's clock, capped a run, resumable, and it blocks no reader."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import pytest
from piivault import errors

from tests import rotating
from tests.house import House
from tests.served import serving_process
from vault import app
from vault.crypto.record import Address
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName
from vault.keys.provision import worker
from vault.keys.transit import Transit
from vault.service import keys
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.opened import OpenedRecord
from vault.service.rotation import Level
from vault.service.sweep import Swept, sweep
from vault.store.lookups import Lookups

T = TypeVar("T")
Work = Callable[[ServedCompartment, Editions], Awaitable[T]]


@pytest.fixture
def years(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Move the database's clock ahead: the one seam where time is injected."""
    ahead = timedelta()
    real = Lookups.now

    async def now(self: Lookups) -> datetime:
        return await real(self) + ahead

    def move(count: float) -> None:
        nonlocal ahead
        ahead = timedelta(days=366 * count)

    monkeypatch.setattr(Lookups, "now", now)
    return move


def with_compartment(house: House, name: str, work: Work[T]) -> T:
    """Do something with a compartment as a second process would serve it."""

    async def run() -> T:
        async with app.opened(house.configured(), name) as (served, editions):
            return await work(served, editions)

    return asyncio.run(run())


def swept(house: House, name: str, most: int = 10_000) -> Swept:
    """Sweep once."""
    return with_compartment(
        house, name, lambda served, editions: sweep(served, editions.state, most)
    )


def test_what_no_purpose_may_use_any_more_is_erased(
    house: House, years: Callable[[float], None]
) -> None:
    """Each field with the last purpose that sees it; the record with its last field."""
    person = house.register("accounts", city="Ош")
    swept(house, "accounts")
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.reveal(person.pseudonym, ["city"]).present("city")
    years(10)
    swept(house, "accounts")
    with pytest.raises(errors.Erased):
        support.reveal(person.pseudonym, ["city"])
    for table in ("records", "data_keys", "blind_index"):
        assert house.rows_of("accounts", table, person.pseudonym) == []
    years(0)
    other = house.register("accounts", email=person.values["email"])
    assert house.phone_of(other)  # the unique value is free again


def test_a_run_stops_at_its_cap_and_the_next_goes_on(
    house: House, years: Callable[[float], None]
) -> None:
    """Whatever stopped it: where it came to is on record."""
    people = [house.register("web") for _ in range(5)]
    while swept(house, "web", most=2).looked_at == 2:
        pass  # to the end, so that the next run begins anew
    years(10)
    erased = 0
    for _ in range(20):
        run = swept(house, "web", most=2)
        assert run.looked_at <= 2
        erased += run.erased
    assert erased >= 5
    analytics = house.client("analytics").compartment("web", purpose="statistics")
    for item in analytics.reveal_many([p.pseudonym for p in people], ["user_agent"]):
        assert isinstance(item.error, errors.Erased)


def test_an_erasure_by_time_is_in_the_trail(house: House, years: Callable[[float], None]) -> None:
    """With the fields that went, and nobody's purpose."""
    house.register("orders")
    years(20)
    swept(house, "orders")
    trail = house.trail("orders")
    assert not trail.breaks
    expired = [event for event in trail.events if event.operation == "expire"]
    assert {(event.service, event.purpose, event.owner) for event in expired} == {
        ("piivault", "", "")
    }
    assert [1, 2] in [[use.uid for use in event.fields] for event in expired]


async def test_what_is_suspended_is_left_and_the_rest_is_swept(
    database_url: str, login_as: Callable[[str], Transit], caplog: pytest.LogCaptureFixture
) -> None:
    """A version that is stopped stops no retention under the others; it is said, and made up."""
    async with serving_process(database_url, login_as(worker("accounts"))) as served:
        await served.establish()
        for number in (1, 3):
            await rotating.register(served, rotating.person(number))
        await rotating.start(served, Level.KEK)
        await rotating.register(served, rotating.person(2))
        kek = KeyName(KeyKind.KEK, 1)
        await keys.suspend(served, rotating.OFFICER, kek)
        with caplog.at_level(logging.WARNING):
            first = await sweep(served, rotating.policy)
        assert (first.looked_at, first.erased, first.suspended) == (3, 1, 2)
        assert "1 erased, 0 trimmed, 0 damaged, 2 left: a key is suspended" in caplog.text
        await keys.resume(served, rotating.OFFICER, kek)
        second = await sweep(served, rotating.policy)
        assert (second.looked_at, second.erased, second.suspended) == (2, 2, 0)
        await rotating.register(served, rotating.person(4))
        await keys.suspend(served, rotating.OFFICER, None)
        with pytest.raises(VaultError) as refused:  # nothing could be opened
            await sweep(served, rotating.policy)
        assert refused.value.reason is Reason.KEYS_SUSPENDED


def test_a_record_that_changes_meanwhile_is_left_for_the_next_run(
    house: House, years: Callable[[float], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweeper erases what it looked at, never what somebody wrote since."""
    person = house.register("accounts")
    years(10)

    async def work(served: ServedCompartment, editions: Editions) -> Swept:
        real = served.records.open_or_none

        async def meanwhile(address: Address) -> OpenedRecord | None:
            record = await real(address)
            if address == served.address(person.pseudonym):
                consents = house.consents("accounts")
                await asyncio.to_thread(person.subject.grant, "accounts", consents)
            return record

        monkeypatch.setattr(served.records, "open_or_none", meanwhile)
        return await sweep(served, editions.state)

    with_compartment(house, "accounts", work)
    assert house.phone_of(person)
