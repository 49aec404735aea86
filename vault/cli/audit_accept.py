"""`piivault audit accept`: take note of faults in a trail, so that it goes on behind them."""

import asyncio
from collections.abc import Collection
from contextlib import AsyncExitStack
from pathlib import Path

import click

from vault import app, config
from vault.audit.checkpoint import Checkpoint, Noted
from vault.audit.verification import Verdict
from vault.cli.audit_verdict import tell
from vault.cli.auditing import checkpoints_option, keys_for, section_of, shipped_for, uuids_of
from vault.cli.options import config_option, settings
from vault.cli.progress import bars
from vault.opening import open_checkpoints
from vault.service.verify_chains import verify_database
from vault.store.engine import connect


@click.command()
@click.argument("compartment")
@config_option
@checkpoints_option
@click.option("--yes", is_flag=True, help="Don't ask.")
def accept(compartment: str, file: Path, shipped: Path | None, yes: bool) -> None:
    """Sign that somebody looked at the faults of a compartment's trail.

    For after an inquiry, or a restore from a backup. Nothing is repaired: the faults stay where
    they are and on record, but count no more, and chains are covered again behind them. Takes the
    auditor's own login.
    """
    read = settings(file)
    verdict = asyncio.run(_verify(read, compartment, shipped))
    if tell(compartment, verdict):
        click.echo("There is nothing to accept.")
        return
    if verdict.faults.count > len(verdict.faults.kept):
        raise click.ClickException(
            f"There are more faults than {len(verdict.faults.kept)}: too many to be looked at. "
            "Restore the database from a backup."
        )
    noted = {fault.noted for fault in verdict.faults if fault.noted}
    if other := [fault for fault in verdict.faults if not fault.noted]:
        raise click.ClickException(f"This can't be accepted, only mended: {other[0]}")
    if not yes:
        click.confirm("Accept all of these?", abort=True)
    made = asyncio.run(_accept(read, compartment, noted))
    click.echo(f"{compartment}: accepted by checkpoint {made.number}")


async def _verify(read: config.Settings, name: str, shipped: Path | None) -> Verdict:
    section = section_of(read, name)
    database = connect(section.url, section.password_file)
    known, sent = keys_for((), read), shipped_for(shipped, read)
    control = connect(read.control.url, read.control.password_file)
    try:
        uuid = (await uuids_of(read, control)).get(name)
        with bars() as progress:
            return await verify_database(database, sent, known, progress, uuid)
    finally:
        await control.close()
        await database.close()


async def _accept(read: config.Settings, name: str, noted: Collection[Noted]) -> Checkpoint:
    async with app.audited(read) as (_, trails), AsyncExitStack() as stack:
        of_all, _ = await open_checkpoints(read, trails, stack)
        (checkpoints,) = (its for its in of_all if its.name == name)
        return await checkpoints.accept(noted)
