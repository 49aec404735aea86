"""`piivault policy`."""

from pathlib import Path

import click

from vault.policy import compile_edition


@click.group()
def policy() -> None:
    """Look at editions of the policy."""


@policy.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(file: Path) -> None:
    """Read an edition and say what is wrong with it, all faults at once."""
    edition = compile_edition(file.read_text(encoding="utf-8"))
    click.echo(
        f"{file} can be published: edition {edition.number}, "
        f"{len(edition.compartments)} compartments, {len(edition.purposes)} purposes, "
        f"{len(edition.services)} services. Nobody would hold what must not be joined."
    )
    click.echo(f"digest {edition.digest.hex()}")
