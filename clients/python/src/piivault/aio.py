"""The client for asyncio: `piivault.client` method by method, awaited.

A test holds the two together: same classes, same methods, same signatures, same words.
"""

# ruff: noqa: ASYNC109 - a timeout a method is the API of both clients, and gRPC's own deadline

import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Self

from piivault import _subject_calls
from piivault._call import Scope
from piivault._certificate import TLS
from piivault._settings import DEFAULT_TIMEOUT, Settings
from piivault._transport import AsyncTransport
from piivault._types import Notice, RootId
from piivault.aio_compartment import AsyncCompartmentClient
from piivault.aio_subject import AsyncSubject


class AsyncClient:
    """A connection to piivault, to be opened once and shared by all tasks.

    `timeout` is in seconds, for a whole method with its retries; each method takes its own too.
    Open several `connections` where the server runs several workers. `broker_address` and
    `compartment_addresses` (by compartment) are for deployments that run them apart.
    `signing_keys` are the public keys, by compartment, that receipts are verified by.

    Raises ConfigurationError at once where a certificate file can't be used, and says why.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: TLS,
        timeout: float = DEFAULT_TIMEOUT,
        connections: int = 1,
        broker_address: str | None = None,
        compartment_addresses: Mapping[str, str] | None = None,
        signing_keys: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._transport = AsyncTransport(
            Settings(
                address,
                tls,
                timeout,
                connections,
                broker_address,
                compartment_addresses or {},
                signing_keys or {},
            )
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Open as the environment says: PIIVAULT_ADDRESS and its kin (see the README)."""
        settings = Settings.from_env(os.environ if environ is None else environ)
        return cls(
            settings.address,
            tls=settings.tls,
            timeout=settings.timeout,
            connections=settings.connections,
            broker_address=settings.broker_address,
            compartment_addresses=settings.compartment_addresses,
            signing_keys=settings.signing_keys,
        )

    def subject(
        self, root: RootId, *, assertion: str | Callable[[], Awaitable[str]] | None = None
    ) -> AsyncSubject:
        """Return what acts for one subject; for subject-facing services.

        `assertion` is the identity provider's JWT that says that the subject is there, for services
        of which the edition asks it: a str, or a function that is called for a fresh one whenever
        the broker is asked. A str is good until it expires, after at most 5 minutes; then give a
        function.
        """
        return AsyncSubject(self._transport, root, assertion)

    async def notices(
        self, compartment: str, language: str, *, timeout: float | None = None
    ) -> list[Notice]:
        """Return what a subject must be shown before they consent, sorted by purpose."""
        call = _subject_calls.list_notices(compartment, language)
        return await self._transport.run(call, self._transport.deadline(timeout))

    def compartment(self, name: str, *, purpose: str) -> AsyncCompartmentClient:
        """Return what reads and writes one compartment for one purpose; for internal services."""
        return AsyncCompartmentClient(self._transport, Scope(name, purpose))

    async def close(self) -> None:
        """Close the connections. Calls under way are cancelled."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()
