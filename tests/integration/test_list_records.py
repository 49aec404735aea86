"""Lists: whose records may be revealed, and nothing about anybody else."""

import asyncio

import piivault
import pytest
from piivault import errors
from piivault.v1 import record_service_pb2 as pb

from tests.house import House
from tests.officers import Officers
from tests.people import Registered
from tests.wire import new_request_id
from vault.audit.event import ALLOWED
from vault.errors import Reason

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


async def _the_asyncio_sdk(house: House, people: list[Registered]) -> None:
    async with piivault.AsyncClient.from_env(house.environment("support")) as vault:
        support = vault.compartment("accounts", purpose="account")
        found = [name async for name in support.list_records(["last_name"], page_size=2)]
    assert sorted(found) == _pseudonyms(people)
