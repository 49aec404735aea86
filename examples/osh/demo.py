"""The demo: the real stack in a temporary folder, and a story told on it.

    make demo                                      # or: python -m examples.osh.demo --postgres

Everything is real: the key server, the databases, certificates, mutual TLS. Exits 0 only if every
step of the story went as told. To learn the SDK, read `story.py`.
"""

import io
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from examples.osh.cast import POLICY, gather
from examples.osh.identity_provider import IdentityProvider
from examples.osh.stage import Stage, Step, screen
from examples.osh.story import STORY
from vault.cli.options import log_to
from vault.dev import DevError
from vault.dev.local import local
from vault.keys.errors import KeyServerError
from vault.opening import StartError


@click.command()
@click.option("--postgres", is_flag=True, help="PostgreSQL instead of SQLite files.")
def main(postgres: bool) -> None:
    """Tell the whole story on the real stack, in a temporary folder."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without Kyrgyz letters shows ?
    try:
        sys.exit(0 if play(STORY, screen(), postgres=postgres) else 1)
    except (DevError, KeyServerError, StartError) as e:
        sys.exit(f"The stack didn't start. {e}")


def play(story: Sequence[Step], console: Console, *, postgres: bool = False) -> bool:
    """Start the stack and tell the story; return whether every step happened.

    Raises DevError, KeyServerError, StartError where the stack doesn't start.
    """
    started = time.monotonic()
    stage = Stage(console)
    console.print("What the city of Osh promises in its privacy policy, kept step by step.")
    with tempfile.TemporaryDirectory(prefix="piivault-demo-") as folder, console.status("") as busy:
        state = Path(folder, "state")
        identity_provider = IdentityProvider()
        with local(
            state,
            POLICY,
            postgres=postgres,
            identity_providers=[identity_provider.section],
            progress=busy.update,
        ) as running:
            log_to(file=state / "log" / "server.log")
            parts = ", ".join(part.name for part in running.parts)
            console.print(
                f"The stack runs after {time.monotonic() - started:.1f} s: {parts}, "
                "and the gRPC server behind mutual TLS."
            )
            busy.stop()
            with gather(running, identity_provider) as cast:
                stage.tell(story, cast)
            busy.update("stopping")
            busy.start()
    _sum_up(stage, len(story), time.monotonic() - started)
    return not stage.failed


def _sum_up(stage: Stage, steps: int, seconds: float) -> None:
    happened = steps - len(stage.failed)
    stage.console.print(
        f"\n{happened} of {steps} steps happened, in {seconds:.1f} s.", style="bold"
    )
    for why in stage.failed:
        stage.console.print(f"FAILED  {why}", style="bold red", markup=False)


if __name__ == "__main__":
    main()
