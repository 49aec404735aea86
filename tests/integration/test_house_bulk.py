"""Bulk put: many records in one stream, each by itself, and none twice."""

from typing import Any

import pytest
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import types_pb2
from piivault.v1.errors_pb2 import ErrorReason

from tests.house import House
from tests.people import NOBODY, Registered
from tests.wire import Stream, new_request_id, stream
from vault.audit.event import ALLOWED
from vault.errors import Reason
from vault.policy import Operation

START = pb.BulkPutRequest(start=pb.BulkPutStart(compartment="orders", purpose="services"))
BULK_PUT = "/piivault.v1.RecordService/BulkPut"


def _item(pseudonym: str, request_id: str | None = None, **fields: str) -> pb.BulkPutRequest:
    values = [types_pb2.FieldValue(name=name, value=value) for name, value in fields.items()]
    own = new_request_id() if request_id is None else request_id
    return pb.BulkPutRequest(
        item=pb.BulkPutItem(request_id=own, pseudonym=pseudonym, fields=values)
    )


def _told(house: House, *items: pb.BulkPutRequest) -> list[str]:
    """Send items; return of each why not, or "" if it was done."""
    answers = stream(house.channel("orders"), START, *items)
    assert [answer.index for answer in answers] == list(range(len(items)))
    return [_reason(answer) for answer in answers]


def _reason(answer: Any) -> str:
    if answer.etag:
        return ""
    return ErrorReason.Name(answer.error.reason).removeprefix("ERROR_REASON_")


def _note(house: House, person: Registered) -> str:
    orders = house.client("orders").compartment("orders", purpose="services")
    return orders.reveal(person.pseudonym, ["item_note"])["item_note"].expose()


def test_each_item_is_done_or_refused_by_itself_and_leaves_its_event(house: House) -> None:
    good, other = house.register("orders"), house.register("orders")
    unconsented = house.register("orders", consents=[])
    twice = _item(other.pseudonym, item_note="a")
    twice.item.fields.append(types_pb2.FieldValue(name="item_note", value="b"))
    ids = [new_request_id() for _ in range(3)]
    told = _told(
        house,
        _item(good.pseudonym, ids[0], item_note="Коңгуроо иштебейт"),
        _item(unconsented.pseudonym, ids[1], item_note="x"),
        _item(NOBODY, ids[2], item_note="x"),
        _item("no pseudonym", item_note="x"),
        _item(good.pseudonym, "no uuid", item_note="x"),
        _item(good.pseudonym, nothing="x"),
        _item(good.pseudonym),
        twice,
        _item(other.pseudonym, item_note="Экинчи кабат"),
    )
    assert told == [
        "",
        "CONSENT_REQUIRED",
        "NOT_FOUND",
        "MALFORMED_PSEUDONYM",
        "MALFORMED_REQUEST",
        "UNKNOWN_FIELD",
        "MALFORMED_REQUEST",
        "MALFORMED_REQUEST",
        "",
    ]
    assert (_note(house, good), _note(house, other)) == ("Коңгуроо иштебейт", "Экинчи кабат")
    for request_id, reason in zip(ids, told, strict=False):
        (event,) = house.events("orders", request_id)
        assert (event.operation, event.reason) == (Operation.PUT, reason)
        assert (event.outcome == ALLOWED) == (reason == "")


def test_an_item_that_cannot_be_read_leaves_its_event_and_none_of_its_words(house: House) -> None:
    person = house.register("orders")
    twice = _item(person.pseudonym, item_note="a")
    twice.item.fields.append(types_pb2.FieldValue(name="item_note", value="b"))
    items = [_item(person.pseudonym, "no uuid", item_note="x"), twice]
    own = new_request_id()
    answers = stream(house.channel("orders"), START, *items, request_id=own)
    assert [_reason(answer) for answer in answers] == ["MALFORMED_REQUEST"] * 2
    events = house.events("orders", own)
    assert [(event.operation, event.reason) for event in events] == [
        (Operation.PUT, Reason.MALFORMED_REQUEST)
    ] * 2


def test_what_was_done_is_not_done_again(house: House) -> None:
    """A stream that broke is begun anew with all that wasn't answered, or with everything."""
    people = [house.register("orders") for _ in range(3)]
    items = [_item(person.pseudonym, item_note="алгачкы") for person in people]
    first = stream(house.channel("orders"), START, *items[:2])
    again = stream(house.channel("orders"), START, *items)
    assert [answer.etag for answer in again][:2] == [answer.etag for answer in first]
    changed = pb.BulkPutRequest.FromString(items[0].SerializeToString())
    changed.item.fields[0].value = "башка"
    assert _told(house, changed) == ["REQUEST_ID_REUSED"]
    assert {_note(house, person) for person in people} == {"алгачкы"}


def test_more_than_fit_the_window_are_done(house: House) -> None:
    people = [house.register("orders") for _ in range(5)]
    items = [_item(people[n % 5].pseudonym, item_note=str(n)) for n in range(100)]
    assert _told(house, *items) == [""] * 100


REFUSED: dict[str, tuple[str, list[pb.BulkPutRequest], Reason]] = {
    "no start": ("orders", [_item(NOBODY)], Reason.MALFORMED_REQUEST),
    "two starts": ("orders", [START, START], Reason.MALFORMED_REQUEST),
    "no grant": ("newsletter", [START], Reason.NOT_GRANTED),
    "an unknown purpose": (
        "orders",
        [pb.BulkPutRequest(start=pb.BulkPutStart(compartment="orders", purpose="nothing"))],
        Reason.UNKNOWN_PURPOSE,
    ),
    "an unknown compartment": (
        "orders",
        [pb.BulkPutRequest(start=pb.BulkPutStart(compartment="nowhere", purpose="services"))],
        Reason.UNKNOWN_COMPARTMENT,
    ),
}


@pytest.mark.parametrize(("service", "requests", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_item_could_mend_ends_the_stream(
    sqlite_house: House, service: str, requests: list[pb.BulkPutRequest], reason: Reason
) -> None:
    opened = Stream(sqlite_house.channel(service), BULK_PUT)
    opened.ask(*requests)
    opened.close()
    assert opened.refusal().reason == reason
