"""One server of the stack as a process of its own: `piivault serve` with its configuration."""

import signal
import socket
import sysconfig
from pathlib import Path

from vault.dev.child import Child
from vault.dev.layout import Layout
from vault.dev.plan import Server

_PIIVAULT = Path(sysconfig.get_path("scripts"), "piivault")


class Served:
    """Started, waited for, stopped; and started again, if a test or a developer likes."""

    def __init__(self, layout: Layout, server: Server) -> None:
        self.server = server
        self._child = Child(layout, f"piivault-{server.name}", [signal.SIGTERM])

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        return self._child.pid

    @property
    def log(self) -> Path:
        """What it writes to standard output and error."""
        return self._child.log

    def start(self) -> None:
        """Start it; it isn't ready yet."""
        self._child.start([_PIIVAULT, "serve", "--config", self.server.config])

    def wait(self) -> None:
        """Return once it serves; raise DevError if it ends before."""
        self._child.wait_until(self._listens)

    def stop(self) -> None:
        """Let it drain and end."""
        self._child.stop()

    def _listens(self) -> bool:
        """Tell whether it answers: it listens only once all of it is open."""
        host, _, port = self.server.address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except OSError:
            return False
        return True
