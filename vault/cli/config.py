"""`piivault config`."""

from pathlib import Path

import click

from vault.cli.options import config_option, settings


@click.group()
def config() -> None:
    """Look at the configuration."""


@config.command()
@config_option
def check(file: Path) -> None:
    """Read the configuration and say what is wrong with it, all faults at once."""
    read = settings(file)
    serves = ", ".join(read.compartments) or "none"
    roles = ", ".join(sorted(read.server.roles))
    click.echo(f"{file} can be used. Roles: {roles}. Compartments: {serves}.")
