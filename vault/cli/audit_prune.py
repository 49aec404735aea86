"""`piivault audit prune`: cut off what the auditor says is old enough."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from vault.cli.auditing import (
    checkpoints_option,
    keys_for,
    public_key_option,
    section_of,
    shipped_for,
    uuids_of,
)
from vault.cli.options import config_option, settings
from vault.cli.owner import connect_as, owner_options
from vault.cli.progress import bars
from vault.service.prune import Pruned
from vault.service.prune import prune as cut


@click.command()
@click.argument("compartment")
@config_option
@checkpoints_option
@public_key_option
@owner_options
def prune(
    compartment: str,
    file: Path,
    shipped: Path | None,
    public_keys: Sequence[str],
    owner: str | None,
    owner_password_file: Path | None,
) -> None:
    """Delete a compartment's events that are older than the auditor's `keep_days`.

    The newest checkpoint says up to where, and the trail is verified first: one that doesn't hold
    is left as it is. No process's own login may delete events: --owner is the role that owns the
    tables.
    """
    read = settings(file)
    section = section_of(read, compartment)
    known, sent = keys_for(public_keys, read), shipped_for(shipped, read)
    with bars() as progress:

        async def work() -> Pruned:
            database, _ = connect_as(section, owner, owner_password_file)
            control, _ = connect_as(read.control, owner, owner_password_file)
            try:
                uuid = (await uuids_of(read, control)).get(compartment)
                return await cut(database, sent, known, progress, uuid)
            finally:
                await control.close()
                await database.close()

        done = asyncio.run(work())
    at = datetime.fromtimestamp(done.at.at / 1_000_000, UTC)
    click.echo(
        f"{compartment}: {done.events:,} events before checkpoint {done.at.number} of "
        f"{at:%Y-%m-%d} are gone; {done.before.events - done.events:,} are left"
    )
