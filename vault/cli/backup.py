"""`piivault backup`: a compartment's data and its keys, or the control database, into files."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click

from vault import config
from vault.cli.options import config_option, settings
from vault.cli.owner import connect_as, owner_options
from vault.cli.progress import bars
from vault.store.backup import Written, back_up
from vault.store.backup_file import refuse_existing
from vault.store.backup_format import Contents

CONTROL = "control"
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("compartment", metavar="COMPARTMENT|control")
@config_option
@click.option("--data", type=_FILE, help="Where to write what may be old: records, index, trail.")
@click.option("--keys", type=_FILE, help="Where to write what must be the newest: keys, erasures.")
@owner_options
def backup(
    compartment: str,
    file: Path,
    data: Path | None,
    keys: Path | None,
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Write a compartment's data and keys into two files; the control database into --data.

    Keep the two apart. Keys are small: back them up often, and keep the newest alone, for older
    ones hold what was erased since. Any data backup is restored with the newest keys. The
    database may be served meanwhile; what is written is one moment of it.
    """
    section = section_of(settings(file), compartment)
    files = _files(compartment, data, keys)
    with bars() as progress:

        async def write() -> list[Written]:
            database, _ = connect_as(section, owner, owner_password_file)
            try:
                return await back_up(database, files, progress)
            finally:
                await database.close()

        written = asyncio.run(write())
    for one in written:
        click.echo(f"{one.path}: {one.contents} of {compartment}, {one.rows} rows")
        click.echo(f"  sha256 {one.digest}")


def section_of(read: config.Settings, name: str) -> config.Database:
    """Return the database of a compartment, or of control; raise ClickException."""
    if name == CONTROL:
        return read.control
    if name in read.compartments:
        return read.compartments[name].database
    known = ", ".join([*read.compartments, CONTROL])
    raise click.ClickException(f"The configuration has no compartment {name}. It has {known}.")


def _files(name: str, data: Path | None, keys: Path | None) -> Mapping[Contents, Path]:
    if name == CONTROL:
        if data is None or keys is not None:
            raise click.UsageError("The control database goes into one file: --data.")
        files = {Contents.CONTROL: data}
    else:
        given = {Contents.DATA: data, Contents.KEYS: keys}
        files = {contents: path for contents, path in given.items() if path is not None}
    if not files:
        raise click.UsageError("Say where to write: --data, --keys, or both.")
    if len({path.resolve() for path in files.values()}) < len(files):
        raise click.UsageError("--data and --keys are two files, to be kept apart.")
    for path in files.values():
        refuse_existing(path)
    return files
