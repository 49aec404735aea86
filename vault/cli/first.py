"""`piivault policy first`: the edition that a house begins with."""

import asyncio
from pathlib import Path

import click

from vault import app
from vault.cli.options import config_option, read_edition, settings
from vault.cli.signing import parse_signatures


@click.command()
@click.argument("policy", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--signature",
    "given",
    multiple=True,
    required=True,
    help="OFFICER:HEX, as `piivault policy sign` printed it.",
)
@config_option
def first(policy: Path, given: tuple[str, ...], file: Path) -> None:
    """Publish the first edition, straight into the control database: control starts with one.

    Run it with control's own configuration. All later editions go through control.
    """
    signatures = parse_signatures(given)
    read_edition(policy)
    if not asyncio.run(app.publish_first(settings(file), policy.read_bytes(), signatures)):
        raise click.ClickException("There is an edition already. Publish others through control.")
    click.echo(f"{policy} is the first edition. Signed by {', '.join(sorted(signatures))}.")
