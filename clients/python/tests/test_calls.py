"""Request ids, retries, deadlines and capabilities, on both clients and a real connection."""

import time
import uuid
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from piivault import TLS, Consent, errors, new_root
from piivault.v1 import record_service_pb2 as record_pb
from piivault.v1 import subject_service_pb2 as subject_pb

from .house import PSEUDONYM, House, Sdk, bare, erased, etag, issued, record, refusal

UNAVAILABLE = bare(grpc.StatusCode.UNAVAILABLE)
CANCELLED = bare(grpc.StatusCode.CANCELLED)
EXPIRED = refusal(grpc.StatusCode.PERMISSION_DENIED, "CAPABILITY_EXPIRED")
REQUEST_ID = "0b0e1a2c-3d4e-4f50-8a6b-7c8d9e0f1a2b"


def test_every_call_has_a_request_id_of_its_own(sdk: Sdk, house: House, person: Any) -> None:
    """The broker's too: what it logs must not meet what the worker logs."""
    house.answer("Issue", issued())
    house.answer("Put", etag(subject_pb.SubjectServicePutResponse))
    sdk.do(person.put("accounts", {"city": "Ош"}))
    sdk.do(person.put("accounts", {"city": "Ош"}))
    ids = [seen.request_id for seen in house.seen]
    assert len(set(ids)) == len(ids) == 3
    assert ids == [str(uuid.UUID(id_)) for id_ in ids]


@pytest.mark.parametrize("failure", [UNAVAILABLE, CANCELLED], ids=["unavailable", "cancelled"])
def test_a_write_is_retried_under_the_same_request_id(
    sdk: Sdk, house: House, accounts: Any, failure: Any
) -> None:
    done = etag(record_pb.RecordServicePutResponse)
    house.answer("Put", failure, failure, lambda request, context: done)
    assert sdk.do(accounts.put(PSEUDONYM, {"city": "Ош"})) == "e2"
    assert len(house.seen) == 3
    assert len({seen.request_id for seen in house.seen}) == 1


def test_a_caller_may_repeat_a_write_under_its_request_id(
    sdk: Sdk, house: House, accounts: Any, person: Any
) -> None:
    house.answer("Issue", issued())
    house.answer("Put", etag(record_pb.RecordServicePutResponse))
    house.answer("Erase", erased())
    sdk.do(accounts.put(PSEUDONYM, {"city": "Ош"}, request_id=REQUEST_ID))
    sdk.do(person.erase("accounts", request_id=REQUEST_ID))
    assert house.calls("Put")[0].request_id == house.calls("Erase")[0].request_id == REQUEST_ID


def test_retries_end_after_four_attempts(sdk: Sdk, house: House, accounts: Any) -> None:
    house.answer("Reveal", refusal(grpc.StatusCode.UNAVAILABLE, "KEYS_UNAVAILABLE"))
    with pytest.raises(errors.KeysUnavailable):
        sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    assert len(house.seen) == 4


BUSY = grpc.StatusCode.RESOURCE_EXHAUSTED
FINAL = {
    "denied": (grpc.StatusCode.PERMISSION_DENIED, "NOT_GRANTED", None, errors.NotGranted),
    "asked not to come back": (BUSY, "RATE_LIMITED", -1, errors.RateLimited),
}


@pytest.mark.parametrize(("code", "reason", "pushback", "error"), FINAL.values(), ids=FINAL)
def test_a_refusal_is_not_retried(
    sdk: Sdk, house: House, accounts: Any, code: Any, reason: str, pushback: Any, error: Any
) -> None:
    house.answer("Reveal", refusal(code, reason, pushback=pushback))
    with pytest.raises(error):
        sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    assert len(house.seen) == 1


def test_an_overloaded_server_is_asked_again_when_it_said(
    sdk: Sdk, house: House, accounts: Any
) -> None:
    """Not after the pause that the SDK would have made by itself, which is shorter."""
    times: list[float] = []

    def refuse(request: Any, context: grpc.ServicerContext) -> Any:
        times.append(time.monotonic())
        return refusal(BUSY, "OVERLOADED", pushback=300)(request, context)

    def answer(request: Any, context: grpc.ServicerContext) -> Message:
        times.append(time.monotonic())
        return record(phone="+996555123456")

    house.answer("Reveal", refuse, answer)
    assert sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    first, second = times
    assert second - first >= 0.25


def test_the_deadline_is_the_client_s_or_the_method_s(sdk: Sdk, house: House, portal: TLS) -> None:
    """The server sees how long the caller will wait."""
    waits: list[float] = []

    def note(request: Any, context: grpc.ServicerContext) -> Message:
        waits.append(context.time_remaining())
        return record(phone="+996555123456")

    house.answer("Reveal", note)
    accounts = sdk.open(house.address, portal, timeout=30).compartment("accounts", purpose="x")
    sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))
    sdk.do(accounts.reveal(PSEUDONYM, ["phone"], timeout=50))
    assert 25 < waits[0] < 35 < 45 < waits[1] < 55  # gRPC rounds on the wire


def test_a_capability_is_asked_once_and_kept(sdk: Sdk, house: House, person: Any) -> None:
    house.answer("Issue", issued())
    house.answer("View", subject_pb.ViewResponse())
    assert sdk.do(person.pseudonym("accounts")) == PSEUDONYM
    sdk.do(person.view("accounts"))
    sdk.do(person.view("accounts"))
    assert len(house.calls("Issue")) == 1
    sdk.do(person.view("orders"))
    assert [seen.request.compartment for seen in house.calls("Issue")] == ["accounts", "orders"]


def test_a_capability_is_renewed_shortly_before_it_ends(
    sdk: Sdk, house: House, person: Any
) -> None:
    short = issued("cap_1", timedelta(seconds=5))
    house.answer("Issue", lambda request, context: short, lambda request, context: issued("cap_2"))
    house.answer("View", subject_pb.ViewResponse())
    sdk.do(person.view("accounts"))
    sdk.do(person.view("accounts"))
    assert [seen.request.capability for seen in house.calls("View")] == ["cap_1", "cap_2"]


def test_an_expired_capability_is_renewed_once_under_the_same_request_id(
    sdk: Sdk, house: House, person: Any
) -> None:
    house.answer(
        "Issue", lambda request, context: issued("cap_1"), lambda request, context: issued("cap_2")
    )
    done = etag(subject_pb.SubjectServicePutResponse)
    house.answer("Put", EXPIRED, lambda request, context: done)
    assert sdk.do(person.put("accounts", {"city": "Ош"})) == "e2"
    puts = house.calls("Put")
    assert [seen.request.capability for seen in puts] == ["cap_1", "cap_2"]
    assert puts[0].request_id == puts[1].request_id


def test_a_fresh_assertion_goes_with_every_question_to_the_broker(
    sdk: Sdk, house: House, vault: Any
) -> None:
    """And to nobody else; it isn't asked for while a capability lasts."""
    made: list[str] = []

    def fresh() -> str:
        made.append(f"eyJ.{len(made)}")
        return made[-1]

    short = issued("cap_1", timedelta(seconds=5))
    house.answer("Issue", lambda request, context: short, lambda request, context: issued("cap_2"))
    house.answer("View", subject_pb.ViewResponse())
    person = vault.subject(new_root(), assertion=sdk.function(fresh))
    for _ in range(3):
        sdk.do(person.view("accounts"))
    asked = [seen.request.subject_assertion for seen in house.calls("Issue")]
    assert asked == made == ["eyJ.0", "eyJ.1"]
    assert not any("eyJ" in str(seen.request) for seen in house.calls("View"))


def test_an_assertion_may_be_a_text_or_none(sdk: Sdk, house: House, vault: Any) -> None:
    house.answer("Issue", issued())
    root = new_root()
    for assertion in ("eyJ.1", None):
        sdk.do(vault.subject(root, assertion=assertion).pseudonym("accounts"))
    asked = [(seen.request.root_id, seen.request.subject_assertion) for seen in house.seen]
    assert asked == [(bytes(root), "eyJ.1"), (bytes(root), "")]


def test_an_assertion_that_is_not_made_reaches_the_caller(sdk: Sdk, vault: Any) -> None:
    """What the function raises, as it is: the broker isn't asked."""

    def logged_out() -> str:
        raise PermissionError("nobody is there")

    person = vault.subject(new_root(), assertion=sdk.function(logged_out))
    with pytest.raises(PermissionError, match="nobody is there"):
        sdk.do(person.pseudonym("accounts"))


@pytest.mark.parametrize("assertion", [b"eyJ", 1, ["eyJ"]], ids=["bytes", "number", "list"])
def test_what_is_no_assertion_is_refused_unsent_and_unshown(
    sdk: Sdk, house: House, vault: Any, assertion: Any
) -> None:
    with pytest.raises(errors.InvalidRequest, match="a JWT as a str"):
        vault.subject(new_root(), assertion=assertion)
    person = vault.subject(new_root(), assertion=sdk.function(lambda: assertion))
    with pytest.raises(errors.InvalidRequest) as refused:
        sdk.do(person.pseudonym("accounts"))
    assert "eyJ" not in str(refused.value)
    assert not house.seen


def test_a_capability_that_stays_expired_is_an_error(sdk: Sdk, house: House, person: Any) -> None:
    house.answer("Issue", issued())
    house.answer("View", EXPIRED)
    with pytest.raises(errors.CapabilityExpired):
        sdk.do(person.view("accounts"))
    assert len(house.calls("View")) == 2


def test_an_argument_of_another_kind_is_refused_in_words(
    sdk: Sdk, house: House, person: Any
) -> None:
    """Before the call is sent."""
    house.answer("Issue", issued())
    consent = Consent("account", 1, "ky", b"digest")
    with pytest.raises(errors.InvalidRequest, match="consents is a list"):
        sdk.do(person.grant("accounts", consent))
    for ask in (person.request, person.finish):
        with pytest.raises(errors.InvalidRequest, match="its id, which is bytes"):
            sdk.do(ask("accounts", "0b0e1a2c"))
