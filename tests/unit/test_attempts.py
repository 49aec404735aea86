"""The table that the attack suite prints at its end."""

from typing import Literal

import pytest

from tests.attack.attempts import (
    CONTROL,
    REFUSED,
    RESIDUAL,
    Attempts,
    Gathering,
    Wall,
    linked,
    noted,
    table,
)


def test_notes_become_a_table() -> None:
    properties: list[tuple[str, object]] = [("another", 1)]
    attempts = Attempts(properties)
    for target in ("one", "two"):
        attempts.record(Wall.KEYS, "use a key", target, REFUSED)
    attempts.record(Wall.KEYS, "use a key", "its own", CONTROL)
    attempts.record(Wall.DUMPS, "link by order", "all", linked(3, 1000))
    attempts.record(Wall.DUMPS, "link by order", "no order", linked(999, 1000, CONTROL))
    lines = [line.split() for line in table(noted(properties)).splitlines()]
    assert ["5", "keys", "use", "a", "key", "2", "2", "1"] in lines
    assert [
        "7",
        "dumps",
        "link",
        "by",
        "order",
        "1",
        "3",
        "of",
        "1000",
        "999",
        "of",
        "1000",
    ] in lines
    assert ["all", "3", "2", "1", "2"] in lines


def test_a_guess_that_no_wall_stops_is_told_among_residuals() -> None:
    properties: list[tuple[str, object]] = []
    attempts = Attempts(properties)
    attempts.record(Wall.DUMPS, "link by length", "all", linked(7, 1000, RESIDUAL))
    attempts.record(Wall.DUMPS, "link by length", "steps", linked(41, 1000, CONTROL))
    lines = [" ".join(line.split()) for line in table(noted(properties)).splitlines()]
    assert "7 dumps link by length 1 7 of 1000 41 of 1000" in lines
    assert "all 1 1 1" in lines


@pytest.mark.parametrize(("outcome", "counted"), [("passed", 1), ("failed", 0), ("skipped", 0)])
def test_only_a_test_that_passes_counts(
    outcome: Literal["passed", "failed", "skipped"], counted: int
) -> None:
    properties: list[tuple[str, object]] = []
    Attempts(properties).record(Wall.KEYS, "use a key", "one", REFUSED)
    gathering = Gathering()
    report = pytest.TestReport(
        "a test", ("a file", 1, "a test"), {}, outcome, None, "call", user_properties=properties
    )
    gathering.pytest_runtest_logreport(report)
    assert len(gathering.notes) == counted


@pytest.mark.parametrize("result", ["", "succeeded", "refused?", "linked some of 10"])
def test_a_result_is_one_that_is_known(result: str) -> None:
    with pytest.raises(ValueError, match="no result of an attempt"):
        Attempts([]).record(Wall.API, "attack", "target", result)
