"""The benchmark: ratios, measured in one run on one machine.

    make bench                       # or: python -m tests.bench --seconds 20 --json bench.json

Starts OpenBao and PostgreSQL in a temporary folder, and the server in a process of its own.
"""

import asyncio
import json
import tempfile
from pathlib import Path

import click
import uvloop
from rich.console import Console

from tests.bench import report
from tests.bench.decide import measure_decide
from tests.bench.processes import stack
from tests.bench.reveal import compare
from tests.bench.seal import measure_seal


@click.command()
@click.option("--seconds", default=20.0, show_default=True, help="Time for measuring Reveal.")
@click.option(
    "--json",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every sample to a file, too.",
)
def main(seconds: float, file: Path | None) -> None:
    """Measure unary Reveal against a bare gRPC echo, and what is done in memory."""
    console = Console(highlight=False)
    with console.status("measuring decide and the seals") as busy:
        decided, sealed = measure_decide(), measure_seal()
        busy.update("starting OpenBao, PostgreSQL and the server")
        with (
            tempfile.TemporaryDirectory(prefix="piivault-bench-") as folder,
            stack(Path(folder, "state")) as running,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            lines = runner.run(compare(running, seconds, busy.update))
    report.show(console, lines, decided, sealed)
    if file is not None:
        written = report.as_json(lines, decided, sealed)
        file.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
