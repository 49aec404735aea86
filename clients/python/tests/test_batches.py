"""Many records: cut into batches, asked for lazily, each item with an outcome of its own."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault import errors
from piivault.v1 import record_service_pb2 as record_pb
from piivault.v1 import types_pb2
from piivault.v1.errors_pb2 import ErrorReason

from .house import House, Sdk, record


def batch(request: record_pb.BatchRevealRequest, context: grpc.ServicerContext) -> Message:
    """One record a pseudonym that says which it was; an error for psn_erased."""
    erased = types_pb2.ItemError(reason=ErrorReason.ERROR_REASON_ERASED, message="Gone.")
    return record_pb.BatchRevealResponse(
        results=[
            record_pb.BatchRevealResult(error=erased)
            if pseudonym == "psn_erased"
            else record_pb.BatchRevealResult(record=record(phone=pseudonym))
            for pseudonym in request.pseudonyms
        ]
    )


def test_a_batch_gives_an_item_a_pseudonym(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("BatchReveal", batch)
    items = sdk.do(accounts.reveal_many(["psn_a", "psn_erased", "psn_b"], ["phone"]))
    assert [item.pseudonym for item in items] == ["psn_a", "psn_erased", "psn_b"]
    assert (items[0]["phone"].expose(), items[2]["phone"].expose()) == ("psn_a", "psn_b")
    assert isinstance(items[1].error, errors.Erased)
    assert items[1].error.request_id == house.seen[0].request_id
    with pytest.raises(errors.Erased):
        items[1].unwrap()


def test_many_are_asked_for_in_batches_of_200(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("BatchReveal", batch)
    pseudonyms = [f"psn_{number}" for number in range(450)]
    items = sdk.do(accounts.reveal_many(iter(pseudonyms), iter(["phone"])))
    assert [item["phone"].expose() for item in items] == pseudonyms
    assert [len(seen.request.pseudonyms) for seen in house.seen] == [200, 200, 50]
    assert {tuple(seen.request.fields) for seen in house.seen} == {("phone",)}


def test_batches_are_asked_for_as_items_are_taken(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("BatchReveal", batch)

    def endless() -> Iterator[str]:
        while True:
            yield "psn_a"

    assert sdk.first(accounts.reveal_many(endless(), ["phone"], batch_size=5))
    assert [len(seen.request.pseudonyms) for seen in house.seen] == [5]


def test_no_pseudonyms_are_no_call(sdk: Sdk, house: House, accounts: Any) -> None:
    assert sdk.do(accounts.reveal_many([], ["phone"])) == []
    assert not house.seen


def test_an_answer_above_4_mib_says_to_ask_for_less(sdk: Sdk, house: House, accounts: Any) -> None:
    big = record_pb.BatchRevealResult(record=record(note="ш" * 60_000))
    house.answer("BatchReveal", record_pb.BatchRevealResponse(results=[big] * 100))
    with pytest.raises(errors.ResponseTooLarge, match="batch_size"):
        sdk.do(accounts.reveal_many(["psn_a"] * 100, ["note"]))


def test_a_batch_that_comes_back_short_is_an_error(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("BatchReveal", record_pb.BatchRevealResponse())
    with pytest.raises(errors.InternalError, match="incomplete"):
        sdk.do(accounts.reveal_many(["psn_a"], ["phone"]))


def test_a_request_that_the_server_would_not_take_is_not_sent(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    with pytest.raises(errors.TooLarge, match="above 4 MiB"):
        sdk.do(accounts.put("psn_a", {"note": "ж" * (2 * 1024 * 1024)}))
    assert house.seen == []
