"""`piivault keys close-epoch`: so that erasures last, in every backup too."""

from pathlib import Path

import click
from piivault.keys import Keys
from piivault.rotations import Closing

from vault.cli.backup import backup
from vault.cli.keys import asking
from vault.cli.keys_watch import OFFICERS_LOGIN, at_key_server, watch
from vault.cli.options import config_option, owner_options
from vault.keys.officer import TransitOfficer
from vault.store.backup_file import refuse_existing

_TRIES = 3  # to have keys wrapped anew, while another officer rotates too


@click.command(epilog=OFFICERS_LOGIN)
@click.argument("compartment")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--drop-superseded",
    is_flag=True,
    help="First drop data keys that no record names: data backups from before a rotation of data "
    "keys can't be restored then.",
)
@click.option(
    "--backup",
    "backup_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the new backup of the keys here, before old versions are trimmed away. "
    "Takes --config and the owner's login, like `piivault backup`.",
)
@config_option
@owner_options
@click.pass_context
def close_epoch(
    context: click.Context,
    compartment: str,
    yes: bool,
    drop_superseded: bool,
    backup_file: Path | None,
    file: Path,
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Close a compartment's epoch: what was erased before can't be read from any backup.

    A new KEK, live data keys wrapped anew, old KEKs destroyed, the Transit key rotated, all keys
    wrapped anew, old versions trimmed away. Backups of keys from before can't be restored then: the
    new one must be written. May be stopped anywhere: the next run goes on. Ends with 0 once closed.
    """
    if backup_file:
        refuse_existing(backup_file)
    if not yes:
        click.echo(
            f"All backups of the keys of {compartment} become unreadable; those of its data stay "
            "good, with a new backup of the keys."
        )
        click.confirm(f"Close the epoch of {compartment}?", abort=True)
    with (
        at_key_server() as server,
        asking(compartment, "How far it is isn't known.") as ring,
    ):
        if drop_superseded:
            watch(ring, ring.rotate("superseded"))
        closing = ring.close_epoch()
        watch(ring, closing.rotation)
        below = _wrapped_anew(ring, server, closing)
        if backup_file:
            options = {"owner": owner, "owner_password_file": owner_password_file}
            context.invoke(
                backup, compartment=compartment, file=file, data=None, keys=backup_file, **options
            )
        elif not yes:
            click.echo(
                f"Write a new backup of the keys now: `piivault backup {compartment} --keys FILE`. "
                "Without it, nothing can be restored once old versions are trimmed away."
            )
            click.confirm("Is it written?", abort=True)
        server.retire(ring.status().transit.name, below)
        closed = ring.close_epoch(trimmed_below=below)
        status = ring.status()
    click.echo(f"Epoch {closed.number} of {compartment} is closed.")
    erased = status.erasures
    click.echo(
        f"Erased: {erased.shredded:,} shredded, at least {erased.unrecoverable:,} unrecoverable"
        + (
            f"; {erased.snapshot_retention_days} days from now the rest of those before it too."
            if erased.snapshot_retention_days
            else "."
        )
    )
    if not backup_file:
        click.echo(
            "Backups of the keys from before can't be restored any more. If there is no new one "
            f"yet, write it NOW: `piivault backup {compartment} --keys FILE`."
        )


def _wrapped_anew(ring: Keys, server: TransitOfficer, closing: Closing) -> int:
    """Have every key wrapped under a version of the Transit key from after it began; return it."""
    key = ring.status().transit
    if server.versions(key.name).newest <= closing.transit_version:
        server.rotate(key.name)
    for _ in range(_TRIES):
        if key.oldest_needed > closing.transit_version:
            return key.oldest_needed
        watch(ring, ring.rotate("transit"))
        key = ring.status().transit
    raise click.ClickException(
        "Some key is still wrapped under an old version of the Transit key. Run it again."
    )
