"""How commands on databases connect as the owner of their tables."""

from collections.abc import Callable
from pathlib import Path

import click

from vault import config
from vault.store.engine import Database, as_user, connect

_owner = click.option(
    "--owner", help="The PostgreSQL role that owns the tables: a worker's own may not do this."
)
_owner_password_file = click.option(
    "--owner-password-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Where the owner's password is.",
)


def owner_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add --owner and --owner-password-file."""
    return _owner(_owner_password_file(command))


def connect_as(
    section: config.Database, owner: str | None, password_file: Path | None
) -> tuple[Database, str | None]:
    """Make the engines for a database as its owner, if one is named, or as configured.

    The second is the configured role where another one connects.
    """
    if owner is None:
        return connect(section.url, section.password_file), None
    url, role = as_user(section.url, owner)
    return connect(url, password_file), role
