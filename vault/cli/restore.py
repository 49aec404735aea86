"""`piivault restore`: a backup into an empty database."""

import asyncio
from pathlib import Path

import click

from vault import config
from vault.cli.backup import CONTROL, section_of
from vault.cli.options import config_option, settings
from vault.cli.owner import connect_as, owner_options
from vault.cli.progress import bars
from vault.opening import officer_keys
from vault.service.editions import Editions
from vault.store.control import ControlChain
from vault.store.engine import connect
from vault.store.restore import Restored, restore_compartment, restore_control

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("compartment", metavar="COMPARTMENT|control")
@config_option
@click.option("--data", type=_FILE, required=True, help="A data backup, or one of control.")
@click.option("--keys", type=_FILE, help="The newest backup of the compartment's keys.")
@owner_options
def restore(
    compartment: str,
    file: Path,
    data: Path,
    keys: Path | None,
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Restore a backup into the configured database, which must be empty; all of it or nothing.

    Run `piivault db upgrade` on a new database first, and restore the control database before
    compartments: it says which they are. Whoever erased their data since the data backup stays
    erased, if the keys are the newest.
    """
    if (keys is None) is not (compartment == CONTROL):
        raise click.UsageError("A compartment takes --data and --keys; control takes --data.")
    read = settings(file)
    section = section_of(read, compartment)
    with bars() as progress:

        async def fill() -> Restored:
            database, _ = connect_as(section, owner, owner_password_file)
            try:
                if keys is None:
                    return await restore_control(database, data, progress)
                uuid = await _uuid(read, compartment)
                return await restore_compartment(database, uuid, data, keys, progress)
            finally:
                await database.close()

        restored = asyncio.run(fill())
    _report(compartment, restored)


async def _uuid(read: config.Settings, name: str) -> bytes:
    """Return a compartment's uuid, as the edition in force has it."""
    control = connect(read.control.url, read.control.password_file)
    try:
        editions = Editions(ControlChain(control), officer_keys(read))
        await editions.refresh()
        edition = editions.state().current
    finally:
        await control.close()
    if name not in edition.compartments:
        raise click.ClickException(f"Edition {edition.number} has no compartment {name}.")
    return edition.compartments[name].uuid


def _report(name: str, restored: Restored) -> None:
    for path, digest in restored.digests.items():
        click.echo(f"{path}: every checksum holds\n  sha256 {digest}")
    rows = ", ".join(f"{table} {count}" for table, count in restored.rows.items())
    click.echo(f"{name} is restored. Rows: {rows or 'none'}.")
    if restored.erased:
        click.echo(
            f"{restored.erased} records have no data key any more: erased since the data was "
            "written. They were left out, with their index rows."
        )
    if restored.rebuilt:
        click.echo(
            f"The index of {restored.rebuilt} fields was rotated since the data was written: "
            "workers build it anew as soon as they serve. Until then, look-ups by these fields and "
            "writes of them are refused as KEYS_UNAVAILABLE. `piivault keys rotations` shows it."
        )
    if restored.newer:
        click.echo(
            f"{restored.newer} subjects have keys for records that the data doesn't hold: "
            "registered since it was written. Those records are lost, unless newer data is found."
        )
