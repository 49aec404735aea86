"""Dataclasses that the type checker alone keeps frozen: else they are as frozen ones are."""

import pytest

from vault.crypto.record import Value
from vault.service.call import Trace

PLANTED = "Токтогулова"


def test_they_are_equal_and_hashed_by_what_they_hold() -> None:
    one, same, other = (Value(uid, "name", PLANTED, 0) for uid in (1, 1, 2))
    assert one == same != other
    assert {one, same, other} == {one, other}


def test_what_is_to_be_hidden_is() -> None:
    assert PLANTED not in repr(Value(1, "name", PLANTED, 0))


def test_what_may_change_has_no_hash() -> None:
    with pytest.raises(TypeError, match="unhashable"):
        hash(Trace())


def test_the_type_checker_refuses_to_change_one() -> None:
    """`make lint` fails here if it doesn't: what is to be ignored must be there."""
    value = Value(1, "name", PLANTED, 0)
    value.uid = 2  # type: ignore[misc]
