"""Rows of an import on their way: which may be sent, which are tried again, when it stops."""

import pytest
from piivault import PiivaultError, errors

from vault.cli.bulk_import import Sending
from vault.cli.import_rows import Row, RowError

AWAY = errors.StorageUnavailable("Retry.")
WRONG = errors.InvalidValue("No date.")


def _busy(seconds: float) -> PiivaultError:
    return errors.RateLimited("Too often.", retry_after=seconds)


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What is slept."""
    slept: list[float] = []
    monkeypatch.setattr("vault.cli.bulk_import.sleep", slept.append)
    return slept


def _sending(pseudonyms: str) -> Sending:
    """Send a row a letter, of the record of that name; "!" is one that can't be sent."""
    rows = (
        (line, RowError("Is no CSV.")) if name == "!" else Row(line, name, {})
        for line, name in enumerate(pseudonyms, 1)
    )
    return Sending(rows)


def _sent(sending: Sending, *outcomes: PiivaultError | None) -> list[int]:
    """Send what is ready, then answer it as the outcomes say, the rest well; return the lines."""
    lines = [row.line for row in sending.ready()]
    for outcome in [*outcomes, *[None] * (len(lines) - len(outcomes))]:
        sending.answered(outcome)
    sending.pause()
    return lines


ORDERS: dict[str, tuple[str, list[list[int]]]] = {
    "of different records": ("abc", [[1, 2, 3]]),
    "of one": ("aaa", [[1], [2], [3]]),
    "two and two": ("abab", [[1, 2], [3, 4]]),
    "one waits, others go ahead": ("aabc", [[1, 3, 4], [2]]),
    "with one that can't be sent": ("a!b", [[1, 3]]),
    "none": ("", [[]]),
    "more than may wait": ("a" * 66 + "b", [[n] for n in range(1, 3)] + [[3, 67]]),
}


@pytest.mark.parametrize(("pseudonyms", "passes"), ORDERS.values(), ids=ORDERS)
def test_of_one_record_one_row_is_under_way_and_they_keep_their_order(
    pauses: list[float], pseudonyms: str, passes: list[list[int]]
) -> None:
    sending = _sending(pseudonyms)
    assert [_sent(sending) for _ in passes] == passes
    while sending.left:
        assert len(_sent(sending)) == 1
    assert sending.done == len(pseudonyms) - sending.failed
    assert pauses == []


def test_a_waiting_row_goes_as_soon_as_the_one_before_it_is_answered() -> None:
    sending = _sending("aab")
    ready = sending.ready()
    assert [next(ready).line, next(ready).line] == [1, 3]
    sending.answered(None)
    assert next(ready).line == 2


def test_a_row_is_tried_again_before_those_of_its_record_that_come_after_it(
    pauses: list[float],
) -> None:
    sending = _sending("aaba")
    assert _sent(sending, AWAY) == [1, 3]
    assert [_sent(sending) for _ in range(3)] == [[1], [2], [4]]
    assert (sending.done, sending.failed, pauses) == (4, 0, [0.5])


def test_after_trouble_nothing_is_sent_before_the_pause(pauses: list[float]) -> None:
    sending = _sending("abc")
    ready = sending.ready()
    next(ready)
    sending.answered(AWAY)
    assert list(ready) == []
    sending.pause()
    assert [row.line for row in sending.ready()] == [1, 2, 3]


def test_where_a_row_failed_those_of_its_record_fail_too(
    pauses: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """Else a second run, of the mended row, would put the older value over the newer one."""
    sending = _sending("aaba")
    assert _sent(sending, WRONG) == [1, 3]
    assert _sent(sending) == []
    assert (sending.done, sending.failed, sending.left) == (1, 3, False)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "line 1: INVALID_VALUE: No date."
    assert [line.endswith("as line 1, which failed.") for line in said[1:]] == [True, True]


WAITS: dict[str, tuple[list[PiivaultError], list[float]]] = {
    "as it says": ([_busy(7.5)], [7.5]),
    "the longest that it says": ([_busy(2), _busy(9), AWAY], [9]),
    "longer than it says, at last": ([_busy(0.1)], [0.5]),
    "of its own": ([AWAY], [0.5]),
}


@pytest.mark.parametrize(("outcomes", "slept"), WAITS.values(), ids=WAITS)
def test_it_comes_back_when_the_server_says(
    pauses: list[float], outcomes: list[PiivaultError], slept: list[float]
) -> None:
    sending = _sending("abcd")
    _sent(sending, *outcomes)
    assert pauses == slept
    assert len(_sent(sending)) == len(outcomes)
    assert (sending.done, sending.failed, sending.left) == (4, 0, False)


def test_a_row_that_fails_again_and_again_fails_and_the_rest_goes_on(pauses: list[float]) -> None:
    sending = _sending("abcdefg")
    for line in range(2, 7):
        ready = sending.ready()
        assert [next(ready).line, next(ready).line] == [1, line]
        sending.answered(AWAY)
        sending.answered(None)
        sending.pause()
    assert _sent(sending) == [7]
    assert (sending.done, sending.failed, sending.stopped) == (6, 1, "")


def test_it_stops_where_the_time_is_far_off(pauses: list[float]) -> None:
    sending = _sending("abb")
    assert _sent(sending, None, _busy(3600)) == [1, 2]
    assert (sending.done, sending.failed, sending.left) == (1, 2, False)
    assert "Stopped after line 3, " in sending.stopped
    assert "again in 3,600 s" in sending.stopped
    assert pauses == []


def test_it_stops_where_nothing_can_be_put(pauses: list[float]) -> None:
    sending = _sending("ab" + "c" * 3)
    for _ in range(5):
        assert sending.left
        assert _sent(sending, AWAY, AWAY, AWAY) == [1, 2, 3]
    assert pauses == [0.5, 1, 2, 4]
    assert (sending.done, sending.failed, sending.left) == (0, 5, False)


def test_a_stream_that_breaks_is_trouble_of_all_that_was_under_way(pauses: list[float]) -> None:
    sending = _sending("abc")
    ready = sending.ready()
    lines = [next(ready).line for _ in range(3)]
    sending.answered(None)
    sending.broke_off(errors.ConnectionFailed("Broken."))
    sending.pause()
    assert lines == [1, 2, 3]
    assert _sent(sending) == [2, 3]
    assert (sending.done, pauses) == (3, [0.5])
