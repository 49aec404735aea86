"""Connections: how many, with which retries, and with which certificate.

Both clients share this; they differ only in the kind of channel that they open.
"""

import json
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Generic, TypeVar

import grpc

from piivault import _certificate
from piivault._certificate import TLS
from piivault._settings import LONGEST_TIMEOUT, Settings
from piivault.errors import ConfigurationError

Options = Sequence[tuple[str, str | int]]

# Retried within the call's deadline, with jitter of gRPC's own. Safe for writes too, because
# every attempt carries the same request id. CANCELLED is what a draining server may answer. On
# RESOURCE_EXHAUSTED the server says when to come back, or not to (grpc-retry-pushback-ms).
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{}],
            "waitForReady": False,
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.05s",
                "backoffMultiplier": 3,
                "maxBackoff": "1s",
                "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED", "RESOURCE_EXHAUSTED"],
            },
        }
    ]
}

OPTIONS: Options = (
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),  # no retry policy from DNS
    # Without a pool of its own, all channels to one address share one connection.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that restarts is found again within the retries, not after gRPC's full second.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # Not below five minutes: servers refuse clients that ping more often.
    ("grpc.keepalive_time_ms", 300_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)

_CHECK_FILES_EVERY = 1.0  # seconds
_RETIRE_AFTER = 2 * LONGEST_TIMEOUT  # by then no call is left on a replaced connection

Channel = TypeVar("Channel")


class Connections(Generic[Channel]):
    """The open channels of one client, to each address as many as the settings say.

    gRPC can't exchange the certificate of an open channel. So the files are looked at once a
    second, and when they changed, new channels replace the old ones, which finish their calls.
    """

    def __init__(
        self,
        settings: Settings,
        open_channel: Callable[[str, grpc.ChannelCredentials, Options], Channel],
    ) -> None:
        self._settings = settings
        self._open_channel = open_channel
        self._lock = threading.Lock()
        self._turn = count()
        self._channels: dict[str, list[Channel]] = {}
        self._retired: list[tuple[float, Channel]] = []
        self._closed = False
        self._stamp = settings.tls.stamp()
        self._credentials = _credentials(settings.tls)
        self._look_again = time.monotonic() + _CHECK_FILES_EVERY

    def pick(self, address: str) -> Channel:
        """Return the channel whose turn it is, opened if need be."""
        with self._lock:
            if self._closed:
                raise RuntimeError("this client is closed; open a new one")
            self._follow_files()
            channels = self._channels.get(address)
            if channels is None:
                channels = self._channels[address] = [
                    self._open_channel(address, self._credentials, OPTIONS)
                    for _ in range(self._settings.connections)
                ]
            return channels[next(self._turn) % len(channels)]

    def take_idle(self) -> list[Channel]:
        """Return replaced channels that no call uses any more, for the caller to close."""
        if not self._retired:  # the usual case, without the lock
            return []
        with self._lock:
            now = time.monotonic()
            idle = [channel for since, channel in self._retired if now - since > _RETIRE_AFTER]
            self._retired = [r for r in self._retired if now - r[0] <= _RETIRE_AFTER]
            return idle

    def take_all(self) -> list[Channel]:
        """Close the door, and return every channel for the caller to close."""
        with self._lock:
            self._closed = True
            self._retire_all()
            channels = [channel for _, channel in self._retired]
            self._retired = []
            return channels

    def _follow_files(self) -> None:
        now = time.monotonic()
        if now < self._look_again:
            return
        self._look_again = now + _CHECK_FILES_EVERY
        stamp = self._settings.tls.stamp()
        if stamp == self._stamp:
            return
        try:
            self._credentials = _credentials(self._settings.tls)
        except ConfigurationError:
            return  # half written, or wrong: the old certificate serves on, and we look again
        self._stamp = stamp
        self._retire_all()

    def _retire_all(self) -> None:
        now = time.monotonic()
        for channels in self._channels.values():
            self._retired.extend((now, channel) for channel in channels)
        self._channels = {}


def _credentials(tls: TLS) -> grpc.ChannelCredentials:
    pem = _certificate.load(tls)
    return grpc.ssl_channel_credentials(pem.ca, pem.private_key, pem.certificate)
