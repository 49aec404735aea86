"""Groups of commands that are loaded when they are run: no command waits for the parts of others.

@click.group(cls=Loading, where={"import": "vault.cli.bulk_import:import_"})
"""

import gc
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Loading(click.Group):
    """A group; `where` says of which module, and by which name there, a command is taken."""

    def __init__(self, *args: Any, where: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._where = where

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, loaded or not."""
        return sorted({*self.commands, *self._where})

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands, each with all of its first sentence."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, its.get_short_help_str(limit=200)) for name, its in commands if its]
            )

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Load a command, if there is one of this name."""
        if name not in self.commands and name in self._where:
            self.add_command(_load(self._where[name]), name)
        return super().get_command(ctx, name)


def _load(where: str) -> click.Command:
    """Import a command; look for no garbage meanwhile, for modules stay: a tenth of the time."""
    module, _, attribute = where.partition(":")
    is_on = gc.isenabled()
    gc.disable()
    try:
        command: click.Command = getattr(import_module(module), attribute)
    finally:
        if is_on:
            gc.enable()
    return command
