"""Drawing a run: bars of ratios, and where each should be."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.found import Found
from tests.bench.roles import AT_MOST
from tests.bench.sample import Line
from vault.policy import svg

_WIDE, _LEFT, _RIGHT, _TOP = 960.0, 300.0, 120.0, 96.0
_ROW, _BAR, _BETWEEN = 30.0, 18.0, 64.0


@dataclass(frozen=True, slots=True)
class Bar:
    """One ratio; `wanted` is where it should end, above or below."""

    label: str
    value: float
    wanted: float | None
    said: str


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale."""

    title: str
    beside: str
    bars: Sequence[Bar]


def picture(found: Found, machine: Mapping[str, Any]) -> str:
    """Draw what a run measured."""
    parts = [
        svg.text(40, 44, "What piivault costs", "title"),
        svg.text(40, 68, _machine(machine), "small"),
    ]
    top = _TOP
    for colour, panel in enumerate(_panels(found)):
        top += _BETWEEN / 2
        parts += _draw(panel, top, colour)
        top += _ROW * len(panel.bars) + _BETWEEN / 2
    return svg.picture(_WIDE, top + 8, "Benchmark", "Ratios of one run, by `make bench`.", parts)


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"Ratios of one run, by `make bench`: {machine['cores']} cores, "
        f"{machine['architecture']}, Python {machine['python']}, grpcio {machine['grpcio']}; "
        "client, servers and PostgreSQL on one machine. Grey: 1. Red: what is wanted."
    )


def _panels(found: Found) -> Iterator[Panel]:
    by_base: dict[str, list[Line]] = {}
    for line in found.lines:
        by_base.setdefault(line.base.name, []).append(line)
    titles = {
        "echo": ("A bare gRPC echo is 1", "throughput; more is better"),
        "naive": ("What a team would write itself is 1", "throughput; more is better"),
        "COPY of the plaintext": ("A COPY of the plaintext is 1", "throughput; more is better"),
    }
    for base, lines in by_base.items():
        small = [line for line in lines if line.ratio() < 1 or base != "echo"]
        large = [line for line in lines if line not in small]
        for together in (small, large):
            if together:
                yield Panel(*titles[base], [_bar(line) for line in together])
    for persons in sorted({role.persons for role in found.roles}):
        bars = [
            Bar(role.name, role.ratio, AT_MOST, f"{role.ratio:.1f} times")
            for role in found.roles
            if role.persons == persons
        ]
        beside = f"GDPRbench's roles on {persons:,} records; less is better"
        yield Panel("Plaintext PostgreSQL takes 1", beside, bars)
    if found.growth is not None:
        bar = _bar(found.growth.line)
        yield Panel("Ten thousand records is 1", "throughput; more is better", [bar])


def _bar(line: Line) -> Bar:
    said = f"{line.ratio():.2f}  ({line.median('rate'):,.0f}/s)"
    label = f"{line.own.name}, {line.own.in_flight} in flight"
    return Bar(label, line.ratio(), line.at_least, said)


def _draw(panel: Panel, top: float, colour: int) -> list[str]:
    most = max(max(bar.value, bar.wanted or 0, 1.0) for bar in panel.bars)
    scale = (_WIDE - _LEFT - _RIGHT) / most
    bottom = top + _ROW * len(panel.bars) - (_ROW - _BAR) + 4
    parts = [
        svg.text(40, top - 10, panel.title, "name", beside=panel.beside),
        svg.path(f"M{_LEFT + scale:g} {top - 4:g} V{bottom:g}", "card"),
    ]
    for row, bar in enumerate(panel.bars):
        y = top + _ROW * row
        long = bar.value * scale
        parts.append(svg.text(_LEFT - 12, y + _BAR - 4, bar.label, anchor="end"))
        shape = svg.box(_LEFT, y, max(long, 1), _BAR, f"f{colour}", 2)
        parts.append(svg.told(f"{bar.label}: {bar.said}", shape))
        end = max(long, (bar.wanted or 0) * scale)
        parts.append(svg.text(_LEFT + end + 10, y + _BAR - 4, bar.said, "small"))
        if bar.wanted is not None:
            x = _LEFT + bar.wanted * scale
            parts.append(svg.path(f"M{x:g} {y - 4:g} V{y + _BAR + 4:g}", "cross"))
    return parts
