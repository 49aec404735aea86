"""Streams behind the guard: what holds for a call holds for as long as a stream lasts."""

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import subject_service_pb2 as pb

from tests.rpc.conftest import Policy, Serve
from tests.wire import PATIENCE, Refusal, new_request_id, refusal_of
from vault.errors import Reason, VaultError
from vault.rpc.guard import Guard
from vault.rpc.status import REQUEST_ID
from vault.service.call import Call
from vault.service.ledger import Block

LIST = "/piivault.v1.SubjectService/ListNotices"
PLANTED = "planted-Токтогулова-+996555123456"
SLOW = 3600.0  # seconds
ANSWER = pb.ListNoticesResponse()


async def _three(call: Call, request: Message) -> AsyncGenerator[Message, None]:
    for _ in range(3):
        yield ANSWER


async def _for_ever(call: Call, request: Message) -> AsyncGenerator[Message, None]:
    while True:
        yield ANSWER
        await asyncio.sleep(0.01)


async def _silence(call: Call, request: Message) -> AsyncGenerator[Message, None]:
    yield ANSWER
    await asyncio.sleep(SLOW)


def _raising(error: Exception, after: int = 1) -> Callable[..., AsyncGenerator[Message, None]]:
    async def handler(call: Call, request: Message) -> AsyncGenerator[Message, None]:
        for _ in range(after):
            yield ANSWER
        raise error

    return handler


async def _text(call: Call, request: Message) -> AsyncGenerator[Any, None]:
    yield PLANTED


def _open(
    channel: grpc.Channel, body: bytes = b"", request_id: str = "", timeout: float | None = PATIENCE
) -> Any:
    call: Any = channel.unary_stream(LIST)
    return call(body, timeout=timeout, metadata=((REQUEST_ID, request_id or new_request_id()),))


def _end(answers: Iterator[bytes]) -> Refusal:
    """Read to the end, which must be a refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        for _ in answers:
            pass
    return refusal_of(caught.value)


def test_all_answers_arrive_and_the_request_id_comes_before_them(serve: Serve) -> None:
    with serve({LIST: (pb.ListNoticesRequest, _three)}) as guarded, guarded.channel() as channel:
        answers = _open(channel, request_id=(own := new_request_id()))
        assert dict(answers.initial_metadata())[REQUEST_ID] == own
        assert len(list(answers)) == 3


@pytest.mark.parametrize(
    ("handler", "sent"),
    [(_raising(RuntimeError(PLANTED)), 1), (_raising(KeyError(PLANTED), 0), 0), (_text, 0)],
    ids=["an exception between answers", "an exception at once", "an answer that is no message"],
)
def test_an_unforeseen_exception_is_internal_and_its_text_goes_nowhere(
    serve: Serve, caplog: pytest.LogCaptureFixture, handler: Any, sent: int
) -> None:
    caplog.set_level(logging.DEBUG)
    with serve({LIST: (pb.ListNoticesRequest, handler)}) as guarded, guarded.channel() as channel:
        answers = _open(channel)
        assert [next(answers) for _ in range(sent)] == [b""] * sent
        refusal = _end(answers)
    assert refusal.reason == Reason.INTERNAL
    assert PLANTED not in refusal.seen + caplog.text
    assert f"request {refusal.request_id}" in caplog.text


def test_a_refusal_amid_a_stream_says_what_the_handler_said(serve: Serve) -> None:
    error = VaultError(Reason.OVERLOADED, "Too slow.", retry_after=2.0)
    with (
        serve({LIST: (pb.ListNoticesRequest, _raising(error))}) as guarded,
        guarded.channel() as channel,
    ):
        refusal = _end(_open(channel))
    assert (refusal.reason, refusal.message) == (Reason.OVERLOADED, "Too slow.")
    assert refusal.retry_after == pytest.approx(2.0, abs=0.01)


REFUSED: dict[str, tuple[str, bytes, Reason]] = {
    "a caller that the row doesn't name": ("orders", b"", Reason.METHOD_NOT_ALLOWED),
    "nobody": ("nobody", b"\xff", Reason.IDENTITY_UNKNOWN),
    "bytes that are no message": ("portal", b"\xff\xff", Reason.MALFORMED_REQUEST),
}


@pytest.mark.parametrize(("caller", "body", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_holds_for_a_call_holds_for_a_stream(
    serve: Serve, caller: str, body: bytes, reason: Reason
) -> None:
    async def reached(call: Call, request: Message) -> AsyncGenerator[NoReturn, None]:
        raise AssertionError("reached")
        yield

    with (
        serve({LIST: (pb.ListNoticesRequest, reached)}) as guarded,
        guarded.channel(f"spiffe://oshto.kg/{caller}") as channel,
    ):
        assert _end(_open(channel, body)).reason == reason


def _block_the_portal(policy: Policy, guard: Guard) -> None:
    block = Block("portal", frozenset(), "stolen")
    ledger = replace(policy.state.ledger, blocks={b"statement": block})
    policy.state = replace(policy.state, ledger=ledger)


def _drop_the_portal(policy: Policy, guard: Guard) -> None:
    policy.state = replace(policy.state, current=replace(policy.state.current, by_spiffe={}))


def _leave(policy: Policy, guard: Guard) -> None:
    guard.leave()


MEANWHILE = {
    "its caller is blocked": (_block_the_portal, Reason.SERVICE_BLOCKED),
    "an edition drops its caller": (_drop_the_portal, Reason.IDENTITY_UNKNOWN),
    "the process stops": (_leave, Reason.STORAGE_UNAVAILABLE),
}


@pytest.mark.parametrize("handler", [_for_ever, _silence], ids=["while it sends", "in silence"])
@pytest.mark.parametrize(("happens", "reason"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_stream_ends_within_seconds_if(
    serve: Serve,
    policy: Policy,
    guard: Guard,
    monkeypatch: pytest.MonkeyPatch,
    handler: Any,
    happens: Callable[[Policy, Guard], None],
    reason: Reason,
) -> None:
    monkeypatch.setattr("vault.rpc.streams.ADMIT_AGAIN", 0.05)
    with serve({LIST: (pb.ListNoticesRequest, handler)}) as guarded, guarded.channel() as channel:
        answers = _open(channel)
        assert next(answers) == b""
        happens(policy, guard)
        assert _end(answers).reason == reason


def test_a_stream_is_measured_once_with_its_end(
    serve: Serve, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str, float | None]] = []
    monkeypatch.setattr(guard, "_answered", lambda *its: told.append(its))
    with serve({LIST: (pb.ListNoticesRequest, _three)}) as guarded, guarded.channel() as channel:
        assert len(list(_open(channel))) == 3
    assert told == [(LIST, "OK", None)]


def test_the_callers_deadline_ends_a_stream_and_its_leaving_ends_the_handler(serve: Serve) -> None:
    left = threading.Event()

    async def wait(call: Call, request: Message) -> AsyncGenerator[Message, None]:
        try:
            yield ANSWER
            await asyncio.sleep(SLOW)
        finally:
            left.set()

    with serve({LIST: (pb.ListNoticesRequest, wait)}) as guarded, guarded.channel() as channel:
        grpc.channel_ready_future(channel).result(PATIENCE)
        error: Any
        with pytest.raises(grpc.RpcError) as caught:
            list(_open(channel, timeout=2.0))
        error = caught.value
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert left.wait(PATIENCE)
        left.clear()
        answers = _open(channel)
        next(answers)
        answers.cancel()
        assert left.wait(PATIENCE)


def test_a_stream_lasts_a_day_at_most(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.rpc.guard.LONGEST_STREAM", 0.2)
    with serve({LIST: (pb.ListNoticesRequest, _silence)}) as guarded, guarded.channel() as channel:
        assert _end(_open(channel, timeout=None)).reason == Reason.DEADLINE_EXCEEDED
