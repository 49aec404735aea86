"""The command as a whole: each of its parts is loaded when it is run, and no other."""

import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from vault.cli import cli
from vault.cli.said import said
from vault.errors import Reason, VaultError
from vault.policy import EditionError, compile_edition

_LOADED = """
import sys
from vault.cli import cli
cli.main([*sys.argv[1:], "--help"], standalone_mode=False)
print(*sys.modules, file=sys.stderr)
"""


def _commands(group: click.Group, *path: str) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Load every command; yield by which words it is run, and its own name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield (*path, name), command.name
        if isinstance(command, click.Group):
            yield from _commands(command, *path, name)


def test_every_command_is_where_its_group_says() -> None:
    found = dict(_commands(cli))
    assert len(found) > 40
    assert {words: own for words, own in found.items() if words[-1] != own} == {}


def test_there_is_no_other_command() -> None:
    with pytest.raises(click.UsageError, match="No such command 'reveal'"):
        cli.main(["reveal"], standalone_mode=False)


@pytest.mark.parametrize("words", [("keys", "suspend"), ("requests",), ("audit", "list")])
def test_who_asks_a_process_waits_for_no_database_and_no_server(words: tuple[str, ...]) -> None:
    """An officer at night has what they asked for at once."""
    argv = [sys.executable, "-c", _LOADED, *words]
    loaded = set(subprocess.run(argv, check=True, capture_output=True, text=True).stderr.split())
    assert "piivault" in loaded
    assert loaded.isdisjoint({"sqlalchemy", "hvac", "alembic", "vault.app"})


def _refusal() -> EditionError:
    with pytest.raises(EditionError) as caught:
        compile_edition("edition: none")
    return caught.value


ERRORS = {
    "a refusal": (VaultError(Reason.NOT_FOUND, "It isn't there."), "It isn't there."),
    "a fault": (_refusal(), str(_refusal())),
    "a file": (FileNotFoundError(2, "No such file", "a.yaml"), "a.yaml: No such file"),
    "a disk": (OSError(), "OSError"),
    "nobody's": (KeyError("a value"), None),
}


@pytest.mark.parametrize(("error", "words"), ERRORS.values(), ids=ERRORS)
def test_what_a_person_can_act_on_is_said(error: Exception, words: str | None) -> None:
    assert said(error) == words


def test_a_group_tells_all_of_what_each_command_does(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["keys", "--help"], standalone_mode=False)
    commands = capsys.readouterr().out.partition("Commands:")[2]
    assert "..." not in commands
    assert "under it until `resume`." in " ".join(commands.split())
