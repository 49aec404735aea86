"""`piivault policy due`: what would be erased under an edition that isn't in force yet."""

import asyncio
from pathlib import Path

import click

from vault import app, config
from vault.cli.options import config_option, read_edition, settings
from vault.policy import Edition
from vault.service.sweep import Counted, count_due


@click.command()
@click.argument("edition", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@config_option
def due(edition: Path, file: Path) -> None:
    """Count what would fall due for erasure under an edition, and say of which fields.

    Run it with a worker's configuration: it opens every record of the worker's compartments,
    shows no value, and changes nothing.
    """
    read, then = settings(file), read_edition(edition)
    for compartment in read.compartments:
        counted = asyncio.run(_due(read, compartment, then))
        listed = ", ".join(f"{name}: {count}" for name, count in sorted(counted.fields.items()))
        click.echo(f"{compartment}: {counted.records} records; falls due: {listed or 'nothing'}")


async def _due(read: config.Settings, compartment: str, then: Edition) -> Counted:
    async with app.opened(read, compartment) as (served, editions):
        return await count_due(served, editions.state(), then)
