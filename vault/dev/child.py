"""A program of the stack as a child process: started, watched, stopped, never left behind."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vault.dev.errors import DevError
from vault.dev.layout import Layout, LockTaken, take_lock

START_SECONDS = 60.0  # a slow machine starts many at a time
STOP_SECONDS = 10.0  # for each signal

_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND


def program(package: str, *path: str) -> Path:
    """Find a file in the wheel of a package; raise DevError if it isn't installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise DevError(f"{package} isn't installed. Install piivault-server[dev].")
    file = Path(spec.origin).parent.joinpath(*path)
    if not file.exists():
        raise DevError(f"{package} has no {path[-1]} for this machine. See its supported systems.")
    return file


def refuse_leftovers(layout: Layout) -> None:
    """Raise DevError, naming them all, if children of an earlier run are still running."""
    running = {}
    for file in sorted(layout.path("run").glob("*.lock")):
        try:
            os.close(take_lock(file))
        except LockTaken as e:
            running[file.stem] = e.pid
    if running:
        named = ", ".join(f"{name} (process {pid})" for name, pid in running.items())
        raise DevError(
            f"A run that was killed left these running: {named}."
            f" Stop them with `kill {' '.join(running.values())}`, then start again."
        )


class Child:
    """One program. Ctrl-C doesn't reach it (a session of its own): `stop` ends it, in order."""

    def __init__(self, layout: Layout, name: str, signals: Sequence[signal.Signals]) -> None:
        self.name = name
        self.log = layout.path("log", f"{name}.log")
        self._lock = layout.path("run", f"{name}.lock")
        self._signals = signals
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._process.pid if self._process else None

    def start(self, argv: Sequence[str | Path], **options: Any) -> None:
        """Start it. It inherits the lock, and so shows that it lives even after we were killed."""
        lock = take_lock(self._lock)
        try:
            with os.fdopen(os.open(self.log, _APPEND, 0o600), "ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own wheels' programs
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    umask=0o077,
                    pass_fds=(lock,),
                    **options,
                )
            os.pwrite(lock, f"{self._process.pid}\n".encode(), 0)
        finally:
            os.close(lock)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is ready; raise DevError if it ends before or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if self._process is None or self._process.poll() is not None:
                raise DevError(f"{self.name} ended while it started. See the end of {self.log}.")
            if time.monotonic() > deadline:
                raise DevError(
                    f"{self.name} wasn't ready in {START_SECONDS:.0f} s. See the end of {self.log}."
                )
            time.sleep(0.03)

    def stop(self) -> None:
        """End it: politely first, then by force together with what it started."""
        if self._process is None:
            return
        for polite in self._signals:
            self._process.send_signal(polite)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
                break
        else:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        self._process = None
