"""`piivault db`."""

import asyncio
from pathlib import Path

import click

from vault import config
from vault.cli.options import config_option, settings
from vault.cli.owner import connect_as, owner_options
from vault.names import BROKER
from vault.roles import control_rights
from vault.store import schema
from vault.store.rights import Rights, auditor_rights
from vault.store.role_sql import grant
from vault.store.schema import Schema, schema_of


@click.group()
def db() -> None:
    """Look after the databases."""


@db.command()
@config_option
@owner_options
def upgrade(file: Path, owner: str | None, owner_password_file: Path | None) -> None:
    """Bring the configured databases to this release's schema; safe to repeat."""
    read = settings(file)
    audited = read.auditor.trails if read.auditor else {}
    broker = {BROKER: read.broker.database} if read.broker else {}
    sections = [
        ("control", read.control, Schema.CONTROL, control_rights(read.server.roles)),
        *((n, c.database, Schema.COMPARTMENT, Rights.WORKER) for n, c in read.compartments.items()),
        *((n, section, Schema.BROKER, Rights.BROKER) for n, section in broker.items()),
        *((n, a.database, schema_of(n), auditor_rights(n)) for n, a in audited.items()),
    ]
    for name, section, kind, rights in sections:
        asyncio.run(_upgrade(section, kind, rights, owner, owner_password_file))
        click.echo(f"{name}: up to date")


async def _upgrade(
    section: config.Database,
    kind: Schema,
    rights: Rights,
    owner: str | None,
    password_file: Path | None,
) -> None:
    database, role = connect_as(section, owner, password_file)
    try:
        await schema.upgrade(database, kind)
        if role and database.is_postgresql:
            await grant(database, role, rights)
    finally:
        await database.close()
