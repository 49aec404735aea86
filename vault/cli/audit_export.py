"""`piivault audit export`: a compartment's trail as JSON lines."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import click

from vault import app, config
from vault.cli.auditing import section_of
from vault.cli.options import config_option, settings
from vault.cli.owner import connect_as, owner_options
from vault.cli.progress import bars
from vault.service.export import Progress, opened_lines, sealed_lines
from vault.service.reading import TrailReader
from vault.store.backup_file import refuse_existing


@click.command()
@click.argument("compartment")
@config_option
@click.option(
    "--output",
    "-o",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where to write it.",
)
@click.option(
    "--sealed/--opened",
    default=True,
    show_default=True,
    help="As it is stored, to be verified; or opened, to be read.",
)
@owner_options
def export(
    compartment: str,
    file: Path,
    output: Path,
    sealed: bool,
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Write a compartment's whole trail as JSON lines: docs/audit-export.schema.json has the keys.

    Sealed, it holds nothing in clear, and `piivault audit verify --export` verifies it anywhere.
    Opened, it says who did what, with the auditor's own login; no value and no pseudonym is in it.
    """
    read = settings(file)
    section = section_of(read, compartment)
    refuse_existing(output)
    if not sealed and owner:
        raise click.UsageError("--opened reads with the auditor's own login: without --owner.")
    with bars() as progress:
        if sealed:
            work = _sealed(compartment, section, owner, owner_password_file, output, progress)
        else:
            work = _opened(compartment, read, output, progress)
        size = asyncio.run(work)
    click.echo(f"{output}: {size:,} bytes")


async def _sealed(
    name: str,
    section: config.Database,
    owner: str | None,
    password_file: Path | None,
    output: Path,
    progress: Progress,
) -> int:
    database, _ = connect_as(section, owner, password_file)
    try:
        return await _write(output, sealed_lines(database, name, progress))
    finally:
        await database.close()


async def _opened(name: str, read: config.Settings, output: Path, progress: Progress) -> int:
    async with app.audited(read) as (editions, trails):
        trail = trails[name]
        reader = TrailReader(trail.compartment, trail.database, trail.keyring)
        lines = opened_lines(reader, name, editions.ledger.editions, progress)
        return await _write(output, lines)


async def _write(output: Path, lines: AsyncIterator[bytes]) -> int:
    """Write a file that nobody else may read; leave none behind if it isn't whole."""
    written = 0
    handle = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            async for chunk in lines:
                written += file.write(chunk)
    except BaseException:
        output.unlink()  # noqa: ASYNC240 -- nothing else runs here
        raise
    return written
