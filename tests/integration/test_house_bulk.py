"""Bulk put: many records in one stream, each by itself, and none twice."""

from typing import Any

import pytest
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import types_pb2
from piivault.v1.errors_pb2 import ErrorReason

from tests.house import House
from tests.people import NOBODY
from tests.wire import Stream, new_request_id, stream
from vault.audit.event import ALLOWED
from vault.errors import Reason
from vault.policy import Operation

START = pb.BulkPutRequest(start=pb.BulkPutStart(compartment="orders", purpose="services"))
BULK_PUT = "/piivault.v1.RecordService/BulkPut"


def _item(pseudonym: str, request_id: str | None = None, **fields: str) -> pb.BulkPutItem:
    values = [types_pb2.FieldValue(name=name, value=value) for name, value in fields.items()]
    own = new_request_id() if request_id is None else request_id
    return pb.BulkPutItem(request_id=own, pseudonym=pseudonym, fields=values)


def _message(*items: pb.BulkPutItem) -> pb.BulkPutRequest:
    return pb.BulkPutRequest(items=pb.BulkPutItems(items=items))


def _done(house: House, *items: pb.BulkPutItem, each: int = 200, id_: str = "") -> list[Any]:
    """Send items, so many a message; return what became of each."""
    messages = [_message(*items[place : place + each]) for place in range(0, len(items), each)]
    results: list[Any] = []
    for answer in stream(house.channel("orders"), START, *messages, request_id=id_):
        assert answer.index == len(results)
        results += answer.results
    assert len(results) == len(items)
    return results


def _told(house: House, *items: pb.BulkPutItem, each: int = 200) -> list[str]:
    """Return of each why not, or "" if it was done."""
    return [_reason(result) for result in _done(house, *items, each=each)]


def _reason(result: pb.BulkPutResult) -> str:
    if result.etag:
        return ""
    return ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")


def test_each_item_is_done_or_refused_by_itself_and_leaves_its_event(house: House) -> None:
    good, other = house.register("orders"), house.register("orders")
    unconsented = house.register("orders", consents=[])
    twice = _item(other.pseudonym, item_note="a")
    twice.fields.append(types_pb2.FieldValue(name="item_note", value="b"))
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
    assert (house.note_of(good), house.note_of(other)) == ("Коңгуроо иштебейт", "Экинчи кабат")
    for request_id, reason in zip(ids, told, strict=False):
        (event,) = house.events("orders", request_id)
        assert (event.operation, event.reason) == (Operation.PUT, reason)
        assert (event.outcome == ALLOWED) == (reason == "")


def test_an_item_that_cannot_be_read_leaves_its_event_and_none_of_its_words(house: House) -> None:
    person = house.register("orders")
    twice = _item(person.pseudonym, item_note="a")
    twice.fields.append(types_pb2.FieldValue(name="item_note", value="b"))
    items = [_item(person.pseudonym, "no uuid", item_note="x"), twice]
    own = new_request_id()
    results = _done(house, *items, id_=own)
    assert [_reason(result) for result in results] == ["MALFORMED_REQUEST"] * 2
    events = house.events("orders", own)
    assert [(event.operation, event.reason) for event in events] == [
        (Operation.PUT, Reason.MALFORMED_REQUEST)
    ] * 2


def test_what_was_done_is_not_done_again(house: House) -> None:
    """A stream that broke is begun anew with all that wasn't answered, or with everything."""
    people = [house.register("orders") for _ in range(3)]
    items = [_item(person.pseudonym, item_note="алгачкы") for person in people]
    first = _done(house, *items[:2])
    again = _done(house, *items)
    assert [result.etag for result in again][:2] == [result.etag for result in first]
    changed = pb.BulkPutItem.FromString(items[0].SerializeToString())
    changed.fields[0].value = "башка"
    assert _told(house, changed) == ["REQUEST_ID_REUSED"]
    assert {house.note_of(person) for person in people} == {"алгачкы"}


@pytest.mark.parametrize("each", [1, 64, 200])
def test_those_of_one_record_are_done_in_their_order(house: House, each: int) -> None:
    """However many come in a message, and are done at once."""
    people = [house.register("orders") for _ in range(3)]
    items = [_item(people[n % 3].pseudonym, item_note=str(n)) for n in range(200)]
    assert _told(house, *items, each=each) == [""] * 200
    assert [house.note_of(person) for person in people] == ["198", "199", "197"]


REFUSED: dict[str, tuple[str, list[pb.BulkPutRequest], Reason]] = {
    "no start": ("orders", [_message(_item(NOBODY))], Reason.MALFORMED_REQUEST),
    "no items": ("orders", [START, _message()], Reason.MALFORMED_REQUEST),
    "too many items": (
        "orders",
        [START, _message(*[_item(NOBODY)] * 201)],
        Reason.MALFORMED_REQUEST,
    ),
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
