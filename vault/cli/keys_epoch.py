"""`piivault keys close-epoch`: so that erasures last, in every backup too."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import click
from piivault.keys import Erasures, Keys
from piivault.rotations import Closing

from vault.cli.backup import backup, section_of
from vault.cli.keys import asking
from vault.cli.keys_watch import OFFICERS_LOGIN, at_key_server, trim, watch
from vault.cli.options import config_option, settings
from vault.cli.owner import connect_as, owner_options
from vault.keys.officer import TransitOfficer
from vault.store.backup import has_ring

_TRIES = 3  # to have keys wrapped anew, while another officer rotates too
_WRITE = "`piivault backup {} --keys FILE`"


@click.command(epilog=OFFICERS_LOGIN)
@click.argument("compartment")
@click.option("--yes", is_flag=True, help="Don't ask. Takes --backup, or --no-backup.")
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
@click.option("--no-backup", is_flag=True, help="Write none, and don't ask whether there is one.")
@config_option
@owner_options
@click.pass_context
def close_epoch(
    context: click.Context,
    compartment: str,
    yes: bool,
    drop_superseded: bool,
    backup_file: Path | None,
    no_backup: bool,
    file: Path,
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Close a compartment's epoch: what was erased before can't be read from any backup.

    A new KEK, live data keys wrapped anew, old KEKs destroyed, the Transit key rotated, all keys
    wrapped anew, old versions trimmed away. Backups of keys from before can't be restored then: the
    new one must be written. May be stopped anywhere: the same command goes on. Ends with 0 once
    closed.
    """
    _check_options(backup_file, yes=yes, no_backup=no_backup)
    written = None
    if backup_file:
        written = _Backup(compartment, backup_file, file, owner, owner_password_file)
    with (
        at_key_server() as server,
        asking(compartment, "How far it is isn't known.") as ring,
    ):
        if written:
            written.check_name(ring)
        if not yes:
            click.echo(
                f"All backups of the keys of {compartment} become unreadable; those of its data "
                "stay good, with a new backup of the keys."
            )
            click.confirm(f"Close the epoch of {compartment}?", abort=True)
        if drop_superseded:
            watch(ring, ring.rotate("superseded"))
        closing = ring.close_epoch()
        watch(ring, closing.rotation)
        below = _wrapped_anew(ring, server, closing)
        if written:
            written.write(context)
        elif not no_backup:
            _ask_for_backup(compartment)
        trim(ring, server, ring.status().transit.name, below)
        closed = ring.close_epoch(trimmed_below=below)
        erased = ring.status().erasures
    click.echo(f"Epoch {closed.number} of {compartment} is closed.")
    click.echo(_sentence(erased))
    if not written:
        click.echo(
            "Backups of the keys from before can't be restored any more. If there is no new one "
            f"yet, write it NOW: {_WRITE.format(compartment)}."
        )


@dataclass(frozen=True, slots=True)
class _Backup:
    """The new backup of the keys, and how to read the database that it is of."""

    compartment: str
    path: Path
    config: Path
    owner: str | None
    owner_password_file: Path | None

    def check_name(self, ring: Keys) -> None:
        """Raise ClickException unless the file isn't there, or may be from an earlier run."""
        if not self.path.exists():
            return
        if not any(r.level == "epoch" and r.state == "running" for r in ring.rotations()):
            raise click.ClickException(
                f"{self.path} exists, and no epoch of {self.compartment} is being closed: "
                f"{ring.status().erasures.epochs_closed} are closed by now. To close one more, "
                "name another file. Nothing was changed."
            )

    def write(self, context: click.Context) -> None:
        """Write it, unless an earlier run did.

        One from an earlier run is good as long as no key was wrapped anew since: it opens as the
        keys here do, and is newer than all that won't. Raises ClickException, BackupError.
        """
        if not self.path.exists():
            options = {"owner": self.owner, "owner_password_file": self.owner_password_file}
            where = {"compartment": self.compartment, "data": None, "keys": self.path}
            context.invoke(backup, **where, file=self.config, **options)
        elif asyncio.run(self._is_good()):
            click.echo(f"{self.path} was written by an earlier run. It is kept.")
        else:
            raise click.ClickException(
                f"{self.path} exists, and isn't a backup of the keys of {self.compartment} as they "
                "are now. Name another file, and run it again: it goes on."
            )

    async def _is_good(self) -> bool:
        section = section_of(settings(self.config), self.compartment)
        database, _ = connect_as(section, self.owner, self.owner_password_file)
        try:
            return await has_ring(database, self.path)
        finally:
            await database.close()


def _check_options(backup_file: Path | None, *, yes: bool, no_backup: bool) -> None:
    if backup_file and no_backup:
        raise click.UsageError("Either --backup or --no-backup.")
    if yes and not backup_file and not no_backup:
        raise click.UsageError(
            "With --yes nobody is asked whether there is a new backup of the keys. Have it written "
            "by --backup; or say --no-backup, and write it yourself at once."
        )


def _ask_for_backup(compartment: str) -> None:
    click.echo(
        f"Write a new backup of the keys now: {_WRITE.format(compartment)}. Without it, nothing "
        "can be restored once old versions are trimmed away."
    )
    click.confirm("Is it written?", abort=True)


def _sentence(erased: Erasures) -> str:
    days = erased.snapshot_retention_days
    return (
        f"Erased: {erased.shredded:,} shredded, at least {erased.unrecoverable:,} unrecoverable"
        + (f"; {days} days from now the rest of those before it too." if days else ".")
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
