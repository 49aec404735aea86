"""`piivault dev`: the whole stack on this machine."""

import signal
import sys
import threading
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vault.cli.options import log_to
from vault.dev.local import local, split
from vault.dev.stack import Running
from vault.setup.configuration import Section

EXAMPLE = Path("examples/osh/policy.yaml")


@click.command()
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder for keys, data and logs; .piivault by default, .piivault-split with --split.",
)
@click.option(
    "--policy",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=EXAMPLE,
    show_default=True,
    help="The first edition, if the state folder has none yet.",
)
@click.option("--postgres", is_flag=True, help="PostgreSQL instead of SQLite files.")
@click.option(
    "--split",
    "is_split",
    is_flag=True,
    help="A process for each role and compartment, as outside development; on PostgreSQL, since a "
    "SQLite file is one process's.",
)
@click.option(
    "--identity-providers",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A TOML file with [[identity_providers]], for the broker's configuration.",
)
def dev(
    state: Path | None,
    policy: Path,
    postgres: bool,
    is_split: bool,
    identity_providers: Path | None,
) -> None:
    """Run everything on this machine: key server, storage, certificates, gRPC server.

    All parts are real; state is kept in one folder and found again at the next start.
    Ctrl-C stops it all.
    """
    pinned = _identity_providers(identity_providers) if identity_providers else []
    state = state or Path(".piivault-split" if is_split else ".piivault")
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in a shell's background
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # unwinds, like Ctrl-C
    console = Console(soft_wrap=True)
    with ExitStack() as stack:
        with console.status("starting") as status:
            if is_split:
                running, served = stack.enter_context(
                    split(state, policy, identity_providers=pinned, progress=status.update)
                )
                pids = {name: str(one.pid) for name, one in served.items()}
            else:
                running = stack.enter_context(
                    local(
                        state,
                        policy,
                        postgres=postgres,
                        identity_providers=pinned,
                        progress=status.update,
                    )
                )
                pids = dict.fromkeys(running.servers, "this one")
                log_to(file=running.config.parent / "log" / "server.log")
        with suppress(KeyboardInterrupt):
            _show(console, running, pids)
            threading.Event().wait()
        console.print("stopping")


def _identity_providers(file: Path) -> list[Section]:
    """Read the list; whether the broker can use it is said when its configuration is read."""
    try:
        found = tomllib.loads(file.read_text(encoding="utf-8"))["identity_providers"]
    except (ValueError, KeyError):
        found = None
    if not isinstance(found, list):
        raise click.ClickException(f"{file} is no TOML with [[identity_providers]].")
    return found


def _show(console: Console, running: Running, pids: Mapping[str, str]) -> None:
    table = Table(title="piivault, for development", title_justify="left")
    for column in ("what", "where", "process"):
        table.add_column(column, overflow="fold")
    for name, server in running.servers.items():
        table.add_row(f"{name} (gRPC, mutual TLS)", server.address, pids[name])
    for part in running.parts:
        table.add_row(part.name, part.where, str(part.pid) if part.pid else "files")
    state, files = running.config.parent, [s.config for s in running.servers.values()]
    table.add_row("configuration", str(state / "piivault-*.toml" if files[1:] else files[0]), "")
    table.add_row("logs", str(state / "log"), "")
    console.print(table)
    console.print("From another terminal, as one of the services or officers:")
    for file in running.environments.values():
        console.print(f"  . {_short(file)}")
    console.print("Ctrl-C stops everything.")


def _short(file: Path) -> str:
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(file)
