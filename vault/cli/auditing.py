"""What commands on trails share: which databases, which public keys, which shipped checkpoints."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from vault import config
from vault.audit.signed import by_id
from vault.cli.options import settings
from vault.errors import VaultError
from vault.names import BROKER, BROKER_TRAIL, read_ed25519_key
from vault.opening import checkpoint_keys, officer_keys
from vault.policy import EditionError
from vault.service.editions import Editions
from vault.service.ledger import ControlChainError
from vault.service.verify_chains import Keys, ShippedFile
from vault.store.control import ControlChain
from vault.store.engine import Database

public_key_option = click.option(
    "--public-key",
    "public_keys",
    multiple=True,
    metavar="KEY",
    help="A public key that signs checkpoints, in base64url; `piivault audit keys` prints it. "
    "By default those in the configuration.",
)
checkpoints_option = click.option(
    "--checkpoints",
    "shipped",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file of shipped checkpoints; by default `ship_file` of the configuration, if any.",
)


def sections_of(read: config.Settings) -> Mapping[str, config.Database]:
    """Return each trail's database, by name: as the auditor has them, or a worker or the broker."""
    if read.auditor is not None:
        return {name: part.database for name, part in read.auditor.trails.items()}
    own = {BROKER: read.broker.database} if read.broker else {}
    return {name: part.database for name, part in read.compartments.items()} | own


def section_of(read: config.Settings, name: str) -> config.Database:
    """Return the database of a compartment; raise ClickException."""
    sections = sections_of(read)
    if name not in sections:
        known = ", ".join(sections) or "none"
        raise click.ClickException(f"The configuration has no compartment {name}. It has {known}.")
    return sections[name]


async def uuids_of(read: config.Settings, database: Database) -> Mapping[str, bytes]:
    """Return what stands for each compartment in its trail, by name, as the officers signed it.

    `database` is control's. Says so, and knows the broker's alone, if that can't be read.
    """
    known = {BROKER: BROKER_TRAIL}
    try:
        editions = Editions(ControlChain(database), officer_keys(read), math.inf)
        await editions.refresh()
    except (ControlChainError, EditionError, VaultError) as e:
        click.echo(f"The compartments' own ids aren't known, as the control chain fails: {e}")
        return known
    for edition in editions.ledger.editions.values():
        known |= {name: its.uuid for name, its in edition.compartments.items()}
    return known


def say_damaged(shipped: ShippedFile | None) -> None:
    """Say how many lines of a file are passed over that should be checkpoints."""
    if shipped is not None and (damaged := shipped.damaged()):
        click.echo(
            f"{damaged:,} lines of {shipped.file} speak of a checkpoint and can't be read: passed "
            "over. A crash leaves one; more of them were damaged.",
            err=True,
        )


def keys_for(given: Sequence[str], read: config.Settings | None) -> Keys:
    """Return public keys by key id: those given, or those pinned; raise ClickException."""
    if given:
        return by_id(_public_key(text) for text in given)
    if read is not None and read.auditor is not None and read.auditor.checkpoint_keys:
        return checkpoint_keys(read.auditor)
    raise click.ClickException(
        "No public key to verify checkpoints with. Give --public-key, or `checkpoint_keys` in "
        "[auditor] of the configuration; `piivault audit keys` prints them to the auditor."
    )


def shipped_for(given: Path | None, read: config.Settings | None) -> ShippedFile | None:
    """Return the shipped checkpoints: those given, or where the auditor ships them."""
    file = given
    if file is None and read is not None and read.auditor is not None:
        file = read.auditor.ship_file
    return ShippedFile(file) if file is not None and file.exists() else None


def configuration(file: Path, *, needed: bool) -> config.Settings | None:
    """Read the configuration; None if there is none and none is needed."""
    return settings(file) if needed or file.exists() else None


def _public_key(text: str) -> bytes:
    try:
        return read_ed25519_key(text)
    except ValueError as e:
        raise click.UsageError(f"--public-key: {e}") from None
