"""More than can be done: what is refused, what is served all the same, and what nobody waits for.

The storage stands still, as it does under a lock, so that what waits is known exactly.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import piivault
import pytest
from google.protobuf.message import Message
from piivault.v1 import key_service_pb2 as keys
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2
from sqlalchemy import text

from tests.house import House
from tests.officers import OFFICER
from tests.people import Registered, new_values
from tests.wire import (
    PATIENCE,
    Stream,
    new_request_id,
    open_channel,
    refused,
    send,
    send_bytes,
    wait_for,
)
from vault.audit.event import ALLOWED
from vault.errors import Reason
from vault.rpc.status import PUSHBACK
from vault.service.places import RETRY_AFTER
from vault.store.engine import connect

CALLS, RECORDS = 4, 8
SHARE, SHARE_OF_RECORDS = 3, 6  # what one service may have of them
REVEAL = "/piivault.v1.RecordService/Reveal"
BULK_PUT = "/piivault.v1.RecordService/BulkPut"


@dataclass(frozen=True, slots=True)
class Small:
    """A server with few places, beside the house."""

    house: House
    address: str

    def channel(self, identity: str) -> grpc.Channel:
        return open_channel(self.address, self.house.tls(identity))


@pytest.fixture(scope="module")
def small(postgres_house: House) -> Iterator[Small]:
    few = {"SERVER__MOST_CALLS": str(CALLS), "SERVER__MOST_RECORDS": str(RECORDS)}
    with postgres_house.another_server(**few) as address:
        yield Small(postgres_house, address)


@pytest.fixture(scope="module")
def person(postgres_house: House) -> Registered:
    return postgres_house.register()


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@contextmanager
def standing_still(
    house: House, table: str, compartment: str = "accounts"
) -> Iterator[Callable[[], None]]:
    """Lock a table; yields what lets go of it."""
    loop = asyncio.new_event_loop()
    database = connect(house.running.owner_urls[compartment])
    transaction = database.writes.connect()
    connection = loop.run_until_complete(transaction.__aenter__())
    lock = text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    loop.run_until_complete(connection.execute(lock))

    def let_go() -> None:
        loop.run_until_complete(connection.rollback())

    try:
        yield let_go
    finally:
        let_go()
        loop.run_until_complete(transaction.__aexit__(None, None, None))
        loop.run_until_complete(database.close())
        loop.close()


def test_who_has_a_place_is_not_sent_away_for_want_of_another(postgres_house: House) -> None:
    """However many hold the value that it looks for."""
    phone = new_values("accounts")["phone"]
    family = [postgres_house.register(phone=phone) for _ in range(3)]
    request = pb.FindRequest(
        compartment="accounts",
        purpose="account",
        field=types_pb2.FieldValue(name="phone", value=phone),
    )
    own = new_request_id()
    with postgres_house.another_server(SERVER__MOST_RECORDS="1") as address:
        found = send(open_channel(address, postgres_house.tls("support")), request, own)
    assert sorted(found.pseudonyms) == sorted(member.pseudonym for member in family)
    events = postgres_house.events("accounts", own)
    assert [(event.operation, event.outcome) for event in events] == [("find", ALLOWED)] * 3


def _reveal(person: Registered, purpose: str = "services") -> pb.RevealRequest:
    return pb.RevealRequest(
        compartment="accounts", purpose=purpose, pseudonym=person.pseudonym, fields=["phone"]
    )


def _batch(person: Registered, count: int) -> pb.BatchRevealRequest:
    return pb.BatchRevealRequest(
        compartment="accounts",
        purpose="services",
        pseudonyms=[person.pseudonym] * count,
        fields=["phone"],
    )


def _fill(
    pool: ThreadPoolExecutor, channel: grpc.Channel, request: Message, count: int = SHARE
) -> list[Future[Any]]:
    """Send calls of one service that take places, and wait until one more finds none."""

    def until_taken() -> Any:
        while True:
            try:
                return send(channel, request)
            except grpc.RpcError as error:
                if not _is_overload(error):
                    raise
                time.sleep(0.02)

    def is_full() -> bool:
        try:
            send(channel, request, timeout=0.2)
        except grpc.RpcError as error:
            return _is_overload(error)
        return False

    sent = [pool.submit(until_taken) for _ in range(count)]
    wait_for(is_full, what="the places are taken")
    return sent


def _is_overload(error: grpc.RpcError) -> bool:
    return bool(error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED)


def test_beyond_its_places_a_process_refuses_at_once_and_says_when_to_come_back(
    small: Small, person: Registered, threads: ThreadPoolExecutor
) -> None:
    """Those that have a place are answered; the trail has how many were refused, in one event."""
    with small.channel("orders") as channel:
        request_id = new_request_id()
        with standing_still(small.house, "audit") as let_go:
            waiting = _fill(threads, channel, _reveal(person))
            refusal = refused(channel, _reveal(person), request_id)
            with pytest.raises(grpc.RpcError) as caught:
                # Before it is parsed.
                send_bytes(channel, REVEAL, b"\xff\xff")
            let_go()
            answers = [call.result(PATIENCE) for call in waiting]
        assert refusal.reason == Reason.OVERLOADED
        assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert refusal.retry_after is not None
        assert RETRY_AFTER <= refusal.retry_after <= 2 * RETRY_AFTER + 0.01
        error: Any = caught.value
        pushback = int(dict(error.trailing_metadata())[PUSHBACK])
        assert 1000 * RETRY_AFTER <= pushback <= 2000 * RETRY_AFTER + 1
        assert {a.fields[0].value for a in answers} == {person.values["phone"]}
        assert send(channel, _reveal(person)).fields
    wait_for(lambda: _overloads(small.house) >= 2, what="the count of refusals")


def test_the_flood_of_one_service_leaves_room_for_the_others(
    small: Small, person: Registered, threads: ThreadPoolExecutor
) -> None:
    """And whoever is refused hears whether it is its own share or all that is taken."""
    with small.channel("orders") as orders, small.channel("support") as support:
        with standing_still(small.house, "audit") as let_go:
            waiting = _fill(threads, orders, _reveal(person))
            assert "that one service may" in refused(orders, _reveal(person)).message
            served = threads.submit(send, support, _reveal(person, "account"))
            full = "All places are taken"
            wait_for(lambda: full in refused(orders, _reveal(person)).message, what="its place")
            assert not served.done()
            let_go()
            assert served.result(PATIENCE).fields
        assert len([call.result(PATIENCE) for call in waiting]) == SHARE


def _overloads(house: House) -> int:
    """Return how many refusals for want of a place the trail has; each event stands for several."""
    found = [e for e in house.trail("accounts").events if e.reason == Reason.OVERLOADED]
    return sum(max(1, event.count) for event in found)


def test_however_many_read_a_subject_withdraws_and_an_officer_stops_it_all(
    small: Small, threads: ThreadPoolExecutor
) -> None:
    person = small.house.register()
    withdrawal = subjects.WithdrawConsentRequest(
        compartment="accounts", capability=person.capability, purposes=["services"]
    )
    status = keys.GetKeyStatusRequest(compartment="accounts")
    with (
        small.channel("orders") as orders,
        small.channel("support") as support,
        small.channel("portal") as portal,
    ):
        with standing_still(small.house, "audit") as let_go, small.channel(OFFICER) as aida:
            waiting = _fill(threads, orders, _reveal(person))
            waiting += _fill(threads, support, _reveal(person, "account"), CALLS - SHARE)
            withdrawn = threads.submit(send, portal, withdrawal)
            assert send(aida, status).epoch
            refused(orders, _reveal(person))
            assert not withdrawn.done(), withdrawn.exception()
            let_go()
            assert withdrawn.result(PATIENCE).etag
            for call in waiting:
                call.exception(PATIENCE)
        assert refused(orders, _reveal(person)).reason == Reason.CONSENT_REQUIRED


def test_a_batch_finds_room_for_all_of_it_or_is_refused_whole(
    small: Small, person: Registered, threads: ThreadPoolExecutor
) -> None:
    with small.channel("orders") as channel:
        refusal = refused(channel, _batch(person, SHARE_OF_RECORDS + 1))
        assert refusal.reason == Reason.OVERLOADED
        with standing_still(small.house, "audit") as let_go:
            (waiting,) = _fill(threads, channel, _batch(person, SHARE_OF_RECORDS), 1)
            assert refused(channel, _reveal(person)).reason == Reason.OVERLOADED
            let_go()
            results = waiting.result(PATIENCE).results
    assert [result.WhichOneof("outcome") for result in results] == ["record"] * SHARE_OF_RECORDS


@pytest.mark.parametrize("table", ["records", "audit"])
def test_nothing_is_done_for_who_left_while_they_waited(
    small: Small, person: Registered, threads: ThreadPoolExecutor, table: str
) -> None:
    """Neither for whom the deadline passed nor for who hung up; and their places are free again."""
    gone = [new_request_id() for _ in range(SHARE - 1)]
    with small.channel("orders") as channel:
        call: Any = channel.unary_unary(REVEAL)
        with standing_still(small.house, table) as let_go:
            first = threads.submit(send, channel, _reveal(person))
            time.sleep(0.2)  # its statement is sent: the others wait for the next one
            body = _reveal(person).SerializeToString()
            late, hung_up = [
                call.future(body, timeout=timeout, metadata=(("piivault-request-id", request_id),))
                for request_id, timeout in zip(gone, (2.0, PATIENCE), strict=True)
            ]
            assert late.exception(PATIENCE).code() is grpc.StatusCode.DEADLINE_EXCEEDED
            hung_up.cancel()
            wait_for(lambda: _has_room(channel, person, SHARE - 1, threads))
            let_go()
            assert first.result(PATIENCE).fields
        assert send(channel, _reveal(person)).fields

    def told() -> list[list[str]]:
        events = [small.house.events("accounts", request_id) for request_id in gone]
        return [[event.reason for event in its] for its in events]

    # Never that it was given. Who hung up can't be told from whose deadline passed.
    wait_for(lambda: told() == [["DEADLINE_EXCEEDED"]] * len(gone), what="their events")


def _puts(people: list[Registered], ids: list[str]) -> list[pb.BulkPutRequest]:
    items = [
        pb.BulkPutItem(
            request_id=request_id,
            pseudonym=person.pseudonym,
            fields=[types_pb2.FieldValue(name="item_note", value="new")],
        )
        for person, request_id in zip(people, ids, strict=True)
    ]
    start = pb.BulkPutStart(compartment="orders", purpose="services")
    return [pb.BulkPutRequest(start=start), pb.BulkPutRequest(items=pb.BulkPutItems(items=items))]


def test_more_puts_than_there_are_places_are_done_as_places_come(small: Small) -> None:
    people = [small.house.register("orders") for _ in range(3 * SHARE_OF_RECORDS)]
    with small.channel("orders") as channel:
        opened = Stream(channel, BULK_PUT)
        opened.ask(*_puts(people, [new_request_id() for _ in people]))
        opened.close()
        answers = opened.rest()
    assert [len(answer.results) for answer in answers] == [SHARE_OF_RECORDS] * 3
    assert all(result.etag for answer in answers for result in answer.results)


@pytest.mark.parametrize("table", ["records", "audit"])
def test_of_puts_that_nobody_waits_for_each_has_one_event_that_tells_the_truth(
    small: Small, table: str
) -> None:
    """Whoever hangs up before they are read changes nothing; who does later may have changed it."""
    people = [small.house.register("orders") for _ in range(3)]
    ids = [new_request_id() for _ in people]
    with small.channel("orders") as channel:
        with standing_still(small.house, table, "orders") as let_go:
            opened = Stream(channel, BULK_PUT)
            opened.ask(*_puts(people, ids))
            time.sleep(0.5)  # its statement is sent
            opened.call.cancel()
            time.sleep(0.2)
            let_go()

        def events() -> list[Any]:
            return [event for id_ in ids for event in small.house.events("orders", id_)]

        wait_for(lambda: len(events()) == len(ids), what="their events")
    orders = small.house.client("orders").compartment("orders", purpose="services")
    for person, event in zip(people, events(), strict=True):
        note = orders.reveal(person.pseudonym, ["item_note"])["item_note"]
        assert (event.outcome == ALLOWED) == (note is not None and note.expose() == "new")
    assert {event.outcome == ALLOWED for event in events()} == {table == "audit"}


def _has_room(
    channel: grpc.Channel, person: Registered, calls: int, pool: ThreadPoolExecutor
) -> bool:
    """Tell whether so many calls find a place at one time."""

    def code() -> Any:
        try:
            send(channel, _reveal(person), timeout=0.3)
        except grpc.RpcError as error:
            return error.code()

    found = [pool.submit(code) for _ in range(calls)]
    codes = [one.result(PATIENCE) for one in found]
    return codes == [grpc.StatusCode.DEADLINE_EXCEEDED] * calls


def test_the_sdk_comes_back_when_it_was_told_to(
    small: Small, person: Registered, threads: ThreadPoolExecutor
) -> None:
    """The caller notices nothing, within its deadline; and hears why, if there is no time left."""
    environment = {**small.house.environment("orders"), "PIIVAULT_ADDRESS": small.address}
    with (
        piivault.Client.from_env(environment) as vault,
        small.channel("orders") as channel,
    ):
        accounts = vault.compartment("accounts", purpose="services")
        assert accounts.reveal(person.pseudonym, ["phone"]).present("phone")
        with standing_still(small.house, "audit") as let_go:
            waiting = _fill(threads, channel, _reveal(person))
            with pytest.raises(piivault.errors.Overloaded) as caught:
                accounts.reveal(person.pseudonym, ["phone"], timeout=RETRY_AFTER)
            assert caught.value.retry_after
            comes_back = threads.submit(
                accounts.reveal, person.pseudonym, ["phone"], timeout=PATIENCE
            )
            time.sleep(0.05)
            let_go()
            assert comes_back.result(PATIENCE)["phone"].expose() == person.values["phone"]
            for call in waiting:
                call.result(PATIENCE)
