"""What was measured: as tables for people, and as JSON."""

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import grpc
from rich.console import Console
from rich.table import Table

from tests.bench.decide import COMPARTMENTS, FIELDS_EACH, GRANTS_EACH, SERVICES, Decided
from tests.bench.reveal import PERSONS, ROUNDS, Line
from tests.bench.sample import Sample


def summary(line: Line) -> dict[str, float]:
    """Return the medians over the rounds; each ratio is a median of the rounds' own ratios."""
    rounds = list(zip(line.echo, line.reveal, strict=True))
    return {
        **{f"echo_{key}": value for key, value in _medians(line.echo).items()},
        **{f"reveal_{key}": value for key, value in _medians(line.reveal).items()},
        "rate_ratio": median(reveal.rate / echo.rate for echo, reveal in rounds),
        "p50_ratio": median(reveal.p50 / echo.p50 for echo, reveal in rounds),
        "p99_ratio": median(reveal.p99 / echo.p99 for echo, reveal in rounds),
    }


def _medians(samples: Sequence[Sample]) -> dict[str, float]:
    return {key: median(getattr(s, key) for s in samples) for key in ("rate", "p50", "p99")}


def as_json(lines: Sequence[Line], decided: Decided, sealed: Mapping[str, float]) -> dict[str, Any]:
    """Return everything, each round's samples included."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "architecture": platform.machine(),
            "python": platform.python_version(),
            "grpcio": grpc.__version__,
        },
        "reveal": [
            {
                "title": line.title,
                "in_flight": line.in_flight,
                "medians": summary(line),
                "rounds": [
                    {"echo": asdict(echo), "reveal": asdict(reveal)}
                    for echo, reveal in zip(line.echo, line.reveal, strict=True)
                ],
            }
            for line in lines
        ],
        "decide_microseconds": asdict(decided),
        "seal_microseconds": dict(sealed),
    }


def show(
    console: Console, lines: Sequence[Line], decided: Decided, sealed: Mapping[str, float]
) -> None:
    """Print the tables."""
    console.print(
        f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, "
        f"grpcio {grpc.__version__}; client, servers and PostgreSQL on this one machine."
    )
    console.print(
        f"\nReveal of 2 fields, durable audit, PostgreSQL, mutual TLS, {PERSONS:,} persons,"
        f" against a bare gRPC echo of the same messages; medians of {ROUNDS} rounds, in turn."
    )
    console.print(_reveals(lines))
    console.print(
        f"\nIn memory, one core; an edition of {SERVICES} services, "
        f"{SERVICES * GRANTS_EACH:,} grants, {COMPARTMENTS * FIELDS_EACH} fields."
    )
    console.print(_micro(decided, sealed))


def _reveals(lines: Sequence[Line]) -> Table:
    table = Table()
    table.add_column("in flight", justify="right")
    table.add_column("")
    for column in ("calls/s", "p50 ms", "p99 ms"):
        table.add_column(column, justify="right")
    for line in lines:
        figures = summary(line)
        for kind, name in (("echo", "bare echo"), ("reveal", line.title)):
            rate, p50, p99 = (figures[f"{kind}_{key}"] for key in ("rate", "p50", "p99"))
            lead = str(line.in_flight) if kind == "echo" else ""
            table.add_row(lead, name, f"{rate:,.0f}", f"{p50:.2f}", f"{p99:.2f}")
        ratios = (figures[f"{key}_ratio"] for key in ("rate", "p50", "p99"))
        table.add_row("", "ratio", *(f"{ratio:.2f}" for ratio in ratios), style="bold")
        table.add_section()
    return table


def _micro(decided: Decided, sealed: Mapping[str, float]) -> Table:
    table = Table(show_header=False)
    table.add_column("what")
    table.add_column("how long", justify="right")
    table.add_row("decide, p50", f"{decided.p50:.1f} µs")
    table.add_row("decide, p99", f"{decided.p99:.1f} µs")
    table.add_row("compile the edition", f"{decided.compiled:.2f} s")
    table.add_section()
    for name, microseconds in sealed.items():
        table.add_row(name, f"{microseconds:.1f} µs")
    return table
