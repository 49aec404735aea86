"""Options that several commands share, and how they log."""

import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

import click

from vault import config
from vault.policy import Edition, compile_edition
from vault.store.engine import Database, as_user, connect

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


def settings(file: Path) -> config.Settings:
    """Read the configuration, with what the environment overrides."""
    return config.load(file, os.environ)


def read_edition(file: Path) -> Edition:
    """Read an edition from a file; raise ClickException or EditionError with what is wrong."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise click.ClickException(f"{file} isn't UTF-8: save it as UTF-8.") from None
    except OSError as e:
        raise click.ClickException(f"{file} can't be read ({e.strerror}).") from None
    return compile_edition(text)


class _Lines(logging.Formatter):
    """Lines of a log; a second is written out once for all lines of it."""

    _second, _written = -1, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        """Return the moment, in milliseconds."""
        second = int(record.created)
        if second != self._second:
            self._second = second
            self._written = time.strftime(self.default_time_format, self.converter(second))
        return f"{self._written},{record.msecs:03.0f}"


def log_to(who: str = "", file: Path | None = None) -> None:
    """Log to a file, or to standard error; each line says who, if there are several."""
    handler = logging.FileHandler(file, encoding="utf-8") if file else logging.StreamHandler()
    handler.setFormatter(_Lines(f"%(asctime)s %(levelname)s %(name)s {who}%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    # Looked up for each line, and in none of them (Python's logging HOWTO, "Optimization").
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None
