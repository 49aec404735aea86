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

from tests.bench import overload
from tests.bench.decide import COMPARTMENTS, FIELDS_EACH, GRANTS_EACH, SERVICES, Decided
from tests.bench.found import Found
from tests.bench.overload import Load
from tests.bench.roles import AT_MOST, AT_ONCE, OPERATIONS, Role
from tests.bench.roles import ROUNDS as ROLE_ROUNDS
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


def as_json(found: Found) -> dict[str, Any]:
    """Return everything, each round's samples included."""
    grown = found.growth
    return {
        "reveal": _lines(found.lines),
        "worker_bytes": found.memory,
        "overload": [asdict(load) | {"ratio": load.ratio} for load in found.overload],
        "roles": [asdict(role) | {"ratio": role.ratio} for role in found.roles],
        "growth": None
        if grown is None
        else {
            "reveal": _lines([grown.line]),
            "worker_bytes": grown.memory,
            "stored_bytes": grown.stored,
            "plain_bytes": grown.plain,
            "loaded_a_second": grown.loaded,
        },
    }


def show(console: Console, found: Found) -> None:
    """Print the tables of what was measured."""
    if found.lines:
        _show_lines(console, "Reveal of 2 fields, durable audit, mutual TLS", found.lines)
        console.print(f"A worker's memory: {found.memory / 1e6:.0f} MB")
    if found.overload:
        _show_overload(console, found.overload)
    if found.roles:
        _show_roles(console, found.roles)
    if found.growth is not None:
        grown = found.growth
        _show_lines(console, "A million records", [grown.line])
        console.print(
            f"A worker's memory: {grown.memory / 1e6:.0f} MB. Stored: {grown.stored:,.0f} bytes a "
            f"record, {grown.stored / grown.plain:.1f} times the plaintext's {grown.plain:,.0f}. "
            f"Sealed and copied: {grown.loaded:,.0f} records a second."
        )


def _lines(lines: Sequence[Line]) -> list[dict[str, Any]]:
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


def _show_overload(console: Console, loads: Sequence[Load]) -> None:
    title = (
        f"More callers than can be answered, each with a deadline of {overload.DEADLINE:g} s; "
        f"wanted of the worker: at least {overload.AT_LEAST:g} of its peak"
    )
    table = Table(title=title, title_justify="left")
    columns = ("callers", "of the", "a second", "of the peak", "refused", "out of time", "late, s")
    for column in (*columns, "cores busy", "by its own count, a second"):
        table.add_column(column, justify="right")
    for load in loads:
        calls = load.calls
        became = (f"{calls.refused:,}", f"{calls.expired + calls.lost:,}", f"{calls.late:.2f}")
        cores = "\n".join(f"{name} {busy:.2f}" for name, busy in load.cores.items())
        served = "\n".join(f"{each:,.0f} {reason}" for reason, each in sorted(load.served.items()))
        rate = (f"{load.goodput:,.0f}", f"[bold]{load.ratio:.2f}[/]")
        table.add_row(f"{load.callers:,}", load.server, *rate, *became, cores, served)
    console.print(table)


def _show_roles(console: Console, roles: Sequence[Role]) -> None:
    title = (
        f"{OPERATIONS:,} operations of each role, answers compared one by one; {AT_ONCE} at once; "
        f"medians of {ROLE_ROUNDS} rounds"
    )
    table = Table(title=title, title_justify="left")
    for column in ("role", "records", "seconds", "plaintext", "times slower", "wanted"):
        table.add_column(column, justify="left" if column == "role" else "right")
    for role in roles:
        seconds = (f"{median(column):.2f}" for column in zip(*role.rounds, strict=True))
        ratio = f"[bold]{role.ratio:.2f}[/]"
        table.add_row(role.name, f"{role.persons:,}", *seconds, ratio, f"≤ {AT_MOST:g}")
    console.print(table)


def _show_lines(console: Console, title: str, lines: Sequence[Line]) -> None:
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
