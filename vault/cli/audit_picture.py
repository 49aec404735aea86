"""Drawing a summary: reveals and denials over time, by service and purpose, as an SVG."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from piivault.auditors import Alike

from vault.audit.event import counted_as
from vault.policy import svg

_WIDE, _LEFT, _RIGHT = 960.0, 72.0, 28.0
_HIGH, _HEAD, _BETWEEN = 170.0, 116.0, 84.0
_SERIES = (0, 1, 2, 3, 4, 6, 7)  # colours; the grey one is for all others together
_OTHERS = 5
_MOST_BUCKETS = 400
_STEPS = (60, 300, 900, 1800, 3600, 3 * 3600, 6 * 3600, 86400, 7 * 86400, 28 * 86400)  # seconds
_PARTS = {1: 5, 2: 4, 3: 3, 4: 4, 5: 5, 6: 3, 8: 4}  # of an axis that ends with such a digit
_TICKS = (1, 2, 3, 4, 6, 8, 12, 24, 48, 96)  # buckets from one to the next
_GAP = 0.18  # of a bucket's width

Series = tuple[str, str]  # service, purpose
Points = Mapping[tuple[int, Series], int]  # by bucket


@dataclass(frozen=True, slots=True)
class Window:
    """The time that is drawn: buckets of so many seconds."""

    since: datetime
    until: datetime
    bucket: int

    @property
    def buckets(self) -> int:
        """How many there are; the last may be cut short by the end."""
        first = int(self.since.timestamp()) // self.bucket
        return max(1, -(-int(self.until.timestamp()) // self.bucket) - first)

    def place(self, start: datetime) -> int:
        """Return which bucket begins at a moment."""
        return int(start.timestamp()) // self.bucket - int(self.since.timestamp()) // self.bucket

    def begins(self, place: int) -> datetime:
        """Return when a bucket begins."""
        first = int(self.since.timestamp()) // self.bucket * self.bucket
        return datetime.fromtimestamp(first + place * self.bucket, self.since.tzinfo)


def bucket_for(span: timedelta) -> int:
    """Return how many seconds to count together, so that a picture of a span has some 50 bars."""
    wanted = span.total_seconds() / 60
    return next((step for step in _STEPS if step >= wanted), _STEPS[-1])


def picture(compartment: str, window: Window, counted: Mapping[Alike, int]) -> str:
    """Draw reveals and denials of a window. Raises ValueError if it has too many buckets."""
    if window.buckets > _MOST_BUCKETS:
        raise ValueError(f"more than {_MOST_BUCKETS} bars: take a longer bucket")
    reveals = _points(counted, window, lambda a: (a.operation, a.outcome) == ("reveal", "allowed"))
    denials = _points(counted, window, lambda a: a.outcome == "denied")
    colours = _colours(reveals, denials)
    above, below = _HEAD, _HEAD + _HIGH + _BETWEEN
    legend, end = _legend(below + _HIGH + 66, colours, reveals, denials)
    parts = [
        svg.text(_LEFT, 40, f"What was asked of {compartment}", "title"),
        svg.text(_LEFT, 62, _said(window), "small"),
        *_panel(above, "Reveals", "name", reveals, window, colours),
        *_panel(below, "Denials", "name", denials, window, colours),
        *legend,
    ]
    what = f"{_total(reveals)} reveals and {_total(denials)} denials, by service and purpose."
    return svg.picture(_WIDE, end, f"Reveals and denials in {compartment}", what, parts)


def _points(counted: Mapping[Alike, int], window: Window, meant: Callable[[Alike], bool]) -> Points:
    points: Counter[tuple[int, Series]] = Counter()
    for alike, count in counted.items():
        place = window.place(alike.start)
        if meant(alike) and 0 <= place < window.buckets:
            # Whom no edition knows is one of many: their ids are for a list.
            points[place, (counted_as(alike.service), alike.purpose)] += count
    return points


def _colours(*panels: Points) -> dict[Series, int]:
    """Give the busiest a colour each, and grey to all others."""
    totals: defaultdict[Series, float] = defaultdict(float)
    for points in panels:
        for (_, series), count in points.items():
            totals[series] += count / _total(points)  # a share of its panel: denials are few
    ranked = sorted(totals, key=lambda series: (-totals[series], series))
    known = dict(zip(ranked, _SERIES, strict=False))
    return {series: known.get(series, _OTHERS) for series in ranked}


def _panel(
    top: float,
    title: str,
    style: str,
    points: Points,
    window: Window,
    colours: Mapping[Series, int],
) -> list[str]:
    bottom, wide = top + _HIGH, _WIDE - _LEFT - _RIGHT
    stacks = Counter[int]()
    for (place, _), count in points.items():
        stacks[place] += count
    ceiling = _ceiling(max(stacks.values(), default=0))
    parts = [svg.text(_LEFT, top - 12, title, style, beside=f"{_total(points):,}")]
    for value in _marks(ceiling):
        y = bottom - _HIGH * value / ceiling
        parts.append(svg.path(f"M{_LEFT:g} {y:g} H{_WIDE - _RIGHT:g}", "rule"))
        parts.append(svg.text(_LEFT - 10, y + 4, f"{value:,}", "small", "end"))
    step = wide / window.buckets
    for place in sorted(stacks):
        x = _LEFT + step * (place + _GAP / 2)
        bars, y = [], bottom
        for series, colour in colours.items():
            if count := points.get((place, series), 0):
                high = _HIGH * count / ceiling
                y -= high
                what = f"{_name(series)}: {count:,}"
                bars.append(svg.told(what, svg.box(x, y, step * (1 - _GAP), high, f"f{colour}")))
        parts.append(svg.told(f"{_moment(window.begins(place))}: {stacks[place]:,}", *bars))
    if not stacks:
        parts.append(svg.text(_LEFT + wide / 2, top + _HIGH / 2, "none", "small", "middle"))
    return [*parts, *_times(bottom, window)]


def _times(bottom: float, window: Window) -> list[str]:
    """Write when, below an axis: some eight times, and the day where it is a new one."""
    step = (_WIDE - _LEFT - _RIGHT) / window.buckets
    every = next(n for n in _TICKS if n * 8 >= window.buckets)
    parts, day = [svg.path(f"M{_LEFT:g} {bottom:g} H{_WIDE - _RIGHT:g}", "card")], None
    for place in range(0, window.buckets, every):
        begins, x = window.begins(place), _LEFT + step * place
        parts.append(svg.path(f"M{x:g} {bottom:g} v5", "card"))
        if window.bucket < 86400:
            parts.append(svg.text(x, bottom + 18, f"{begins:%H:%M}", "small"))
        if begins.date() != day:
            day = begins.date()
            line = bottom + (32 if window.bucket < 86400 else 18)
            parts.append(svg.text(x, line, f"{begins:%Y-%m-%d}", "small"))
    return parts


def _legend(
    top: float, colours: Mapping[Series, int], reveals: Points, denials: Points
) -> tuple[list[str], float]:
    """Name the colours in two columns; return the end of the page too."""
    rows: dict[int, list[Series]] = {}
    for series, colour in colours.items():
        rows.setdefault(colour, []).append(series)
    parts = []
    for i, (colour, members) in enumerate(rows.items()):
        x, y = _LEFT + (i % 2) * 430, top + (i // 2) * 24
        name = _name(members[0]) if colour != _OTHERS else f"{len(members)} others"
        said = f"{_of(reveals, members):,} reveals, {_of(denials, members):,} denials"
        parts.append(svg.box(x, y - 11, 13, 13, f"f{colour}", 3))
        parts.append(svg.text(x + 22, y, name, "service", beside=said))
    return parts, top + -(-max(1, len(rows)) // 2) * 24 + 16


def _of(points: Points, members: Sequence[Series]) -> int:
    return sum(count for (_, series), count in points.items() if series in members)


def _total(points: Points) -> int:
    return sum(points.values())


def _name(series: Series) -> str:
    service, purpose = series
    return f"{service} · {purpose}" if purpose else service


def _said(window: Window) -> str:
    bar = _length(window.bucket)
    return f"{_moment(window.since)} to {_moment(window.until)} UTC. A bar is {bar}."


def _length(seconds: int) -> str:
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds % size == 0:
            number = seconds // size
            return f"1 {name}" if number == 1 else f"{number} {name}s"
    return f"{seconds} seconds"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M}"


def _ceiling(most: int) -> int:
    """Return a round number that is at least `most`."""
    size = 1
    while True:
        for digit in _PARTS:
            if digit * size >= max(most, 4) and digit * size % _PARTS[digit] == 0:
                return digit * size
        size *= 10


def _marks(ceiling: int) -> Iterable[int]:
    parts = _PARTS[int(str(ceiling)[0])]
    return [ceiling * i // parts for i in range(parts + 1)]
