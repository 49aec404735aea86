"""`piivault dev`: the whole stack on this machine."""

import signal
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vault.cli.options import log_to
from vault.dev.local import local
from vault.dev.stack import Running

EXAMPLE = Path("examples/osh/policy.yaml")


@click.command()
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    default=".piivault",
    show_default=True,
    help="The folder for keys, data and logs.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=EXAMPLE,
    show_default=True,
    help="The first edition, if the state folder has none yet.",
)
@click.option("--postgres", is_flag=True, help="PostgreSQL instead of SQLite files.")
def dev(state: Path, policy: Path, postgres: bool) -> None:
    """Run everything on this machine: key server, storage, certificates, gRPC server.

    All parts are real; state is kept in one folder and found again at the next start.
    Ctrl-C stops it all.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, like Ctrl-C
    console = Console(soft_wrap=True)
    with ExitStack() as stack:
        with console.status("starting") as status:
            running = stack.enter_context(
                local(state, policy, postgres=postgres, progress=status.update)
            )
        log_to(running.config.parent / "log" / "server.log")
        _show(console, running)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()
        console.print("stopping")


def _show(console: Console, running: Running) -> None:
    table = Table(title="piivault, for development", title_justify="left")
    for column in ("what", "where", "process"):
        table.add_column(column, overflow="fold")
    table.add_row("gRPC server, mutual TLS", running.grpc_address, "this one")
    for part in running.parts:
        table.add_row(part.name, part.where, str(part.pid) if part.pid else "files")
    table.add_row("configuration", str(running.config), "")
    table.add_row("log", str(running.config.parent / "log" / "server.log"), "")
    console.print(table)
    console.print("From another terminal, as one of the services or officers:")
    for file in running.environments.values():
        console.print(f"  . {_short(file)}")
    console.print("Ctrl-C stops everything.")


def _short(file: Path) -> str:
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
