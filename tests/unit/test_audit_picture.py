"""The picture of a summary, and how times are written on the command line."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from xml.etree import ElementTree

import click
import pytest
from piivault.auditors import Alike

from vault.cli.audit_options import Length, Moment
from vault.cli.audit_picture import Window, bucket_for, picture

SINCE = datetime(2027, 1, 19, 14, 40, tzinfo=UTC)
DAY = Window(SINCE, SINCE + timedelta(days=1), 1800)
SVG = "{http://www.w3.org/2000/svg}"


def _at(place: int, **parts: str) -> Alike:
    said = {"service": "orders", "purpose": "services", "operation": "reveal", "outcome": "allowed"}
    return Alike(DAY.begins(place), **{**said, **parts})


def _drawn(counted: Mapping[Alike, int], window: Window = DAY) -> tuple[list[str], list[str]]:
    """Return the picture's texts, and what is said where one points."""
    root = ElementTree.fromstring(picture("accounts", window, counted))
    return (
        ["".join(text.itertext()) for text in root.iter(f"{SVG}text")],
        ["".join(title.itertext()) for title in root.iter(f"{SVG}title")],
    )


def test_reveals_and_denials_are_drawn_and_nothing_else() -> None:
    texts, titles = _drawn({
        _at(0): 1200, _at(3): 7, _at(3, service="support", purpose="account"): 5,
        _at(3, outcome="denied"): 4, _at(4, operation="put", outcome="denied"): 2,
        _at(5, operation="put"): 99, _at(5, outcome="failed"): 99,
    })  # fmt: skip
    assert "Reveals1,212" in texts
    assert "Denials6" in texts
    assert "orders · services1,207 reveals, 6 denials" in texts
    assert "support · account5 reveals, 0 denials" in texts
    assert "2027-01-19 16:00: 12" in titles
    assert "2027-01-19 16:00: 4" in titles
    assert "2027-01-19 16:30: 2" in titles
    assert not [title for title in titles if "99" in title]


def test_callers_whom_no_edition_knows_are_drawn_as_one() -> None:
    stranger = {"purpose": "", "outcome": "denied"}
    texts, _ = _drawn({
        **{_at(0, service=f"spiffe://oshto.kg/{'x' * i}", **stranger): 1 for i in range(1, 50)},
        _at(1, service="unknown caller", operation="", **stranger): 100,
    })  # fmt: skip
    assert "unknown caller0 reveals, 149 denials" in texts
    assert not [text for text in texts if "spiffe" in text]


def test_a_summary_of_nothing_says_so() -> None:
    texts, _ = _drawn({})
    assert texts.count("none") == 2


def test_the_busiest_have_colours_and_the_rest_share_one() -> None:
    counted = {_at(i, service=f"s{i:02}", purpose=""): 100 - i for i in range(20)}
    texts, titles = _drawn(counted)
    assert "s06" in " ".join(texts)
    assert f"13 others{sum(100 - i for i in range(7, 20)):,} reveals, 0 denials" in texts
    assert "s19: 81" in titles


def test_names_are_escaped() -> None:
    _, titles = _drawn({_at(0, service="<script>&"): 1})
    assert "<script>& · services: 1" in titles


def test_what_is_outside_the_window_is_left_out() -> None:
    texts, _ = _drawn({_at(-1): 5, _at(49): 5})
    assert "Reveals0" in texts


def test_too_many_bars_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 400 bars"):
        picture("accounts", Window(SINCE, SINCE + timedelta(days=1), 60), {})


@pytest.mark.parametrize("days", [0.001, 0.01, 0.2, 1, 2, 7, 30, 365, 3650])
def test_every_span_has_a_bucket_that_can_be_drawn(days: float) -> None:
    span = timedelta(days=days)
    window = Window(SINCE, SINCE + span, bucket_for(span))
    assert 1 <= window.buckets <= 200
    picture("accounts", window, {})


def test_the_shortest_window_is_one_bar() -> None:
    assert Window(SINCE, SINCE, 60).buckets == 1


LENGTHS = {"90s": 90, "15m": 900, "2h": 7200, "7d": 604800}


@pytest.mark.parametrize(("text", "seconds"), LENGTHS.items(), ids=LENGTHS)
def test_lengths(text: str, seconds: int) -> None:
    assert Length().convert(text, None, None) == seconds
    moment = Moment().convert(text, None, None)
    assert abs(datetime.now(UTC) - moment - timedelta(seconds=seconds)) < timedelta(minutes=1)


def test_moments() -> None:
    expected = datetime(2027, 1, 31, 12, tzinfo=UTC)
    for text in ("2027-01-31T12:00", "2027-01-31 12:00", "2027-01-31T18:00+06:00"):
        assert Moment().convert(text, None, None) == expected


def test_a_moment_before_all_calendars_is_refused() -> None:
    with pytest.raises(click.BadParameter):
        Moment().convert("999999d", None, None)


@pytest.mark.parametrize("text", ["", "soon", "0m", "-1h", "1y", "1.5h", "99999999d"])
@pytest.mark.parametrize("kind", [Length(), Moment()], ids=["length", "moment"])
def test_what_is_no_time_is_refused(kind: Any, text: str) -> None:
    if isinstance(kind, Moment) and text == "0m":
        return  # now
    with pytest.raises(click.BadParameter):
        kind.convert(text, None, None)
