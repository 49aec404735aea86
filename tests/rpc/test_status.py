"""What a refusal looks like: one list of reasons, in the proto, in the code and on the wire."""

import re
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from piivault.v1.errors_pb2 import ErrorReason

from vault.errors import Reason, VaultError
from vault.rpc.status import CODE_OF, details, is_retryable
from vault.rpc.wire import error_out

PROTO = Path(__file__).parents[2] / "protos/piivault/v1/errors.proto"
_DOCUMENTED = re.compile(r"// ([A-Z_]+)\. .+\n\s*ERROR_REASON_([A-Z_]+) = \d+;")


def test_every_reason_stands_in_the_proto_and_no_other_does() -> None:
    sent = {name.removeprefix("ERROR_REASON_") for name, _ in ErrorReason.items()} - {"UNSPECIFIED"}
    assert sent == {reason.value for reason in Reason}


def test_every_reason_has_the_code_that_the_proto_documents() -> None:
    documented = {name: code for code, name in _DOCUMENTED.findall(PROTO.read_text())}
    assert documented == {reason.value: code.name for reason, code in CODE_OF.items()}
    assert CODE_OF.keys() == set(Reason)


def test_a_reason_is_written_in_words_that_a_caller_can_look_up() -> None:
    assert all(reason.value == reason.name for reason in Reason)


def test_a_call_may_be_repeated_unchanged_where_the_fault_was_not_in_it() -> None:
    """What the server retries for a caller, the SDK retries: the codes and the flag agree."""
    passing = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
    assert {r for r in Reason if is_retryable(r)} == {r for r in Reason if CODE_OF[r] in passing}


@pytest.mark.parametrize("seconds", [0.0, 0.001, 1.5, 3600.0])
def test_when_to_come_back_is_never_rounded_down(seconds: float) -> None:
    error = VaultError(Reason.RATE_LIMITED, "Too often.", retry_after=seconds)
    status = status_pb2.Status.FromString(details(error, "id"))
    retry = error_details_pb2.RetryInfo()
    assert [detail.Unpack(retry) for detail in status.details] == [False, True]
    assert seconds <= retry.retry_delay.ToTimedelta().total_seconds() <= seconds + 0.01
    assert error_out(error).retry_delay == retry.retry_delay  # of one item of many, too


def test_an_item_s_refusal_says_nothing_of_a_time_that_nobody_knows() -> None:
    assert not error_out(VaultError(Reason.STORAGE_UNAVAILABLE, "Later.")).HasField("retry_delay")


def test_an_error_without_violations_carries_error_info_alone() -> None:
    status = status_pb2.Status.FromString(details(VaultError(Reason.NOT_FOUND, "No."), "id"))
    (only,) = status.details
    info = error_details_pb2.ErrorInfo()
    assert only.Unpack(info)
    assert (info.reason, info.domain, dict(info.metadata)) == (
        "NOT_FOUND",
        "piivault",
        {"request_id": "id"},
    )
