"""`piivault db`."""

import asyncio
from pathlib import Path

import click

from vault import config
from vault.cli.options import config_option, settings
from vault.store import schema
from vault.store.engine import as_user, connect
from vault.store.schema import Schema


@click.group()
def db() -> None:
    """Look after the databases."""


@db.command()
@config_option
@click.option("--owner", help="The role that owns the tables; a worker's own can't change them.")
@click.option(
    "--owner-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where the owner's password is.",
)
def upgrade(file: Path, owner: str | None, owner_password_file: Path | None) -> None:
    """Bring the configured databases to this release's schema; safe to repeat."""
    read = settings(file)
    sections = {"control": (read.control, Schema.CONTROL)} | {
        name: (compartment.database, Schema.COMPARTMENT)
        for name, compartment in read.compartments.items()
    }
    for name, (section, kind) in sections.items():
        asyncio.run(_upgrade(section, kind, owner, owner_password_file))
        click.echo(f"{name}: up to date")


async def _upgrade(
    section: config.Database, kind: Schema, owner: str | None, password_file: Path | None
) -> None:
    if owner is None:
        database, role = connect(section.url, section.password_file), None
    else:
        url, role = as_user(section.url, owner)
        database = connect(url, password_file)
    try:
        await schema.upgrade(database, kind)
        if role and database.is_postgresql:
            await schema.grant(database, kind, role)
    finally:
        await database.close()
