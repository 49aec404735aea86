"""What an internal service does in one compartment, for code with threads."""

import time
from collections.abc import Iterable, Iterator, Mapping

from piivault import _record_calls
from piivault._call import Call, Response, Result, Scope, texts
from piivault._settings import LONGEST_TIMEOUT
from piivault._transport import Transport
from piivault._types import Description, Put, PutItem, Revealed, RevealedItem
from piivault.errors import InvalidRequest, NotFound, RateLimited


class CompartmentClient:
    """Reads and writes one compartment for one purpose."""

    def __init__(self, transport: Transport, scope: Scope) -> None:
        self._transport = transport
        self._scope = scope

    def reveal(
        self,
        pseudonym: str,
        fields: Iterable[str],
        *,
        recipient: str | None = None,
        timeout: float | None = None,
    ) -> Revealed:
        """Return fields of one record, each in the form that the purpose gives it.

        `recipient` is the third party that they are disclosed to, by its name in the edition.
        """
        return self._run(_record_calls.reveal(self._scope, pseudonym, fields, recipient), timeout)

    def reveal_many(
        self,
        pseudonyms: Iterable[str],
        fields: Iterable[str],
        *,
        recipient: str | None = None,
        batch_size: int = _record_calls.LARGEST_BATCH,
        timeout: float | None = None,
    ) -> Iterator[RevealedItem]:
        """Yield one item a pseudonym, in order; each has a record or an error of its own.

        Batches are asked for as the items are taken. `timeout` is for each batch.
        """
        names = texts(fields, "fields")
        for batch in _record_calls.batches(pseudonyms, batch_size):
            yield from self._run(
                _record_calls.batch_reveal(self._scope, batch, names, recipient), timeout
            )

    def stream_reveal(
        self,
        pseudonyms: Iterable[str],
        fields: Iterable[str],
        *,
        recipient: str | None = None,
        timeout: float = LONGEST_TIMEOUT,
    ) -> Iterator[RevealedItem]:
        """Yield one item a pseudonym, in order; each is decided when the server comes to it.

        Up to 64 pseudonyms are taken ahead of their items. A connection lasts for `timeout`, and
        the next one goes on; DeadlineExceeded is raised if one brought nothing.
        """
        if isinstance(pseudonyms, str):
            raise InvalidRequest("pseudonyms is a list; for one alone there is reveal().")
        call = _record_calls.stream_reveal(self._scope, fields, recipient)
        yield from self._transport.duplex(call, pseudonyms, timeout)

    def bulk_put(
        self, items: Iterable[PutItem], *, timeout: float = LONGEST_TIMEOUT
    ) -> Iterator[Put]:
        """Put items and yield what became of each, in order. What was done isn't done again.

        Up to 128 are taken ahead, and done many at once; those of one record one after another. A
        connection lasts for `timeout`, and the next one goes on; DeadlineExceeded is raised if one
        brought nothing. Repeat what wasn't yielded then, with the same request ids.
        """
        yield from self._transport.duplex(_record_calls.bulk_put(self._scope), items, timeout)

    def put(
        self,
        pseudonym: str,
        fields: Mapping[str, str | None],
        *,
        etag: str | None = None,
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> str:
        """Set values, and remove those given as None; return the new etag.

        With `etag`, raise StaleEtag unless the record is still at that version.
        """
        call = _record_calls.put(self._scope, pseudonym, fields, etag, request_id)
        return self._run(call, timeout)

    def find(self, *, timeout: float | None = None, **field: str) -> str | None:
        """Return the pseudonym of the record with this value, `find(email=…)`, or None.

        Raises AmbiguousError if several hold it, as they may where the field isn't unique.
        """
        return _record_calls.only_one(self.find_all(timeout=timeout, **field))

    def find_all(self, *, timeout: float | None = None, **field: str) -> list[str]:
        """Return the pseudonyms of all records with this value, 100 at most."""
        call = _record_calls.find(self._scope, field)
        try:
            return self._run(call, timeout)
        except NotFound:
            return []

    def list_records(
        self,
        fields: Iterable[str],
        *,
        page_size: int = _record_calls.LARGEST_BATCH,
        timeout: float | None = None,
    ) -> Iterator[str]:
        """Yield the pseudonyms of all records of which these fields may be revealed now, whole.

        Pages are asked for as pseudonyms are taken, no faster than the service's limit allows.
        `timeout` is for each page.
        """
        names, token = texts(fields, "fields"), ""
        while True:
            call = _record_calls.list_records(self._scope, names, page_size, token)
            try:
                page, token = self._run(call, timeout)
            except RateLimited as error:
                time.sleep(_record_calls.until_next_page(error))
                continue
            yield from page
            if not token:
                return

    def describe(self, *, timeout: float | None = None) -> Description:
        """Return what this service may do here: operations, and fields with their forms."""
        return self._run(_record_calls.describe(self._scope), timeout)

    def __repr__(self) -> str:
        return f"CompartmentClient({self._scope.compartment}, purpose={self._scope.purpose})"

    def _run(self, call: Call[Response, Result], timeout: float | None) -> Result:
        return self._transport.run(call, self._transport.deadline(timeout))
