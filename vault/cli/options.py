"""Options that several commands share, and how they log."""

import logging
import os
import time
from pathlib import Path

import click

from vault import config
from vault.policy import Edition, compile_edition

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
