"""A port that several processes of ours listen on together, and nobody else.

SO_REUSEPORT lets whoever has our user id listen along, and the kernel gives them a share of the
connections: a second server, started by mistake, would join without a word. So the port is taken
for ourselves alone first, which fails where anybody listens, and shared only then, without being
let go in between. It stays taken while we live: another user can't have it, nor can a server that
asks for it alone, as `piivault serve` does. A program of our own user id that shares still
could: give piivault a user of its own.
"""

import errno
import socket
from typing import Any

# An address of a name that this machine doesn't have, or of a family that it doesn't speak.
_ABSENT = {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


class Port:
    """A reserved port, on each address that a name stands for; never listened on here."""

    def __init__(self, host: str, port: int, holding: list[socket.socket]) -> None:
        self._host = host
        self._holding = holding
        self.port = port

    @property
    def address(self) -> str:
        """What to listen on."""
        return f"{self._host}:{self.port}"

    def close(self) -> None:
        """Let go of it."""
        for holding in self._holding:
            holding.close()


def reserve(address: str) -> Port:
    """Reserve HOST:PORT, or any free port for 0. Raises OSError where it can't be had."""
    host, _, number = address.rpartition(":")
    if not host or not number.isdigit():
        raise OSError(f"{address} isn't HOST:PORT, which several workers could share.")
    port, holding = int(number), list[socket.socket]()
    try:
        for family, *_, place in socket.getaddrinfo(host.strip("[]"), 0, type=socket.SOCK_STREAM):
            held = _take(family, (place[0], port, *place[2:]))
            if held is not None:
                holding.append(held)
                port = held.getsockname()[1]
        if not holding:
            raise OSError(errno.EADDRNOTAVAIL, "it isn't this machine's")
    except OSError as e:
        for held in holding:
            held.close()
        raise OSError(
            f"can't have {address} for ourselves ({e.strerror}). Is another server there?"
        ) from None
    return Port(host, port, holding)


def _take(family: socket.AddressFamily, place: tuple[Any, ...]) -> socket.socket | None:
    """Bind alone, then let others of ours in; None for an address that isn't here."""
    for reuse in (0, 1):  # 1: connections of an earlier server may linger; a listener still doesn't
        holding = socket.socket(family, socket.SOCK_STREAM)
        try:
            holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            holding.bind(place)
            holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError as e:
            holding.close()
            if e.errno in _ABSENT:
                return None
            if reuse:
                raise
        else:
            return holding
    return None
