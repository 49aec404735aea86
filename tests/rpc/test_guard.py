"""The guard, over real gRPC with real TLS: what comes in, and above all what gets out."""

import asyncio
import logging
import threading
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import subject_service_pb2 as pb

from tests.rpc.conftest import DEFAULT_DEADLINE, OFFICER, Serve
from tests.wire import PATIENCE, Refusal, refusal_of, refused, send, send_bytes
from vault.errors import Reason, VaultError
from vault.rpc.guard import Guard
from vault.rpc.status import REQUEST_ID
from vault.service.call import Call
from vault.service.refusals import Asked

LIST = "/piivault.v1.SubjectService/ListNotices"
PLANTED = "planted-Токтогулова-+996555123456"
REQUEST = pb.ListNoticesRequest(compartment=PLANTED)
SLOW = 3600.0  # seconds


async def _answer(call: Call, request: pb.ListNoticesRequest) -> pb.ListNoticesResponse:
    return pb.ListNoticesResponse()


async def _never(call: Call, request: pb.ListNoticesRequest) -> NoReturn:
    await asyncio.sleep(SLOW)
    raise AssertionError("the deadline passes before")


def _raising(error: Exception) -> Callable[[Call, Any], Awaitable[Message]]:
    async def handler(call: Call, request: Message) -> Message:
        raise error

    return handler


class _Unserialisable:
    """Stands for an answer whose serialising fails with its contents in the text."""

    def SerializeToString(self) -> NoReturn:
        raise ValueError(PLANTED)


class _Unparsable:
    """Stands for a message type whose parser fails with the bytes in the text."""

    @staticmethod
    def FromString(body: bytes) -> NoReturn:
        raise ValueError(PLANTED, body)


async def _unserialisable(call: Call, request: Message) -> Any:
    return _Unserialisable()


async def _answer_with_text(call: Call, request: Message) -> Any:
    return PLANTED


def _outcome(channel: grpc.Channel, body: bytes, timeout: float | None = PATIENCE) -> Refusal:
    with pytest.raises(grpc.RpcError) as caught:
        send_bytes(channel, LIST, body, timeout=timeout)
    return refusal_of(caught.value)


UNFORESEEN: dict[str, tuple[Any, Any]] = {
    "a handler's exception": (pb.ListNoticesRequest, _raising(RuntimeError(PLANTED))),
    "a handler's exception with a cause": (
        pb.ListNoticesRequest,
        _raising(ExceptionGroup(PLANTED, [KeyError(PLANTED)])),
    ),
    "an exception in parsing": (_Unparsable, _answer),
    "an exception in serialising": (pb.ListNoticesRequest, _unserialisable),
    "an answer that is no message": (pb.ListNoticesRequest, _answer_with_text),
}


@pytest.mark.parametrize(("request_type", "handler"), UNFORESEEN.values(), ids=UNFORESEEN)
def test_an_unforeseen_exception_is_internal_and_its_text_goes_nowhere(
    serve: Serve, caplog: pytest.LogCaptureFixture, request_type: Any, handler: Any
) -> None:
    """Neither to the client nor into the log, which names its class and where it arose."""
    caplog.set_level(logging.DEBUG)
    with serve({LIST: (request_type, handler)}) as guarded, guarded.channel() as channel:
        refusal = _outcome(channel, REQUEST.SerializeToString())
    assert refusal.reason == Reason.INTERNAL
    logged = caplog.text
    assert PLANTED not in refusal.seen + logged
    assert f"request {refusal.request_id}" in logged
    assert "unforeseen" in logged
    assert "guard.py" in logged


def test_what_goes_wrong_in_noting_a_refusal_changes_no_answer(
    serve: Serve, guard: Guard, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(asked: Asked, error: VaultError) -> None:
        raise RuntimeError(PLANTED)

    guard._refused = fail
    with serve({LIST: (pb.ListNoticesRequest, _answer)}) as guarded, guarded.channel() as channel:
        refusal = _outcome(channel, b"\xff")
    assert refusal.reason == Reason.MALFORMED_REQUEST
    assert PLANTED not in refusal.seen + caplog.text


MALFORMED = {
    "no message": b"\xff\xff\xff",
    "text that isn't UTF-8": b"\x0a\x02\xc3\x28",
    "a cut-off message": b"\x0a\x7f" + PLANTED.encode(),
    "a group that never ends": b"\x0b",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_bytes_that_are_no_message_are_malformed(serve: Serve, body: bytes) -> None:
    with (
        serve({LIST: (pb.ListNoticesRequest, _answer)}) as guarded,
        guarded.channel() as channel,
    ):
        refusal = _outcome(channel, body)
    assert refusal.reason == Reason.MALFORMED_REQUEST
    assert "piivault.v1.ListNoticesRequest" in refusal.message
    assert PLANTED not in refusal.seen


def test_a_method_without_a_row_is_denied_to_everybody(serve: Serve) -> None:
    """Its handler is never reached, although it is registered."""
    method = "/piivault.v1.SubjectService/Impersonate"
    handler = _raising(AssertionError("reached"))
    with serve({method: (pb.ListNoticesRequest, handler)}) as guarded:
        for caller in ("portal", "orders", "officer/aida"):
            with guarded.channel(f"spiffe://oshto.kg/{caller}") as channel:
                with pytest.raises(grpc.RpcError) as caught:
                    send_bytes(channel, method, b"")
                assert refusal_of(caught.value).reason == Reason.METHOD_NOT_ALLOWED


CALLERS = {
    "a subject-facing service": ("spiffe://oshto.kg/portal", None),
    "an internal service": ("spiffe://oshto.kg/orders", Reason.METHOD_NOT_ALLOWED),
    "an officer": (OFFICER, Reason.METHOD_NOT_ALLOWED),
    "nobody in the edition": ("spiffe://oshto.kg/nobody", Reason.IDENTITY_UNKNOWN),
    "a service of another trust domain": ("spiffe://osh.example/portal", Reason.IDENTITY_UNKNOWN),
    "a name that only begins alike": ("spiffe://oshto.kg/portal/x", Reason.IDENTITY_UNKNOWN),
    "a name in other letters": ("spiffe://oshto.kg/Portal", Reason.IDENTITY_UNKNOWN),
}


@pytest.mark.parametrize(("spiffe", "reason"), CALLERS.values(), ids=CALLERS)
def test_a_method_is_for_the_callers_in_its_row(
    serve: Serve, spiffe: str, reason: Reason | None
) -> None:
    with (
        serve({LIST: (pb.ListNoticesRequest, _answer)}) as guarded,
        guarded.channel(spiffe) as channel,
    ):
        if reason is None:
            assert send(channel, pb.ListNoticesRequest()) == pb.ListNoticesResponse()
        else:
            assert refused(channel, pb.ListNoticesRequest()).reason == reason


def test_who_may_not_call_has_nothing_parsed(serve: Serve) -> None:
    """The refusal of a stranger says nothing of the bytes that they sent."""
    with (
        serve({LIST: (_Unparsable, _answer)}) as guarded,  # type: ignore[dict-item]
        guarded.channel("spiffe://oshto.kg/nobody") as channel,
    ):
        assert _outcome(channel, b"\xff").reason == Reason.IDENTITY_UNKNOWN


def test_a_missing_deadline_is_the_default_one(serve: Serve) -> None:
    with (
        serve({LIST: (pb.ListNoticesRequest, _never)}) as guarded,
        guarded.channel() as channel,
    ):
        refusal = _outcome(channel, b"", timeout=None)
    assert refusal.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert refusal.reason == Reason.DEADLINE_EXCEEDED


def test_a_generous_deadline_is_capped(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vault.rpc.guard.LONGEST_DEADLINE", 0.2)
    with (
        serve({LIST: (pb.ListNoticesRequest, _never)}) as guarded,
        guarded.channel() as channel,
    ):
        assert _outcome(channel, b"", timeout=SLOW).reason == Reason.DEADLINE_EXCEEDED


def test_the_callers_own_deadline_holds(serve: Serve) -> None:
    """It may be shorter than the default, and the handler is left then."""
    left = threading.Event()

    async def wait(call: Call, request: Message) -> Message:
        try:
            await asyncio.sleep(SLOW)
        finally:
            left.set()
        raise AssertionError("the deadline passes before")

    with serve({LIST: (pb.ListNoticesRequest, wait)}) as guarded, guarded.channel() as channel:
        grpc.channel_ready_future(channel).result(PATIENCE)
        with pytest.raises(grpc.RpcError) as caught:
            send_bytes(channel, LIST, b"", timeout=DEFAULT_DEADLINE / 2)
        error: Any = caught.value
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert left.wait(PATIENCE)


def _metadata_of(channel: grpc.Channel, request_id: str | None) -> str:
    """Send a request and return the request id that came back with the answer."""
    metadata = ((REQUEST_ID, request_id),) if request_id is not None else ()
    call: Any = channel.unary_unary(LIST)
    _, answered = call.with_call(b"", metadata=metadata, timeout=PATIENCE)
    return str(dict(answered.trailing_metadata())[REQUEST_ID])


OWN_ID = "0b0e1a2c-54f1-4f0e-9d0b-6d2f3c1a9e77"
REQUEST_IDS = {
    "none": None,
    "empty": "",
    "a name": "aigul",
    "an e-mail address": "aigul@example.kg",
    "in capitals": OWN_ID.upper(),
    "too long": OWN_ID + "0",
    "in braces": f"{{{OWN_ID}}}",
}


def test_an_answer_carries_the_callers_request_id(serve: Serve) -> None:
    with (
        serve({LIST: (pb.ListNoticesRequest, _answer)}) as guarded,
        guarded.channel() as channel,
    ):
        assert _metadata_of(channel, OWN_ID) == OWN_ID


@pytest.mark.parametrize("given", REQUEST_IDS.values(), ids=REQUEST_IDS)
def test_whatever_is_no_uuid_is_replaced_by_one(
    serve: Serve, caplog: pytest.LogCaptureFixture, given: str | None
) -> None:
    """So nothing personal rides along into logs and the trail, and such a call isn't repeatable."""
    caplog.set_level(logging.DEBUG)
    repeatable: list[bool] = []

    async def look(call: Call, request: Message) -> Message:
        repeatable.append(call.repeatable)
        return pb.ListNoticesResponse()

    with serve({LIST: (pb.ListNoticesRequest, look)}) as guarded, guarded.channel() as channel:
        drawn = _metadata_of(channel, given)
    assert drawn != given
    assert str(uuid.UUID(drawn)) == drawn
    assert repeatable == [False]
    assert not given or given not in caplog.text


def test_a_refusal_says_what_the_handler_said(serve: Serve) -> None:
    """With violations and when to come back, and in letters of any language."""
    error = VaultError(
        Reason.RATE_LIMITED,
        "Өтө көп: кийинчерээк келиңиз.",
        violations={"fields.email": "is taken", "fields.phone": "is no number"},
        retry_after=1.5,
    )
    with (
        serve({LIST: (pb.ListNoticesRequest, _raising(error))}) as guarded,
        guarded.channel() as channel,
    ):
        refusal = refused(channel, REQUEST)
    assert refusal.code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert refusal.message == error.message
    assert refusal.violations == error.violations
    assert refusal.retry_after == pytest.approx(1.5, abs=0.01)


def test_each_call_is_one_line_in_the_log(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "piivault.rpc")
    error = VaultError(Reason.NOT_FOUND, "Nothing is there.")
    with (
        serve({LIST: (pb.ListNoticesRequest, _raising(error))}) as guarded,
        guarded.channel() as channel,
    ):
        refused(channel, REQUEST, OWN_ID)
    (line,) = [r.getMessage() for r in caplog.records if r.name == "piivault.rpc"]
    assert line.startswith(f"{LIST} caller=portal reason=NOT_FOUND request={OWN_ID} ms=")
