"""`piivault restore-drill`: whether backups bring back the living, and nobody who was erased."""

import asyncio
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from vault import config
from vault.cli.options import config_option, settings
from vault.cli.progress import bars
from vault.keys.keyring import Keyring
from vault.logins import log_in
from vault.opening import StartError, open_editions, opening
from vault.service.compartment import ServedCompartment
from vault.service.drill import Drilled, drill
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.limits import Limits
from vault.store.backup import Progress
from vault.store.drill import scratch
from vault.store.engine import Database, connect

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FOLDER = "piivault-drill-"


@click.command(name="restore-drill")
@click.argument("compartment")
@config_option
@click.option("--data", type=_FILE, required=True, help="A data backup, as old as you like.")
@click.option("--keys", type=_FILE, required=True, help="The newest backup of the keys.")
@click.option(
    "--scratch",
    "url",
    default="",
    help="An empty database to use and clear; else a temporary file.",
)
@click.option("--scratch-password-file", type=_FILE, help="Where its password is.")
@click.option("--without-live", is_flag=True, help="Don't ask the live database who lives.")
def restore_drill(
    compartment: str,
    file: Path,
    data: Path,
    keys: Path,
    url: str,
    scratch_password_file: Path | None,
    without_live: bool,
) -> None:
    """Restore a compartment's backups into a scratch database, open every record, destroy it.

    Shows that every living record reads and no erased one does; ends with 1 if that isn't so. Who
    lives is asked of the configured database, which isn't changed. The key server is the
    configured one: it must open what the backups hold.
    """
    read = settings(file)
    if compartment not in read.compartments:
        known = ", ".join(read.compartments)
        raise click.ClickException(
            f"The configuration has no compartment {compartment}. It has {known}."
        )

    async def run(progress: Progress) -> Drilled:
        async with AsyncExitStack() as stack:
            where = url or await stack.enter_async_context(_temporary())
            database = await stack.enter_async_context(scratch(where, scratch_password_file))
            with opening(f"compartment {compartment}"):
                served, editions = await _serve(read, compartment, database, stack)
                live = None
                if not without_live:
                    section = read.compartments[compartment].database
                    live = connect(section.url, section.password_file)
                    stack.push_async_callback(live.close)
                return await drill(served, editions, data, keys, live, progress)

    with bars() as progress:
        drilled = asyncio.run(run(progress))
    _show(compartment, drilled, data, keys)
    if not drilled.passed:
        sys.exit(1)


@asynccontextmanager
async def _temporary() -> AsyncIterator[str]:
    """Yield the URL of a new file in a folder that nobody else may enter; remove both."""
    folder = Path(tempfile.mkdtemp(prefix=_FOLDER))
    try:
        yield f"sqlite+aiosqlite:///{folder / 'scratch.db'}"
    finally:
        shutil.rmtree(folder)


async def _serve(
    read: config.Settings, name: str, database: Database, stack: AsyncExitStack
) -> tuple[ServedCompartment, Editions]:
    """Open a compartment on the scratch database: with its keys' login, and for nobody to call."""
    _, editions = await open_editions(read, stack)
    declared = editions.state().current.compartments.get(name)
    if declared is None:
        raise StartError(f"The edition in force has no compartment {name}.")
    section = read.compartments[name]
    transit = await log_in(read, section.login, stack)
    keyring = Keyring(transit, section.transit_key, section.audit_transit_key, declared.uuid)
    history, limits = History(editions), Limits(1.0, 1.0)
    served = ServedCompartment(name, declared.uuid, database, keyring, {}, history, limits)
    stack.push_async_callback(served.close)
    return served, editions


def _show(name: str, drilled: Drilled, data: Path, keys: Path) -> None:
    console = Console(soft_wrap=True)
    restored, report, compared = drilled.restored, drilled.report, drilled.compared
    table = Table(title=f"Restore drill of {name}", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    rows: list[tuple[str, str]] = [
        ("the data backup was written", _age(data)),
        ("the key backup was written", _age(keys)),
        ("records in the data backup", f"{drilled.in_backup:,}"),
        ("  restored", f"{restored.rows['records']:,}"),
        ("  erased since, and left out", f"{restored.erased:,}"),
        ("restored records that read", f"{drilled.opened:,}"),
        ("  with fields", f"{report.fields:,}"),
        ("registered since: in the keys alone", f"{restored.newer:,}"),
    ]
    if compared is not None:
        rows += [
            ("held against the live database:", ""),
            ("  living, and back", f"{compared.living_back:,}"),
            ("  living, and not back", f"{compared.living_lost:,}"),
            ("    living, but their old data key is gone", f"{compared.without_key:,}"),
            ("  erased, and gone", f"{compared.erased_gone:,}"),
            ("  erased, and back", f"{compared.erased_back:,}"),
        ]
    for row in rows:
        table.add_row(*row)
    console.print(table)
    for kind, count in sorted(report.counts.items()):
        console.print(f"{kind.value}: {count:,}: {kind.sentence}")
    for reason, count in report.unopened.items():
        console.print(f"{count:,} keys were not to be had ({reason}).")
    console.print(_verdict(drilled))


def _verdict(drilled: Drilled) -> str:
    if drilled.passed and drilled.compared is None:
        return "Every restored record reads. Who lives wasn't asked of the live database."
    if drilled.passed:
        return "Every living record reads, and no erased one does. The scratch is destroyed."
    if drilled.compared and drilled.compared.erased_back:
        return (
            "FAILED: records come back whose subjects erased them since the key backup was "
            "written. Write a new key backup, destroy this one, and repeat the drill."
        )
    if drilled.compared and drilled.compared.without_key:
        return (
            "FAILED: people live whose old data keys are gone: they were dropped since the data "
            "backup was written, so it brings their records back no more. Use a newer one."
        )
    return "FAILED: see above. These backups don't bring back every living record."


def _age(file: Path) -> str:
    """Say how long ago a file was written, by its time: its content has none."""
    seconds = max(0, int(time.time() - file.stat().st_mtime))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    return f"{days} d {hours} h ago" if days else f"{hours} h {minutes} min ago"
