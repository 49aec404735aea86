"""What was measured: as tables for people, and as JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from tests.bench.decide import COMPARTMENTS, FIELDS_EACH, GRANTS_EACH, SERVICES, Decided
from tests.bench.sample import ROUNDS, Line


def machine() -> dict[str, Any]:
    """Return on what it was measured; `load` is how many processes wanted to run in a minute."""
    return {
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "grpcio": grpc.__version__,
        "load": round(os.getloadavg()[0], 1),
    }


def as_json(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """Return all lines, each round's samples included."""
    return [
        {
            "own": {"name": line.own.name, "in_flight": line.own.in_flight},
            "base": {"name": line.base.name, "in_flight": line.base.in_flight},
            "ratio": {of: line.ratio(of) for of in ("rate", "p50", "p99")},
            "at_least": line.at_least,
            "p99_at_most": line.p99_at_most,
            "rounds": [{"own": asdict(own), "base": asdict(base)} for own, base in line.rounds],
        }
        for line in lines
    ]


def show_lines(console: Console, title: str, lines: Sequence[Line]) -> None:
    """Print a table of ratios."""
    table = Table(title=f"{title}; medians of {ROUNDS} rounds, in turn", title_justify="left")
    for column in ("what", "in flight"):
        table.add_column(column)
    for column in ("a second", "p50 ms", "p99 ms", "ratio", "p99, ratio", "wanted"):
        table.add_column(column, justify="right")
    for line in lines:
        for of, candidate in ((True, line.base), (False, line.own)):
            figures = (line.median(key, base=of) for key in ("rate", "p50", "p99"))
            rate, p50, p99 = figures
            shown = [candidate.name, str(candidate.in_flight), f"{rate:,.0f}", f"{p50:.2f}"]
            ratios = ["", "", ""] if of else [*_ratios(line)]
            table.add_row(*shown, f"{p99:.2f}", *ratios)
        table.add_section()
    console.print(table)


def _ratios(line: Line) -> tuple[str, str, str]:
    wanted = f"≥ {line.at_least:g}" if line.at_least else ""
    if line.p99_at_most:
        wanted = f"p99 ≤ {line.p99_at_most:g}"
    return f"[bold]{line.ratio():.2f}[/]", f"{line.ratio('p99'):.1f}", wanted


def show_micro(console: Console, decided: Decided, micro: Mapping[str, float]) -> None:
    """Print what is done in memory, in microseconds."""
    title = (
        f"In memory, one core; an edition of {SERVICES} services, "
        f"{SERVICES * GRANTS_EACH:,} grants, {COMPARTMENTS * FIELDS_EACH} fields"
    )
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column("what")
    table.add_column("how long", justify="right")
    table.add_row("decide, p50", f"{decided.p50:.1f} µs")
    table.add_row("decide, p99", f"{decided.p99:.1f} µs")
    table.add_row("compile the edition", f"{decided.compiled:.2f} s")
    table.add_section()
    for name, microseconds in micro.items():
        table.add_row(name, f"{microseconds:.1f} µs")
    console.print(table)
