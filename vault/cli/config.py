"""`piivault config`."""

from pathlib import Path

import click

from vault.cli.options import config_option, settings
from vault.roles import faults


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@config_option
def check(file: Path) -> None:
    """Read the configuration and say what is wrong with it, all faults at once."""
    read = settings(file)
    if found := faults(read):
        raise click.ClickException("\n".join([f"{file} can't be used:", *found]))
    serves = ", ".join(read.compartments) or "none"
    roles = ", ".join(sorted(read.server.roles))
    click.echo(f"{file} can be used. Roles: {roles}. Compartments: {serves}.")
    if read.broker and read.broker.identity_providers:
        issuers = ", ".join(provider.issuer for provider in read.broker.identity_providers)
        click.echo(f"Identity providers: {issuers}.")
