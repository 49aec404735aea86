"""Subjects' requests as they are sealed: tests/vectors/request_v1.json, and one length for all."""

import json
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import generate
from vault.crypto.primitives import DamagedError
from vault.crypto.request import (
    RequestKind,
    RequestState,
    SubjectRequest,
    key_version,
    open_request,
    request_id,
    seal_request,
)
from vault.errors import Reason

Vector = dict[str, Any]
raw = bytes.fromhex
VECTORS: Vector = json.loads(
    (Path(generate.__file__).parent / "request_v1.json").read_text(encoding="utf-8")
)
KEY = raw(VECTORS["key"])
TODAY = date(2026, 1, 1)


def each(name: str) -> Callable[[Any], Any]:
    vectors = VECTORS[name]
    return pytest.mark.parametrize("vector", vectors, ids=[v["name"] for v in vectors])


def _open(vector: Vector) -> SubjectRequest:
    return open_request(KEY, raw(vector["compartment"]), raw(vector["id"]), raw(vector["sealed"]))


@each("opened")
def test_a_request_opens(vector: Vector) -> None:
    found = _open(vector)
    kind, state, *_ = vector["says"]
    days = [(day - date(1970, 1, 1)).days for day in (found.opened, found.due)]
    closed = (found.closed - date(1970, 1, 1)).days if found.closed else 0
    assert [found.kind, found.state, *days, closed, found.reason] == vector["says"]
    assert (found.kind, found.state) == (RequestKind(kind), RequestState(state))
    assert key_version(raw(vector["sealed"])) == VECTORS["key_version"]


@each("refused")
def test_what_is_not_the_request_under_its_id_is_refused(vector: Vector) -> None:
    with pytest.raises(DamagedError):
        _open(vector)


def test_a_repetition_has_the_same_id() -> None:
    assert request_id(KEY, *map(raw, VECTORS["id_parts"])) == raw(VECTORS["id"])


def test_all_requests_have_one_length() -> None:
    """The longest reason fits in, and none shows by its length."""
    begun = SubjectRequest(bytes(16), RequestKind.ERASURE, RequestState.OPEN, TODAY, TODAY)
    ended = [begun.ended(RequestState.REFUSED, TODAY, reason) for reason in Reason]
    sealed = [seal_request(KEY, 1, bytes(16), request) for request in (begun, *ended)]
    assert len({len(envelope) for envelope in sealed}) == 1


@pytest.mark.parametrize(("days", "overdue"), [(0, False), (7, False), (8, True)])
def test_it_is_overdue_once_its_day_has_passed(days: int, overdue: bool) -> None:
    due = TODAY + timedelta(days=7)
    begun = SubjectRequest(bytes(16), RequestKind.EXPORT, RequestState.OPEN, TODAY, due)
    today = TODAY + timedelta(days=days)
    assert begun.is_overdue(today) is overdue
    assert not begun.ended(RequestState.DONE, today).is_overdue(today)
