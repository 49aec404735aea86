"""Streams: answered in order, begun anew with the rest when they break, and never far ahead."""

import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault import PutItem, errors
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import types_pb2
from piivault.v1.errors_pb2 import ErrorReason

from .house import House, Sdk, record, refusal

UNAVAILABLE = refusal(grpc.StatusCode.UNAVAILABLE, "STORAGE_UNAVAILABLE")
DENIED = refusal(grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED")
PSEUDONYMS = [f"psn_{number}" for number in range(300)]
Serve = Callable[[Iterator[Any], grpc.ServicerContext], Iterator[Message]]


class Revealing:
    """Reveals pseudonyms as phones; each connection ends after so many, as it is told."""

    def __init__(self, *ends: tuple[int, Any]) -> None:
        self.starts: list[pb.StreamRevealStart] = []
        self.asked: list[list[str]] = []
        self._ends = list(ends)

    def __call__(
        self, requests: Iterator[pb.StreamRevealRequest], context: grpc.ServicerContext
    ) -> Iterator[Message]:
        most, end = self._ends.pop(0) if self._ends else (-1, UNAVAILABLE)
        self.starts.append(next(requests).start)
        self.asked.append(asked := [])
        if most == 0:
            end(None, context)
        context.send_initial_metadata(())
        for index, request in enumerate(requests):
            asked.append(request.pseudonym)
            yield self.answer(index, request.pseudonym)
            if index + 1 == most:
                end(None, context)

    def answer(self, index: int, pseudonym: str) -> pb.StreamRevealResponse:
        if pseudonym == "psn_7":
            gone = types_pb2.ItemError(reason=ErrorReason.ERROR_REASON_ERASED, message="Gone.")
            return pb.StreamRevealResponse(index=index, error=gone)
        return pb.StreamRevealResponse(index=index, record=record(phone=pseudonym))


def _phones(items: list[Any]) -> list[str]:
    return [item.error.reason if item.error else item["phone"].expose() for item in items]


EXPECTED = ["ERASED" if name == "psn_7" else name for name in PSEUDONYMS]


def test_each_item_comes_in_order_with_an_outcome_of_its_own(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    house.answer("StreamReveal", serve := Revealing())
    items = sdk.do(accounts.stream_reveal(iter(PSEUDONYMS), iter(["phone"]), recipient="post"))
    assert [item.pseudonym for item in items] == PSEUDONYMS
    assert _phones(items) == EXPECTED
    (start,) = serve.starts
    assert (start.compartment, start.purpose, start.recipient) == ("accounts", "services", "post")
    assert list(start.fields) == ["phone"]
    assert items[7].error.request_id == house.seen[0].request_id


@pytest.mark.parametrize("after", [1, 2, 64, 299])
def test_a_stream_that_breaks_goes_on_with_the_rest(
    sdk: Sdk, house: House, accounts: Any, after: int
) -> None:
    house.answer("StreamReveal", serve := Revealing((after, UNAVAILABLE)))
    assert _phones(sdk.do(accounts.stream_reveal(PSEUDONYMS, ["phone"]))) == EXPECTED
    first, second = serve.asked
    again = len(PSEUDONYMS) - len(second)
    assert first == PSEUDONYMS[: len(first)]
    assert second == PSEUDONYMS[again:]
    assert 0 < again <= after  # grpc.aio may lose answers that had arrived when a write fails


def test_many_breaks_are_no_end_as_long_as_something_comes(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    house.answer("StreamReveal", Revealing(*[(1, UNAVAILABLE)] * 6))
    assert _phones(sdk.do(accounts.stream_reveal(PSEUDONYMS[:10], ["phone"]))) == EXPECTED[:10]


ENDS: dict[str, tuple[Any, type[Exception], int]] = {
    "four tries without an answer, each with gRPC's own": (
        UNAVAILABLE,
        errors.StorageUnavailable,
        16,
    ),
    "a refusal": (DENIED, errors.NotGranted, 1),
}


@pytest.mark.parametrize(("end", "error", "tries"), ENDS.values(), ids=ENDS)
def test_what_ends_a_stream(
    sdk: Sdk, house: House, accounts: Any, end: Any, error: type[Exception], tries: int
) -> None:
    house.answer("StreamReveal", serve := Revealing(*[(0, end)] * 100))
    with pytest.raises(error):
        sdk.do(accounts.stream_reveal(PSEUDONYMS, ["phone"]))
    assert len(serve.starts) == tries


def test_answers_out_of_order_are_noticed(sdk: Sdk, house: House, accounts: Any) -> None:
    def skip(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
        next(requests)
        context.send_initial_metadata(())
        yield pb.StreamRevealResponse(index=1, record=record(phone="1"))
        list(requests)

    house.answer("StreamReveal", skip)
    with pytest.raises(errors.InternalError, match="out of their order"):
        sdk.do(accounts.stream_reveal(PSEUDONYMS, ["phone"]))


def test_an_early_end_is_noticed(sdk: Sdk, house: House, accounts: Any) -> None:
    def end(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
        next(requests)
        context.send_initial_metadata(())
        for index, request in enumerate(list(requests)[:3]):
            yield Revealing().answer(index, request.pseudonym)

    house.answer("StreamReveal", end)
    with pytest.raises(errors.InternalError, match="before all was answered"):
        sdk.do(accounts.stream_reveal(PSEUDONYMS[:5], ["phone"]))


def test_no_more_than_64_are_taken_ahead(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("StreamReveal", Revealing())
    taken = []

    def endless() -> Iterator[str]:
        while True:
            taken.append("psn_a")
            yield "psn_a"

    assert sdk.first(accounts.stream_reveal(endless(), ["phone"]))
    assert len(taken) == 64


def test_a_connection_is_renewed_before_its_time_is_up(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    """What was sent is answered first, so that nothing is asked for twice."""

    def slowly() -> Iterator[str]:
        for number in range(200):
            time.sleep(0.03)
            yield f"psn_{number}"

    house.answer("StreamReveal", serve := Revealing())
    items = sdk.do(accounts.stream_reveal(slowly(), ["phone"], timeout=4.0))
    assert _phones(items) == EXPECTED[:200]
    assert len(serve.asked) > 1
    assert [name for asked in serve.asked for name in asked] == PSEUDONYMS[:200]


def test_a_stream_without_items_is_no_call(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("StreamReveal", Revealing())
    assert sdk.do(accounts.stream_reveal([], ["phone"])) == []


BAD = {"a pseudonym alone": "psn_a", "no text": [b"psn_a"]}


@pytest.mark.parametrize("pseudonyms", BAD.values(), ids=BAD)
def test_what_is_no_list_of_pseudonyms_is_refused_here(
    sdk: Sdk, house: House, accounts: Any, pseudonyms: Any
) -> None:
    house.answer("StreamReveal", Revealing())
    with pytest.raises(errors.InvalidRequest):
        sdk.do(accounts.stream_reveal(pseudonyms, ["phone"]))


def _put(item: pb.BulkPutItem) -> pb.BulkPutResult:
    if item.pseudonym == "psn_taken":
        reason = ErrorReason.ERROR_REASON_VALUE_TAKEN
        return pb.BulkPutResult(error=types_pb2.ItemError(reason=reason, message="Taken."))
    return pb.BulkPutResult(etag=f"e-{item.pseudonym}")


class Putting:
    """Puts what comes, half of a message at a time, and keeps how many came in each."""

    def __init__(self) -> None:
        self.came: list[int] = []

    def __call__(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
        next(requests)
        context.send_initial_metadata(())
        index = 0
        for request in requests:
            items = list(request.items.items)
            self.came.append(len(items))
            half = (len(items) + 1) // 2
            for several in (items[:half], items[half:]):
                if several:
                    yield pb.BulkPutResponse(index=index, results=map(_put, several))
                    index += len(several)


MESSAGES: dict[str, tuple[int, int, list[int]]] = {
    # items, the bytes of each, and how many come in each message
    "a few in one": (3, 10, [3]),
    "no more than are taken ahead": (300, 10, [128, 64, 64, 32, 12]),
    "large ones by themselves": (4, 700_000, [1, 1, 1, 1]),
    "larger ones a few at a time": (9, 300_000, [3, 3, 3]),
}


@pytest.mark.parametrize(("count", "size", "came"), MESSAGES.values(), ids=MESSAGES)
def test_as_many_items_share_a_message_as_are_at_hand(
    sdk: Sdk, house: House, accounts: Any, count: int, size: int, came: list[int]
) -> None:
    house.answer("BulkPut", serve := Putting())
    items = [PutItem(f"psn_{n}", {"city": "x" * size}) for n in range(count)]
    done = sdk.do(accounts.bulk_put(items))
    assert [one.item for one in done] == items
    assert [one.etag for one in done] == [f"e-psn_{n}" for n in range(count)]
    assert serve.came == came


def test_items_are_put_and_put_again_under_their_own_request_ids(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    """After a break with those that weren't answered, and nothing else about them changes."""
    sent: list[pb.BulkPutItem] = []

    def put(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
        start = next(requests).start
        context.send_initial_metadata(())
        assert (start.compartment, start.purpose) == ("accounts", "services")
        index = 0
        for request in requests:
            items = request.items.items[: None if sent else 2]
            sent.extend(items)
            yield pb.BulkPutResponse(index=index, results=map(_put, items))
            index += len(items)
            if len(sent) == 2:
                UNAVAILABLE(None, context)

    house.answer("BulkPut", put)
    own = str(uuid.uuid4())
    items = [
        PutItem("psn_a", {"city": "Ош", "position": None}, own),
        PutItem("psn_taken", {"email": "a@b.kg"}),
        PutItem("psn_c", {"city": "Өзгөн"}),
    ]
    done = sdk.do(accounts.bulk_put(iter(items)))
    assert [one.item for one in done] == items
    assert [one.etag for one in done] == ["e-psn_a", None, "e-psn_c"]
    assert isinstance(done[1].error, errors.ValueTaken)
    assert done[1].error.request_id == items[1].request_id
    assert (sent[0].request_id, list(sent[0].clear)) == (own, ["position"])
    assert {item.request_id for item in sent} == {item.request_id for item in items}
    with pytest.raises(errors.ValueTaken):
        done[1].unwrap()


def test_what_the_items_raise_comes_after_all_before_was_answered(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    """However passing: it is of another stream, and the rest of this one never came."""
    house.answer("BulkPut", serve := Putting())

    def items() -> Iterator[PutItem]:
        for number in range(200):
            yield PutItem(f"psn_{number}", {"city": "Ош"})
        raise errors.Unavailable("Of where they come from.", reason="STORAGE_UNAVAILABLE")

    with pytest.raises(errors.Unavailable, match="where they come from"):
        sdk.do(accounts.bulk_put(items()))
    assert sum(serve.came) == 200


@pytest.mark.parametrize("request_id", [None, "mine"])
def test_an_item_has_a_request_id_that_stays(
    sdk: Sdk, house: House, accounts: Any, request_id: Any
) -> None:
    house.answer("BulkPut", Putting())
    with pytest.raises(errors.InvalidRequest):
        sdk.do(accounts.bulk_put([PutItem("psn_a", {"city": "Ош"}, request_id)]))


def test_an_item_shows_neither_pseudonym_nor_values() -> None:
    assert "planted" not in repr(PutItem("psn_planted", {"city": "planted"}))


def test_an_item_that_is_no_item_is_refused_here(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("BulkPut", lambda requests, context: iter(()))
    with pytest.raises(errors.InvalidRequest, match="UUID"):
        sdk.do(accounts.bulk_put([PutItem("psn_a", {"city": "Ош"}, "mine")]))
