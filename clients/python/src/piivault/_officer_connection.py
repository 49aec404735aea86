"""An officer's connection: what the clients of officers' and auditors' tools share."""

import os
from collections.abc import Mapping
from typing import Self, TypeVar

from google.protobuf.message import Message

from piivault._call import Call, request_id_or_new
from piivault._settings import Settings
from piivault._transport import Transport

Response = TypeVar("Response", bound=Message)

_TIMEOUT = 30.0  # seconds: to check an edition, or to look at a page of events, takes long


class OfficerConnection:
    """Sends an officer's calls, and hands back what is answered as it is."""

    def __init__(self, settings: Settings) -> None:
        self._transport = Transport(settings)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Read PIIVAULT_ADDRESS and the rest; raise ConfigurationError naming what is missing."""
        return cls(Settings.from_env(os.environ if environ is None else environ))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _send(
        self, method: str, compartment: str | None, request: Message, response: type[Response]
    ) -> Response:
        call = as_it_is(method, compartment, request, response)
        return self._transport.run(call, self._transport.deadline(_TIMEOUT))


def as_it_is(
    method: str, compartment: str | None, request: Message, response: type[Response]
) -> Call[Response, Response]:
    """Return a call whose answer is the message itself."""
    return Call(method, compartment, request, response, lambda answer: answer, request_id_or_new())
