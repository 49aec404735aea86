"""A command that is measured, as a process of its own."""

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.command import COMMAND


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took: wall-clock and own processor time in seconds, memory in bytes."""

    wall: float
    processor: float
    memory: int
    said: str


def measured(*arguments: str | Path, environment: Mapping[str, str] | None = None) -> Measured:
    """Run `piivault`; end this program if it fails."""
    argv = [COMMAND, *arguments]
    variables = {**os.environ, **(environment or {})}
    began = time.perf_counter()
    with subprocess.Popen(argv, env=variables, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"piivault ended with {process.returncode}:\n{said}")
    processor = used.ru_utime + used.ru_stime
    return Measured(time.perf_counter() - began, processor, used.ru_maxrss * 1024, said)
