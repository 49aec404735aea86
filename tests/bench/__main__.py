"""The benchmark: ratios, measured in one run on one machine.

    make bench          # or: python -m tests.bench --seconds 60 --only reveal --json bench.json
    make bench-full     # 100,000 records for the roles, a million for growth

Starts OpenBao and PostgreSQL in a temporary folder, and each server in a process of its own.
"""

import asyncio
import json
import signal
import sys
import tempfile
from pathlib import Path

import click
import uvloop
from rich.console import Console

from tests.bench import growth, overload, picture, report, reveal, roles_run
from tests.bench.decide import measure_decide
from tests.bench.found import Found
from tests.bench.population import ROLES, ROLES_LARGE, document
from tests.bench.processes import memory_of, serving, stack
from tests.bench.sample import Progress
from tests.bench.seal import measure_seal
from vault.dev import Running
from vault.policy import compile_edition

PARTS = ("memory", "reveal", "overload", "roles", "growth")
_ROLES, _ROLES_FULL = 10_000, 100_000


@click.command()
@click.option("--seconds", default=120.0, show_default=True, help="Time for measuring Reveal.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="These parts alone.")
@click.option("--full", is_flag=True, help="The long ones, too.")
@click.option(
    "--json", "file", type=click.Path(path_type=Path), help="Write every sample to a file."
)
@click.option("--draw", type=click.Path(path_type=Path), help="Draw the ratios into an SVG.")
def main(
    seconds: float, only: tuple[str, ...], full: bool, file: Path | None, draw: Path | None
) -> None:
    """Measure Reveal against a bare gRPC echo, and much else against what it is to be held to."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, like Ctrl-C
    console = Console(highlight=False, width=120)
    parts = set(only or (PARTS if full else PARTS[:-1]))
    found, on = Found(), report.machine()
    console.print(", ".join(f"{key} {value}" for key, value in on.items()))
    with console.status("") as busy:
        if "memory" in parts:
            busy.update("measuring decide and the seals")
            report.show_micro(console, measure_decide(), measure_seal())
        if parts - {"memory"}:
            busy.update("starting OpenBao and PostgreSQL")
            with (
                tempfile.TemporaryDirectory(prefix="piivault-bench-") as folder,
                stack(Path(folder, "state")) as running,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                _measure(running, parts, seconds, full, found, runner, busy.update)
    report.show(console, found)
    if file is not None:
        written = {"machine": on, **report.as_json(found)}
        file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    if draw is not None:
        draw.write_text(picture.picture(found, on), encoding="utf-8")


def _measure(
    running: Running,
    parts: set[str],
    seconds: float,
    full: bool,
    found: Found,
    runner: asyncio.Runner,
    progress: Progress,
) -> None:
    reveal.load(running, progress)
    if "reveal" in parts:
        with serving(running) as worker:
            found.lines = runner.run(reveal.compare(running, worker.address, seconds, progress))
            found.memory = memory_of(worker.pid)
    if "overload" in parts:
        with serving(running) as worker:
            loading = overload.overload(running, worker, seconds / 6, progress)
            found.overload = runner.run(loading)
    if "roles" in parts:
        edition = compile_edition(json.dumps(document()))
        for compartment, persons in ((ROLES, _ROLES), (ROLES_LARGE, _ROLES_FULL))[: 1 + full]:
            issued = roles_run.load(running, edition, compartment, persons, progress)
            with serving(running) as worker, serving(running, "broker", "auditor") as others:
                playing = roles_run.compare(running, worker, others, compartment, issued, progress)
                found.roles += runner.run(playing)
    if "growth" in parts:
        loaded = growth.load(running, progress)
        with serving(running) as worker:
            growing = growth.grow(running, worker, loaded, seconds, progress)
            found.growth = runner.run(growing)


if __name__ == "__main__":
    main()
