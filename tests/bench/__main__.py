"""The benchmark: ratios, measured in one run on one machine.

    make bench          # or: python -m tests.bench --seconds 60 --only reveal --json bench.json
    make bench-full     # 100,000 records for the roles, a million for growth

Starts OpenBao and PostgreSQL in a temporary folder, and each server in a process of its own.
"""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any

import click
import uvloop
from rich.console import Console

from tests.bench import report, reveal
from tests.bench.decide import measure_decide
from tests.bench.processes import memory_of, serving, stack
from tests.bench.seal import measure_seal

PARTS = ("memory", "reveal")


@click.command()
@click.option("--seconds", default=60.0, show_default=True, help="Time for measuring Reveal.")
@click.option("--only", type=click.Choice(PARTS), multiple=True, help="These parts alone.")
@click.option("--full", is_flag=True, help="The long ones, too.")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every sample to a file, too.",
)
def main(seconds: float, only: tuple[str, ...], full: bool, file: Path | None) -> None:
    """Measure Reveal against a bare gRPC echo, and much else against what it should be held to."""
    console = Console(highlight=False, width=120)
    parts = only or PARTS
    found: dict[str, Any] = {"machine": report.machine()}
    console.print(", ".join(f"{key} {value}" for key, value in found["machine"].items()))
    with console.status("") as busy:
        if "memory" in parts:
            busy.update("measuring decide and the seals")
            report.show_micro(console, measure_decide(), measure_seal())
        if set(parts) - {"memory"}:
            busy.update("starting OpenBao and PostgreSQL")
            with (
                tempfile.TemporaryDirectory(prefix="piivault-bench-") as folder,
                stack(Path(folder, "state")) as running,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                if "reveal" in parts:
                    busy.update("loading")
                    reveal.load(running)
                    with serving(running) as worker:
                        measuring = reveal.compare(running, worker.address, seconds, busy.update)
                        lines = runner.run(measuring)
                        memory = memory_of(worker.pid)
                    console.print(f"the worker's memory: {memory / 1e6:.0f} MB")
                    report.show_lines(console, "Reveal of 2 fields, durable audit, TLS", lines)
                    found["reveal"] = report.as_json(lines)
    if file is not None:
        file.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
