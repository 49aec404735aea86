"""Streams of requests behind the guard: each request is taken as a call is, and in its time."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import record_service_pb2 as pb

from tests.rpc.conftest import Guarded, Policy, Serve
from tests.wire import PATIENCE, Stream, wait_for
from vault.errors import Reason, VaultError
from vault.rpc.guard import Again, Guard
from vault.rpc.status import REQUEST_ID
from vault.service.ledger import Block

STREAM = "/piivault.v1.RecordService/StreamReveal"
ORDERS = "spiffe://oshto.kg/orders"
PLANTED = "planted-Токтогулова-+996555123456"
Requests = AsyncGenerator[pb.StreamRevealRequest, None]


def _open(channel: grpc.Channel, timeout: float | None = PATIENCE) -> Stream:
    return Stream(channel, STREAM, timeout=timeout)


def _pseudonym(text: str = "psn_a") -> bytes:
    return pb.StreamRevealRequest(pseudonym=text).SerializeToString()


Answers = AsyncGenerator[Message, None]


def _accepting(
    handler: Callable[[Again, Requests], Answers],
) -> Callable[[Again, Requests], Awaitable[Answers]]:
    """Take whatever comes first."""

    async def accept(again: Again, requests: Requests) -> Answers:
        return handler(again, requests)

    return accept


@_accepting
async def _counting(again: Again, requests: Requests) -> Answers:
    index = 0
    async for _ in requests:
        again()
        yield pb.StreamRevealResponse(index=index)
        index += 1


@pytest.fixture
def counting(serve: Serve) -> Iterator[Guarded]:
    with serve({STREAM: (pb.StreamRevealRequest, _counting)}) as guarded:
        yield guarded


def test_each_request_is_answered_and_the_callers_end_is_the_end(counting: Guarded) -> None:
    with counting.channel(ORDERS) as channel:
        asking = _open(channel)
        for number in range(3):
            asking.ask(_pseudonym())
            assert asking.answer().index == number
        assert asking.rest() == []
        assert asking.call.code() is grpc.StatusCode.OK


def test_bytes_that_are_no_message_end_the_stream_after_the_answers_before(
    counting: Guarded,
) -> None:
    with counting.channel(ORDERS) as channel:
        asking = _open(channel)
        asking.ask(_pseudonym(), b"\xff\xff" + PLANTED.encode())
        assert asking.answer().index == 0
        refusal = asking.refusal()
    assert refusal.reason == Reason.MALFORMED_REQUEST
    assert PLANTED not in refusal.seen


REFUSED = {
    "a caller that the row doesn't name": ("portal", Reason.METHOD_NOT_ALLOWED),
    "nobody": ("nobody", Reason.IDENTITY_UNKNOWN),
}


@pytest.mark.parametrize(("caller", "reason"), REFUSED.values(), ids=REFUSED)
def test_who_may_not_call_is_refused_before_anything_is_read(
    counting: Guarded, caller: str, reason: Reason
) -> None:
    with counting.channel(f"spiffe://oshto.kg/{caller}") as channel:
        asking = _open(channel)
        asking.ask(b"\xff")
        assert asking.refusal().reason == reason


def _failing(error: Exception) -> Any:
    @_accepting
    async def handler(again: Again, requests: Requests) -> Answers:
        await anext(requests)
        yield pb.StreamRevealResponse()
        raise error

    return handler


def test_an_unforeseen_exception_is_internal_and_its_text_goes_nowhere(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    handler = _failing(RuntimeError(PLANTED))
    with (
        serve({STREAM: (pb.StreamRevealRequest, handler)}) as guarded,
        guarded.channel(ORDERS) as channel,
    ):
        asking = _open(channel)
        asking.ask(_pseudonym(PLANTED))
        refusal = asking.refusal()
    assert refusal.reason == Reason.INTERNAL
    assert PLANTED not in refusal.seen + caplog.text


def test_a_parser_that_fails_is_internal_and_its_text_goes_nowhere(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Unparsable:
        @staticmethod
        def FromString(body: bytes) -> Message:
            raise ValueError(PLANTED, body)

    unparsable: Any = Unparsable
    with (
        serve({STREAM: (unparsable, _counting)}) as guarded,
        guarded.channel(ORDERS) as channel,
    ):
        asking = _open(channel)
        asking.ask(_pseudonym(PLANTED))
        refusal = asking.refusal()
    assert refusal.reason == Reason.INTERNAL
    assert PLANTED not in refusal.seen + caplog.text


def _block_orders(policy: Policy) -> None:
    block = Block("orders", frozenset(), "stolen")
    ledger = replace(policy.state.ledger, blocks={b"statement": block})
    policy.state = replace(policy.state, ledger=ledger)


@pytest.mark.parametrize("asks", [True, False], ids=["at the next request", "in silence"])
def test_a_block_ends_the_stream(
    counting: Guarded, policy: Policy, monkeypatch: pytest.MonkeyPatch, asks: bool
) -> None:
    monkeypatch.setattr("vault.rpc.streams.ADMIT_AGAIN", 3600 if asks else 0.05)
    with counting.channel(ORDERS) as channel:
        asking = _open(channel)
        asking.ask(_pseudonym())
        assert asking.answer().index == 0
        _block_orders(policy)
        if asks:
            asking.ask(_pseudonym())
        assert asking.refusal().reason == Reason.SERVICE_BLOCKED


def test_a_process_that_leaves_ends_the_stream(
    counting: Guarded, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.rpc.streams.ADMIT_AGAIN", 0.05)
    with counting.channel(ORDERS) as channel:
        asking = _open(channel)
        asking.ask(_pseudonym())
        assert asking.answer().index == 0
        guard.leave()
        assert asking.refusal().reason == Reason.STORAGE_UNAVAILABLE


def test_a_stream_that_asks_nothing_ends(
    counting: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.rpc.streams.LONGEST_SILENCE", 0.2)
    with counting.channel(ORDERS) as channel:
        refusal = _open(channel, timeout=None).refusal()
    assert refusal.reason == Reason.DEADLINE_EXCEEDED
    assert "Begin anew" in refusal.message


def test_a_stream_that_nobody_reads_gives_its_place_back(
    serve: Serve, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.rpc.streams.LONGEST_SILENCE", 0.5)
    ended = threading.Event()
    full = pb.StreamRevealResponse(record=pb.RevealResponse(etag="x" * 2**20))

    @_accepting
    async def endless(again: Again, requests: Requests) -> Answers:
        try:
            while True:
                yield full
        finally:
            ended.set()

    with (
        serve({STREAM: (pb.StreamRevealRequest, endless)}) as guarded,
        guarded.channel(ORDERS) as channel,
    ):
        asking = _open(channel, timeout=None)
        wait_for(ended.is_set, what="the end of a stream that nobody reads")
        refusal = asking.refusal()
    assert refusal.reason == Reason.DEADLINE_EXCEEDED
    assert "read" in refusal.message


def test_no_request_is_read_before_it_is_wanted(serve: Serve) -> None:
    """So that a caller sends no faster than it is served, whatever it has."""
    parsed, wanted = [], asyncio.Event()

    loop: list[asyncio.AbstractEventLoop] = []

    class Counted:
        @staticmethod
        def FromString(body: bytes) -> Message:
            parsed.append(body)
            return pb.StreamRevealRequest.FromString(body)

    @_accepting
    async def one(again: Again, requests: Requests) -> Answers:
        await anext(requests)
        loop.append(asyncio.get_running_loop())
        yield pb.StreamRevealResponse()
        await wanted.wait()
        await anext(requests)
        yield pb.StreamRevealResponse(index=1)

    counted: Any = Counted
    with serve({STREAM: (counted, one)}) as guarded, guarded.channel(ORDERS) as channel:
        asking = _open(channel)
        asking.ask(*[_pseudonym()] * 20)
        assert asking.answer().index == 0
        assert len(parsed) == 1
        loop[0].call_soon_threadsafe(wanted.set)
        assert asking.answer().index == 1
        asking.close()


def test_the_callers_leaving_ends_the_handler(serve: Serve) -> None:
    """Whether it waits for the next request or for something else."""
    left = threading.Event()

    @_accepting
    async def wait(again: Again, requests: Requests) -> Answers:
        try:
            async for _ in requests:
                yield pb.StreamRevealResponse()
        finally:
            left.set()

    with serve({STREAM: (pb.StreamRevealRequest, wait)}) as guarded:
        for end in ("hang up", "deadline"):
            with guarded.channel(ORDERS) as channel:
                grpc.channel_ready_future(channel).result(PATIENCE)
                asking = _open(channel, PATIENCE if end == "hang up" else 0.5)
                asking.ask(_pseudonym())
                assert asking.answer().index == 0
                if end == "hang up":
                    asking.call.cancel()
                wait_for(left.is_set, what=f"the handler's end after {end}")
                asking.close()
                left.clear()


def test_a_stream_that_is_refused_at_its_start_has_no_metadata_before(serve: Serve) -> None:
    """A caller that waits for them has sent nothing that nobody would read."""
    accepted = threading.Event()

    async def accept(again: Again, requests: Requests) -> Answers:
        first = await anext(requests)
        if not first.pseudonym:
            raise VaultError(Reason.NOT_GRANTED, "No.")
        accepted.set()
        return _nothing()

    async def _nothing() -> Answers:
        await asyncio.sleep(PATIENCE)
        yield pb.StreamRevealResponse()

    with (
        serve({STREAM: (pb.StreamRevealRequest, accept)}) as guarded,
        guarded.channel(ORDERS) as channel,
    ):
        asking = _open(channel)
        asking.ask(b"")
        assert asking.refusal().reason == Reason.NOT_GRANTED
        assert REQUEST_ID not in dict(asking.call.initial_metadata())
        asking = _open(channel)
        asking.ask(_pseudonym())
        assert REQUEST_ID in dict(asking.call.initial_metadata())
        assert accepted.is_set()
        asking.call.cancel()
        asking.close()


def test_a_refusal_says_what_the_handler_said(serve: Serve) -> None:
    error = VaultError(Reason.OVERLOADED, "Too slow.", retry_after=2.0)
    with (
        serve({STREAM: (pb.StreamRevealRequest, _failing(error))}) as guarded,
        guarded.channel(ORDERS) as channel,
    ):
        asking = _open(channel)
        asking.ask(_pseudonym())
        refusal = asking.refusal()
    assert (refusal.reason, refusal.message) == (Reason.OVERLOADED, "Too slow.")
