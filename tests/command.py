"""The command `piivault`, run within this process: a process of its own takes a second to start.

    done = piivault("keys", "status", "accounts", PIIVAULT_CONFIG=str(file))
    assert done.returncode == 0, done.stderr

What starts, signals or kills a process runs `COMMAND`.
"""

import sys
import sysconfig
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from subprocess import CompletedProcess
from unittest.mock import patch

from click.testing import CliRunner

from vault.cli import main

COMMAND = Path(sysconfig.get_path("scripts"), "piivault")


def piivault(
    *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """Run the command as its console script does, with more in its environment."""
    words = [str(argument) for argument in arguments]
    with ExitStack() as stack:
        out, err, _ = stack.enter_context(CliRunner().isolation(env=environment))
        stack.enter_context(patch.object(sys, "argv", ["piivault", *words]))
        code = _ended()
        sys.stdout.flush()
        sys.stderr.flush()
        return CompletedProcess(words, code, out.getvalue().decode(), err.getvalue().decode())


def _ended() -> int:
    """Run `main`; return what the process would end with."""
    try:
        main()
    except SystemExit as e:
        if isinstance(e.code, str):
            print(e.code, file=sys.stderr)
            return 1
        return e.code or 0
    return 0
