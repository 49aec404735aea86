"""The client for code with threads. `piivault.aio` is the same for asyncio."""

import os
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Self

from piivault import _subject_calls
from piivault._call import Call, Response, Result, Scope, request_id_or_new, texts
from piivault._certificate import TLS
from piivault._settings import DEFAULT_TIMEOUT, Deadline, Settings
from piivault._subject_calls import Issued
from piivault._transport import Transport
from piivault._types import Consent, Notice, RootId, SubjectKind, SubjectView
from piivault.compartment import CompartmentClient
from piivault.errors import CapabilityExpired


class Client:
    """A connection to piivault, to be opened once and shared by all threads.

    `timeout` is in seconds, for a whole method with its retries; each method takes its own too.
    Open several `connections` where the server runs several workers. `broker_address` and
    `compartment_addresses` (by compartment) are for deployments that run them apart.

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
    ) -> None:
        self._transport = Transport(
            Settings(
                address, tls, timeout, connections, broker_address, compartment_addresses or {}
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
        )

    def subject(
        self, root: RootId, *, assertion: str | Callable[[], str] | None = None
    ) -> "Subject":
        """Return what acts for one subject; for subject-facing services.

        `assertion` is the identity provider's JWT that says that the subject is there, for services
        of which the edition asks it: a str, or a function that is called for a fresh one whenever
        the broker is asked. A str is good until it expires, after at most 5 minutes; then give a
        function.
        """
        return Subject(self._transport, root, assertion)

    def notices(
        self, compartment: str, language: str, *, timeout: float | None = None
    ) -> list[Notice]:
        """Return what a subject must be shown before they consent, sorted by purpose."""
        call = _subject_calls.list_notices(compartment, language)
        return self._transport.run(call, self._transport.deadline(timeout))

    def compartment(self, name: str, *, purpose: str) -> CompartmentClient:
        """Return what reads and writes one compartment for one purpose; for internal services."""
        return CompartmentClient(self._transport, Scope(name, purpose))

    def close(self) -> None:
        """Close the connections. Calls under way are cancelled."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Subject:
    """Acts for one subject. Pseudonyms and capabilities are asked for as needed, and kept."""

    def __init__(
        self, transport: Transport, root: RootId, assertion: str | Callable[[], str] | None = None
    ) -> None:
        self._transport = transport
        self._root = _subject_calls.checked_root(root)
        self._assertion = _subject_calls.checked_assertion(assertion)
        self._issued: dict[str, Issued] = {}

    def pseudonym(self, compartment: str, *, timeout: float | None = None) -> str:
        """Return the subject's pseudonym in the compartment, to be given to its services."""
        return self._issue(compartment, self._transport.deadline(timeout)).pseudonym

    def register(
        self,
        compartment: str,
        fields: Mapping[str, str],
        consents: Iterable[Consent] = (),
        *,
        kind: SubjectKind = "person",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Open the subject's record with its first values; return its etag."""
        given, id_ = tuple(consents), request_id_or_new(request_id)
        return self._act(
            compartment,
            timeout,
            lambda cap: _subject_calls.register(compartment, cap, kind, fields, given, id_),
        )

    def put(
        self,
        compartment: str,
        fields: Mapping[str, str | None],
        *,
        etag: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Set values, and remove those given as None; return the new etag.

        With `etag`, raise StaleEtag unless the record is still at that version.
        """
        id_ = request_id_or_new(request_id)
        return self._act(
            compartment,
            timeout,
            lambda cap: _subject_calls.put(compartment, cap, fields, etag, id_),
        )

    def view(
        self, compartment: str, fields: Iterable[str] = (), *, timeout: float | None = None
    ) -> SubjectView:
        """Return the subject's own values (all, unless `fields` names some) and consents."""
        names = texts(fields, "fields")
        return self._act(
            compartment, timeout, lambda cap: _subject_calls.view(compartment, cap, names)
        )

    def grant(
        self,
        compartment: str,
        consents: Iterable[Consent],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Add or renew consents; return the new etag."""
        given, id_ = tuple(consents), request_id_or_new(request_id)
        return self._act(
            compartment, timeout, lambda cap: _subject_calls.grant(compartment, cap, given, id_)
        )

    def withdraw(
        self,
        compartment: str,
        purposes: Iterable[str],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Take consents back; return the new etag. No later reveal sees a value under them."""
        names, id_ = texts(purposes, "purposes"), request_id_or_new(request_id)
        return self._act(
            compartment,
            timeout,
            lambda cap: _subject_calls.withdraw(compartment, cap, names, id_),
        )

    def erase(
        self, compartment: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> None:
        """Erase the subject's record in the compartment. It doesn't come back."""
        id_ = request_id_or_new(request_id)
        self._act(compartment, timeout, lambda cap: _subject_calls.erase(compartment, cap, id_))

    def __repr__(self) -> str:
        return "Subject(…)"

    def _issue(self, compartment: str, deadline: Deadline) -> Issued:
        issued = self._issued.get(compartment)
        if issued is None or not issued.is_fresh():
            given = self._assertion() if callable(self._assertion) else self._assertion
            call = _subject_calls.issue(compartment, self._root, given or "")
            issued = self._transport.run(call, deadline)
            self._issued[compartment] = issued
        return issued

    def _act(
        self,
        compartment: str,
        timeout: float | None,
        call: Callable[[str], Call[Response, Result]],
    ) -> Result:
        """Call with the capability; should it have expired on the way, once more with a new one."""
        deadline = self._transport.deadline(timeout)
        try:
            issued = self._issue(compartment, deadline)
            return self._transport.run(call(issued.capability), deadline)
        except CapabilityExpired:
            self._issued.pop(compartment, None)
        issued = self._issue(compartment, deadline)
        return self._transport.run(call(issued.capability), deadline)
