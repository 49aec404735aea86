"""Where checkpoints go besides their database: a file, and standard output.

What is shipped is out of the reach of whoever holds the database: the promise that a trail is
complete ends at the last checkpoint that was shipped.
"""

import os
import sys
import threading
from pathlib import Path

from vault.audit.checkpoint import Checkpoint
from vault.audit.signed import CheckpointError, Signed

_TAIL = 4 * 1024 * 1024  # bytes of a file that are read to find what was shipped last


class Shipping:
    """Appends lines, durably. Calls block, and raise OSError; threads may share it."""

    def __init__(self, file: Path | None, *, stdout: bool = False) -> None:
        self._file, self._stdout = file, stdout
        self._lock = threading.Lock()

    @property
    def goes_nowhere(self) -> bool:
        """Whether nothing is shipped at all."""
        return self._file is None and not self._stdout

    def ship(self, line: str) -> None:
        """Return once the line is in the file, durably, and on standard output."""
        with self._lock:
            if self._file is not None:
                _append(self._file, line)
            if self._stdout:
                sys.stdout.write(line + "\n")
                sys.stdout.flush()

    def last(self, compartment: bytes) -> Signed | None:
        """Return a compartment's last in the end of the file; its signature isn't checked."""
        found: tuple[int, Signed] | None = None
        for line in _tail(self._file):
            try:
                signed = Signed.from_line(line)
                checkpoint = Checkpoint.read(signed.body)
            except CheckpointError:
                continue  # of the control chain, or cut off at the file's end
            if checkpoint.compartment == compartment and (
                found is None or checkpoint.number >= found[0]
            ):
                found = (checkpoint.number, signed)
        return found[1] if found else None


def _append(file: Path, line: str) -> None:
    made = not file.exists()
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"  # by a crash in a write
        _write(handle, (b"\n" if torn else b"") + line.encode() + b"\n")
        os.fsync(handle)
    finally:
        os.close(handle)
    if made:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _write(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]


def _tail(file: Path | None) -> list[bytes]:
    """Return the whole lines at the end of a file."""
    if file is None or not file.exists():
        return []
    with file.open("rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        opened.seek(max(0, size - _TAIL))
        lines = opened.read().split(b"\n")
    return lines[:-1] if size <= _TAIL else lines[1:-1]
