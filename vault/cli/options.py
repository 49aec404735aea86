"""Options that several commands share, and how they log."""

import logging
import os
from pathlib import Path

import click

from vault import config

config_option = click.option(
    "--config",
    "file",
    type=click.Path(dir_okay=False, path_type=Path),
    default="piivault.toml",
    envvar="PIIVAULT_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration.",
)


def settings(file: Path) -> config.Settings:
    """Read the configuration, with what the environment overrides."""
    return config.load(file, os.environ)


def log_to(file: Path | None = None) -> None:
    """Log to a file, or to standard error."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
