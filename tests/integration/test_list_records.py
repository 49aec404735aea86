"""Lists: whose records may be revealed, and nothing about anybody else."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
import piivault
import pytest
from piivault import errors
from piivault.officers import OfficersClient
from piivault.v1 import record_service_pb2 as pb

from tests.house import House
from tests.officers import OFFICER, Officers
from tests.people import Registered
from tests.wire import PATIENCE, new_request_id, open_channel, refused, send
from vault.audit.event import ALLOWED, Event
from vault.errors import Reason
from vault.store.commit import Committer

SUPPORT = "  support: {owner: support, spiffe: spiffe://oshto.kg/support}\n"
MAY_ACCOUNT = "purpose: account, compartment: accounts, operations: [reveal, find"
MAY_NEWSLETTER = "purpose: newsletter, compartment: accounts, operations: [reveal"


@pytest.fixture
def listing(own: House, officers: Officers) -> House:
    """A house in which support lists as often as it likes, and newsletter as is the default."""
    (line,) = [line for line in officers.newest().splitlines() if line.startswith("  support: ")]
    officers.change(
        (line, line.replace("}", ", limits: {list: {per_second: 1000}}}")),
        (MAY_ACCOUNT, f"{MAY_ACCOUNT}, list"),
        (MAY_NEWSLETTER, f"{MAY_NEWSLETTER}, list"),
    )
    return own


def _ask(size: int = 0, token: str = "", *fields: str) -> pb.ListRecordsRequest:
    return pb.ListRecordsRequest(
        compartment="accounts",
        purpose="account",
        fields=fields or ["last_name"],
        page_size=size,
        page_token=token,
    )


def _pseudonyms(people: list[Registered]) -> list[str]:
    return sorted(person.pseudonym for person in people)


def test_lists(listing: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """One house for all of it: who is listed, in what pages, by which tokens, how often."""
    house = listing
    people = [house.register() for _ in range(7)]
    house.register(consents=[])
    withdrawn, erased = house.register(), house.register()
    withdrawn.subject.withdraw("accounts", ["account"])
    erased.subject.erase("accounts")
    _who_is_listed(house, people)
    _pages(house, people, monkeypatch)
    _tokens(house)
    _events(house)
    _how_often(house, people)
    _places(house, people, monkeypatch)
    _a_stop(house, monkeypatch)
    asyncio.run(_the_asyncio_sdk(house, people))


def _who_is_listed(house: House, people: list[Registered]) -> None:
    """Those alone of whom all that is named would be revealed."""
    support = house.client("support").compartment("accounts", purpose="account")
    listed = list(support.list_records(["last_name", "email"]))
    assert sorted(listed) == _pseudonyms(people)
    assert len(list(support.reveal_many(listed, ["last_name", "email"]))) == len(people)
    people[0].subject.withdraw("accounts", ["account"])
    assert sorted(support.list_records(["last_name"])) == _pseudonyms(people[1:])
    people[0].subject.grant("accounts", house.consents("accounts", ["account"]))
    denied = (house.client("orders").compartment("accounts", purpose="services"), ["phone"])
    with pytest.raises(errors.NotGranted):
        next(iter(denied[0].list_records(denied[1])))
    newsletter = house.client("newsletter").compartment("accounts", purpose="newsletter")
    with pytest.raises(errors.FieldBeyondPurpose):
        next(iter(newsletter.list_records(["phone"])))


def _pages(house: House, people: list[Registered], monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of pseudonyms, each once; a page may end at whom the caller must not know of."""
    for at_once in (1, 2, 3, 200):
        monkeypatch.setattr("vault.service.listing._AT_ONCE", at_once)
        monkeypatch.setattr("vault.service.listing._MOST_LOOKED_AT", 3 * at_once)
        found, token, pages = [], "", 0
        while pages == 0 or token:
            answer = house.ask("support", _ask(3, token))
            assert len(answer.pseudonyms) <= 3
            found += answer.pseudonyms
            token, pages = answer.next_page_token, pages + 1
        assert sorted(found) == _pseudonyms(people)
        assert len(set(found)) == len(found)


def _tokens(house: House) -> None:
    """Sealed, each its own list's."""
    token = house.ask("support", _ask(1)).next_page_token
    again = house.ask("support", _ask(1)).next_page_token
    assert token
    assert token != again  # nothing to compare
    assert house.ask("support", _ask(1, token)).pseudonyms
    flipped = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    others = {
        "of other fields": _ask(1, token, "first_name"),
        "altered": _ask(1, flipped),
        "no token": _ask(1, "жок"),
        "too long a page": _ask(201),
        "no field": pb.ListRecordsRequest(compartment="accounts", purpose="account"),
    }
    for name, request in others.items():
        assert house.refused("support", request).reason == Reason.MALFORMED_REQUEST, name
    request = pb.ListRecordsRequest(
        compartment="accounts", purpose="newsletter", fields=["email"], page_token=token
    )
    assert house.refused("newsletter", request).reason == Reason.MALFORMED_REQUEST


def _events(house: House) -> None:
    """One a page, of nobody in particular; a refusal has one, too."""
    request_id = new_request_id()
    house.ask("support", _ask(2), request_id)
    (event,) = house.events("accounts", request_id)
    assert (event.operation, event.outcome, len(event.fields)) == ("list", ALLOWED, 1)
    request_id = new_request_id()
    house.refused("orders", _ask(2), request_id)
    (event,) = house.events("accounts", request_id)
    assert (event.operation, event.reason) == ("list", "NOT_GRANTED")


def _how_often(house: House, people: list[Registered]) -> None:
    request = pb.ListRecordsRequest(compartment="accounts", purpose="newsletter", fields=["email"])
    told = [house.told("newsletter", request) for _ in range(6)]
    assert told[-1] == Reason.RATE_LIMITED
    newsletter = house.client("newsletter").compartment("accounts", purpose="newsletter")
    assert len(list(newsletter.list_records(["email"]))) >= len(people)  # the SDK waits


@contextmanager
def _held(
    monkeypatch: pytest.MonkeyPatch, channel: grpc.Channel, ask: Callable[..., Any]
) -> Iterator["Future[Any]"]:
    """Ask for a list whose event takes long to write: as long as this lasts."""
    written, go_on = threading.Event(), threading.Event()
    record_all = Committer.record_all

    async def slow(its: Committer[Event], events: Sequence[Event], *args: Any) -> None:
        await record_all(its, events, *args)
        if ("list", ALLOWED) in [(e.operation, e.outcome) for e in events]:
            written.set()
            await asyncio.to_thread(go_on.wait, PATIENCE)

    with monkeypatch.context() as patched, ThreadPoolExecutor(1) as pool:
        patched.setattr(Committer, "record_all", slow)
        asked = pool.submit(ask, channel, _ask(200))
        assert written.wait(PATIENCE)
        try:
            yield asked
        finally:
            go_on.set()


def _places(house: House, people: list[Registered], monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each record that it looks at at once, and no more than a service may have."""
    pseudonym = people[0].pseudonym
    reveal = pb.RevealRequest(
        compartment="accounts", purpose="account", pseudonym=pseudonym, fields=["phone"]
    )
    with (
        house.another_server(SERVER__MOST_RECORDS="8") as address,
        open_channel(address, house.tls("support")) as channel,
    ):
        with _held(monkeypatch, channel, send) as first:
            refusals = [refused(channel, request) for request in (_ask(), reveal)]
        assert len(first.result(PATIENCE).pseudonyms) == len(people)
        assert send(channel, reveal).fields
    assert {refusal.reason for refusal in refusals} == {Reason.OVERLOADED}


def _a_stop(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is felt by a list whose event is written already, as by a value."""
    with OfficersClient.from_env(house.environment(OFFICER)) as officer:
        ring = officer.keys("accounts")
        with _held(monkeypatch, house.channel("support"), refused) as asked:
            ring.suspend()
        assert asked.result(PATIENCE).reason == Reason.KEYS_SUSPENDED
        ring.resume()
        assert house.ask("support", _ask()).pseudonyms


async def _the_asyncio_sdk(house: House, people: list[Registered]) -> None:
    async with piivault.AsyncClient.from_env(house.environment("support")) as vault:
        support = vault.compartment("accounts", purpose="account")
        found = [name async for name in support.list_records(["last_name"], page_size=2)]
    assert sorted(found) == _pseudonyms(people)
