"""Acting for one subject, for code with threads. `piivault.aio_subject` is the same for asyncio."""

from collections.abc import Callable, Iterable, Mapping

from piivault import _request_calls, _subject_calls
from piivault._call import Call, Response, Result, request_id_or_new, text, texts
from piivault._report import Report
from piivault._requests import Erasure, SealedExport, SubjectRequest
from piivault._settings import Deadline
from piivault._subject_calls import Issued
from piivault._transport import Transport
from piivault._types import Consent, ConsentText, RootId, SubjectKind, SubjectView
from piivault.errors import CapabilityExpired
from piivault.export_keys import PublicKey
from piivault.receipt import checked
from piivault.v1.subject_service_pb2 import ReportResponse


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
        given, id_ = _subject_calls.several(consents), request_id_or_new(request_id)
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

    def export(
        self,
        compartment: str,
        key: PublicKey,
        *,
        assertion: str | Callable[[], str] | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> SealedExport:
        """Return all that the record holds, in a package that the key's maker alone can open.

        Give it to the subject, then say so: its request is open until then.

        The key is one that the subject made for this compartment and this export
        (`piivault.export_keys`). Where an identity provider is known, `assertion` (or the one that
        this subject was opened with) must name the key's thumbprint as `jkt` of its `cnf`.
        """
        digest, id_ = _subject_calls.checked_key(key).digest, request_id_or_new(request_id)
        deadline = self._transport.deadline(timeout)
        shown = self._shown(_subject_calls.checked_assertion(assertion) or self._assertion)
        issue = _subject_calls.issue(compartment, self._root, shown, digest)
        capability = self._transport.run(issue, deadline).capability
        return self._transport.run(
            _request_calls.export(compartment, capability, key, id_), deadline
        )

    def report(
        self,
        compartment: str,
        language: str,
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> Report:
        """Return what is done with the subject's data: what is held and what for, and who read it.

        Texts are in a language of the edition, such as "ky". Give it to the subject, then say so:
        its request is open until then. `timeout` is for each of its pages.
        """
        pages, id_ = list[ReportResponse](), request_id_or_new(request_id)
        while not pages or pages[-1].next_page_token:
            ask = _request_calls.report_page(compartment, language, pages, id_)
            pages.append(self._act(compartment, timeout, ask))
        return Report.of(pages)

    def grant(
        self,
        compartment: str,
        consents: Iterable[Consent],
        *,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Add or renew consents; return the new etag."""
        given, id_ = _subject_calls.several(consents), request_id_or_new(request_id)
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
    ) -> Erasure:
        """Erase the subject's record in the compartment; return the receipt, and what is kept.

        It doesn't come back. Repeated, it is answered with a receipt again. Where the compartment's
        signing keys are known (`signing_keys`), the receipt is verified: raises AttestationError.
        """
        id_ = request_id_or_new(request_id)
        erasure = self._act(
            compartment, timeout, lambda cap: _request_calls.erase(compartment, cap, id_)
        )
        keys = self._transport.signing_keys(compartment)
        return checked(erasure, keys, self._issued[compartment].pseudonym)

    def consents(
        self, compartment: str, language: str = "", *, timeout: float | None = None
    ) -> list[ConsentText]:
        """Return the consents with the text that each was given to, sorted by purpose.

        In `language`, or in the one that each was given in. Old editions' texts stay.
        """
        asked = text(language, "language")
        return self._act(
            compartment,
            timeout,
            lambda cap: _subject_calls.list_consents(compartment, cap, asked),
        )

    def restrict(
        self, compartment: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> SubjectRequest:
        """Restrict processing: services get Restricted, but for what the law demands."""
        id_ = request_id_or_new(request_id)
        return self._act(
            compartment, timeout, lambda cap: _request_calls.restrict(compartment, cap, id_)
        )

    def lift_restriction(
        self, compartment: str, *, request_id: str | None = None, timeout: float | None = None
    ) -> str:
        """Lift the restriction; return the new etag."""
        id_ = request_id_or_new(request_id)
        return self._act(
            compartment, timeout, lambda cap: _request_calls.lift_restriction(compartment, cap, id_)
        )

    def request(
        self, compartment: str, id_: bytes, *, timeout: float | None = None
    ) -> SubjectRequest:
        """Return how one of the subject's requests stands."""
        return self._act(
            compartment, timeout, lambda cap: _request_calls.get_request(compartment, cap, id_)
        )

    def finish(
        self, compartment: str, id_: bytes, *, timeout: float | None = None
    ) -> SubjectRequest:
        """Say that the answer to a request came, which closes it."""
        return self._act(
            compartment, timeout, lambda cap: _request_calls.finish_request(compartment, cap, id_)
        )

    def __repr__(self) -> str:
        return "Subject(…)"

    def _issue(self, compartment: str, deadline: Deadline) -> Issued:
        issued = self._issued.get(compartment)
        if issued is None or not issued.is_fresh():
            shown = self._shown(self._assertion)
            call = _subject_calls.issue(compartment, self._root, shown)
            issued = self._transport.run(call, deadline)
            self._issued[compartment] = issued
        return issued

    def _shown(self, assertion: str | Callable[[], str] | None) -> str:
        return (assertion() if callable(assertion) else assertion) or ""

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
