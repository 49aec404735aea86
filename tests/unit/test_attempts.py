"""The table that the attack suite prints at its end."""

import pytest

from tests.attack.attempts import CONTROL, REFUSED, Attempts, Wall, linked, noted, table


def test_notes_become_a_table() -> None:
    properties: list[tuple[str, object]] = [("another", 1)]
    attempts = Attempts(properties)
    for target in ("one", "two"):
        attempts.record(Wall.KEYS, "use a key", target, REFUSED)
    attempts.record(Wall.KEYS, "use a key", "its own", CONTROL)
    attempts.record(Wall.DUMPS, "link by order", "all", linked(3, 1000))
    attempts.record(Wall.DUMPS, "link by order", "no order", linked(999, 1000, control=True))
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


@pytest.mark.parametrize("result", ["", "succeeded", "refused?", "linked some of 10"])
def test_a_result_is_one_that_is_known(result: str) -> None:
    with pytest.raises(ValueError, match="no result of an attempt"):
        Attempts([]).record(Wall.API, "attack", "target", result)
