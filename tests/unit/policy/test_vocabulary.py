"""The words of editions."""

from datetime import UTC, datetime
from itertools import combinations_with_replacement

import pytest
from piivault.v1 import types_pb2

from vault.policy import Form, Retention, SubjectKind


def test_forms_and_kinds_are_numbered_as_on_the_wire() -> None:
    for form in Form:
        assert types_pb2.Form.Value(f"FORM_{form.name}") == form.value
    for kind in SubjectKind:
        assert types_pb2.SubjectKind.Value(f"SUBJECT_KIND_{kind.name}") == kind.value


def test_present_shows_least_and_plain_shows_all() -> None:
    """The numbers on the wire run the other way."""
    least_first = [Form.PRESENT, Form.MASKED, Form.PLAIN]
    for less, more in combinations_with_replacement(least_first, 2):
        assert less.within(more)
        assert less.narrower(more) is more.narrower(less) is less
        assert less is more or not more.within(less)


@pytest.mark.parametrize(
    ("period", "start", "end"),
    [
        pytest.param("1 day", (2026, 12, 31), (2027, 1, 1), id="a day"),
        pytest.param("2 weeks", (2026, 2, 20), (2026, 3, 6), id="two weeks"),
        pytest.param("1 month", (2026, 1, 31), (2026, 2, 28), id="a short month"),
        pytest.param("1 month", (2028, 1, 31), (2028, 2, 29), id="a leap year"),
        pytest.param("12 months", (2026, 1, 31), (2027, 1, 31), id="twelve months"),
        pytest.param("11 months", (2026, 1, 31), (2026, 12, 31), id="to December"),
        pytest.param("3 years", (2028, 2, 29), (2031, 2, 28), id="from a leap day"),
        pytest.param("999 years", (2026, 1, 1), (3025, 1, 1), id="the longest"),
    ],
)
def test_retention_counts_calendar_units(
    period: str, start: tuple[int, int, int], end: tuple[int, int, int]
) -> None:
    begun, over = datetime(*start, 12, tzinfo=UTC), datetime(*end, 12, tzinfo=UTC)
    assert Retention.parse(period).end(begun) == over
    assert str(Retention.parse(period)) == period
