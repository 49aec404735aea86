"""Every refusal becomes the exception that says what happened, and shows nothing else."""

import inspect
import pickle
import re
import uuid
from pathlib import Path
from typing import Any

import grpc
import pytest
from piivault import TLS, errors
from piivault._errors import BY_REASON, from_item
from piivault.errors import PiivaultError
from piivault.v1 import types_pb2
from piivault.v1.errors_pb2 import ErrorReason

from .house import PSEUDONYM, Answer, House, Sdk, bare, refusal

CODE = grpc.StatusCode
CLASSES = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, PiivaultError)]


def documented_code(number: int) -> grpc.StatusCode:
    """The code that the reasons of this range stand behind, as errors.proto groups them."""
    codes = {0: CODE.INVALID_ARGUMENT, 20: CODE.UNAUTHENTICATED, 30: CODE.PERMISSION_DENIED}
    codes |= {40: CODE.NOT_FOUND, 42: CODE.ALREADY_EXISTS, 50: CODE.FAILED_PRECONDITION}
    codes |= {54: CODE.ABORTED, 60: CODE.RESOURCE_EXHAUSTED, 62: CODE.DEADLINE_EXCEEDED}
    codes |= {70: CODE.UNAVAILABLE, 80: CODE.DATA_LOSS, 81: CODE.INTERNAL}
    return codes[max(start for start in codes if start <= number)]


REASONS = {
    name.removeprefix("ERROR_REASON_"): documented_code(number)
    for name, number in ErrorReason.items()
    if number != ErrorReason.ERROR_REASON_UNSPECIFIED
}


def reveal(sdk: Sdk, house: House, portal: TLS) -> Any:
    vault = sdk.open(house.address, portal)
    accounts = vault.compartment("accounts", purpose="services")
    return sdk.do(accounts.reveal(PSEUDONYM, ["phone"]))


def caught(sdk: Sdk, house: House, portal: TLS, answer: Answer) -> PiivaultError:
    house.answer("Reveal", answer)
    with pytest.raises(PiivaultError) as error:
        reveal(sdk, house, portal)
    assert error.value.__suppress_context__, "raised without `from None`"
    assert error.value.request_id == house.calls("Reveal")[0].request_id
    return error.value


def test_every_reason_has_its_class() -> None:
    assert BY_REASON.keys() == REASONS.keys()


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_arrives_as_its_class(
    sdk: Sdk, house: House, portal: TLS, reason: str
) -> None:
    error = caught(sdk, house, portal, refusal(REASONS[reason], reason))
    assert type(error) is BY_REASON[reason]
    assert (error.reason, error.message) == (reason, "A sentence for people.")
    assert error.retryable == (
        REASONS[reason] in {CODE.UNAVAILABLE, CODE.RESOURCE_EXHAUSTED, CODE.DEADLINE_EXCEEDED}
    )
    assert str(error) == f"{reason}: A sentence for people. (request id {error.request_id})"


def test_violations_and_retry_times_arrive(sdk: Sdk, house: House, portal: TLS) -> None:
    error = caught(
        sdk,
        house,
        portal,
        refusal(
            CODE.INVALID_ARGUMENT,
            "INVALID_VALUE",
            violations={"fields.email": "isn't an e-mail address"},
            retry_after=7,
        ),
    )
    assert error.violations == {"fields.email": "isn't an e-mail address"}
    assert error.retry_after == 7
    assert "fields.email: isn't an e-mail address" in str(error)


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        (refusal(CODE.NOT_FOUND, "LOST_IN_2031"), errors.NotFound, "LOST_IN_2031"),
        (refusal(CODE.OUT_OF_RANGE, "ODD_IN_2031"), errors.InternalError, "ODD_IN_2031"),
        (
            refusal(CODE.PERMISSION_DENIED, "NOT_GRANTED", domain="mesh.example"),
            errors.PermissionDenied,
            "PERMISSION_DENIED",
        ),
        (bare(CODE.PERMISSION_DENIED), errors.PermissionDenied, "PERMISSION_DENIED"),
        (bare(CODE.UNIMPLEMENTED), errors.InternalError, "UNIMPLEMENTED"),
        (bare(CODE.UNKNOWN), errors.InternalError, "UNKNOWN"),
        (bare(CODE.RESOURCE_EXHAUSTED), errors.TooBusy, "RESOURCE_EXHAUSTED"),
        (bare(CODE.UNAVAILABLE), errors.ConnectionFailed, "CONNECTION_LOST"),
        (bare(CODE.CANCELLED), errors.ConnectionFailed, "CONNECTION_LOST"),
        (bare(CODE.DEADLINE_EXCEEDED), errors.DeadlineExceeded, "DEADLINE_EXCEEDED"),
    ],
    ids=[
        "a newer server's reason",
        "a newer server's reason and code",
        "another domain's",
        "a proxy's denial",
        "not piivault",
        "unknown",
        "a proxy's limit",
        "a proxy's unavailable",
        "a draining server's",
        "a proxy's deadline",
    ],
)
def test_a_status_without_a_known_reason_falls_back_to_its_code(
    sdk: Sdk, house: House, portal: TLS, answer: Answer, kind: type[PiivaultError], reason: str
) -> None:
    error = caught(sdk, house, portal, answer)
    assert type(error) is kind
    assert error.reason == reason
    assert "planted" not in str(error)  # a foreign text isn't passed on


def test_details_that_are_no_status_are_left_alone(sdk: Sdk, house: House, portal: TLS) -> None:
    def garbage(request: Any, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\xff\xff"),))
        context.abort(CODE.NOT_FOUND, "planted-value")

    error = caught(sdk, house, portal, garbage)
    assert (type(error), error.reason) == (errors.NotFound, "NOT_FOUND")


def test_an_item_s_refusal_is_the_same_class_as_a_status() -> None:
    item = types_pb2.ItemError(
        reason=ErrorReason.ERROR_REASON_KEYS_UNAVAILABLE, message="Later.", retryable=True
    )
    error = from_item(item, request_id="0b0e")
    assert isinstance(error, errors.KeysUnavailable)
    assert (error.reason, error.retryable, error.retry_after) == ("KEYS_UNAVAILABLE", True, None)
    item.retry_delay.FromMilliseconds(1500)
    assert from_item(item, request_id="0b0e").retry_after == 1.5
    assert str(error) == "KEYS_UNAVAILABLE: Later. (request id 0b0e)"


def test_an_item_s_refusal_may_be_a_newer_server_s() -> None:
    error = from_item(types_pb2.ItemError(reason=999, message="New."), request_id="0b0e")  # type: ignore[arg-type]
    assert (type(error), error.reason) == (PiivaultError, "REASON_999")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """Read the drawing back, indentation by indentation, and compare it with the classes."""
    drawn: dict[str, str] = {}
    branch: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([ │├└─]*)([A-Z]\w+)( \*)?", line)
        if match:
            depth = len(match[1]) // 4
            branch = [*branch[:depth], match[2]]
            drawn[match[2]] = f"{branch[-2] if depth else 'Exception'}{match[3] or ''}"
    assert drawn == {
        kind.__name__: f"{kind.__mro__[1].__name__}{' *' if kind.default_retryable else ''}"
        for kind in CLASSES
    }


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_crosses_processes_whole(kind: type[PiivaultError]) -> None:
    error = kind(
        "Why.", reason="R", request_id=str(uuid.uuid4()), violations={"a": "b"}, retry_after=1.5
    )
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), vars(copied), str(copied)) == (kind, vars(error), str(error))


def test_the_readme_names_every_error() -> None:
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert {kind.__name__ for kind in CLASSES} <= set(re.findall(r"\w+", readme))
