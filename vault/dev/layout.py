"""The state folder: where everything lies, who may read it, and who holds it.

piivault.toml  ca.pem  lock  ports.json; a file a process where they are split
approles/      NAME.role-id, NAME.secret-id
certificates/  NAME.pem, NAME.key
officers/      NAME.pem          ed25519 signing keys
passwords/     ROLE              of PostgreSQL
env/           NAME.env          to be sourced by a shell
data/          NAME.db           SQLite
openbao/  postgres/  log/  run/  what runs
"""

import fcntl
import json
import os
import secrets
import socket
from pathlib import Path

from vault.dev.errors import DevError

FOLDERS = (
    *("approles", "certificates", "officers", "passwords", "env", "data"),
    *("openbao", "openbao/raft", "postgres", "postgres/data", "log", "run"),
)


class Layout:
    """Paths in a state folder, held by one process at a time from `open` to `close`."""

    def __init__(self, state: Path) -> None:
        self.state = state.resolve()
        self._lock: int | None = None

    def path(self, *parts: str) -> Path:
        """Return a path in the folder."""
        return self.state.joinpath(*parts)

    def open(self) -> None:
        """Make the folder (0700) and take it; raise DevError if it isn't ours or is in use."""
        if self.state.exists() and not self.path("lock").exists() and any(self.state.iterdir()):
            raise DevError(
                f"{self.state} isn't empty and no earlier run made it. Choose another folder."
            )
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state.chmod(0o700)
        try:
            self._lock = take_lock(self.path("lock"))
        except LockTaken as e:
            raise DevError(
                f"{self.state} is in use by process {e.pid}. Stop that one first (Ctrl-C in its"
                " terminal), or choose another folder."
            ) from None
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        for folder in FOLDERS:
            self.path(folder).mkdir(mode=0o700, exist_ok=True)

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def write(self, path: Path, content: str | bytes) -> Path:
        """Write a file that only its owner may read (0600); it is never seen half-written."""
        raw = content.encode() if isinstance(content, str) else content
        new = path.with_name(path.name + ".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(raw)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        return path

    def secret(self, path: Path) -> str:
        """Read a secret of one line, or draw it (256 bits) the first time."""
        if not path.exists():
            self.write(path, secrets.token_urlsafe(32))
        return path.read_text(encoding="ascii").strip()

    def port(self, name: str) -> int:
        """Return a free loopback port for `name`: the one of the last run if it still is free."""
        file = self.path("ports.json")
        ports: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
        port = _free_port(ports.pop(name, 0))
        while port in ports.values():  # another part's, which isn't listening yet
            port = _free_port(0)
        ports[name] = port
        self.write(file, json.dumps(ports, indent=2))
        return port


class LockTaken(Exception):
    """Somebody has the lock: process `pid`, as they wrote into the file."""

    def __init__(self, pid: str) -> None:
        super().__init__(pid)
        self.pid = pid


def take_lock(file: Path) -> int:
    """Open a file, empty it, and lock it; raise LockTaken if somebody has it.

    The lock (flock) belongs to the descriptor: a child that inherits it holds it as well, and it
    ends with the last of them, however they end. So no other process is ever mistaken for it.
    """
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        pid = os.pread(descriptor, 32, 0).decode().strip()
        os.close(descriptor)
        raise LockTaken(pid) from None
    os.ftruncate(descriptor, 0)
    return descriptor


def _free_port(wanted: int) -> int:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", wanted))
        except OSError:
            return _free_port(0)
        port: int = listener.getsockname()[1]
        return port
