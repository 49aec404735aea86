"""What an internal service does in one compartment: `piivault.compartment`, awaited."""

# ruff: noqa: ASYNC109 - a timeout a method is the API of both clients, and gRPC's own deadline

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import aclosing

from piivault import _record_calls
from piivault._call import Call, Response, Result, Scope, texts
from piivault._settings import LONGEST_TIMEOUT
from piivault._transport import AsyncTransport
from piivault._types import Description, Put, PutItem, Revealed, RevealedItem
from piivault.errors import InvalidRequest, NotFound, RateLimited


class AsyncCompartmentClient:
    """Reads and writes one compartment for one purpose."""

    def __init__(self, transport: AsyncTransport, scope: Scope) -> None:
        self._transport = transport
        self._scope = scope

    async def reveal(
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
        return await self._run(
            _record_calls.reveal(self._scope, pseudonym, fields, recipient), timeout
        )

    async def reveal_many(
        self,
        pseudonyms: Iterable[str],
        fields: Iterable[str],
        *,
        recipient: str | None = None,
        batch_size: int = _record_calls.LARGEST_BATCH,
        timeout: float | None = None,
    ) -> AsyncIterator[RevealedItem]:
        """Yield one item a pseudonym, in order; each has a record or an error of its own.

        Batches are asked for as the items are taken. `timeout` is for each batch.
        """
        names = texts(fields, "fields")
        for batch in _record_calls.batches(pseudonyms, batch_size):
            call = _record_calls.batch_reveal(self._scope, batch, names, recipient)
            for item in await self._run(call, timeout):
                yield item

    async def stream_reveal(
        self,
        pseudonyms: Iterable[str],
        fields: Iterable[str],
        *,
        recipient: str | None = None,
        timeout: float = LONGEST_TIMEOUT,
    ) -> AsyncIterator[RevealedItem]:
        """Yield one item a pseudonym, in order; each is decided when the server comes to it.

        Up to 64 pseudonyms are taken ahead of their items. A connection lasts for `timeout`, and
        the next one goes on; DeadlineExceeded is raised if one brought nothing.
        """
        if isinstance(pseudonyms, str):
            raise InvalidRequest("pseudonyms is a list; for one alone there is reveal().")
        call = _record_calls.stream_reveal(self._scope, fields, recipient)
        async with aclosing(self._transport.duplex(call, pseudonyms, timeout)) as results:
            async for item in results:
                yield item

    async def bulk_put(
        self, items: Iterable[PutItem], *, timeout: float = LONGEST_TIMEOUT
    ) -> AsyncIterator[Put]:
        """Put items and yield what became of each, in order. What was done isn't done again.

        Up to 128 are taken ahead, and done many at once; those of one record one after another. A
        connection lasts for `timeout`, and the next one goes on; DeadlineExceeded is raised if one
        brought nothing. Repeat what wasn't yielded then, with the same request ids.
        """
        call = _record_calls.bulk_put(self._scope)
        async with aclosing(self._transport.duplex(call, items, timeout)) as results:
            async for done in results:
                yield done

    async def put(
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
        return await self._run(call, timeout)

    async def find(self, *, timeout: float | None = None, **field: str) -> str | None:
        """Return the pseudonym of the record with this value, `find(email=…)`, or None.

        Raises AmbiguousError if several hold it, as they may where the field isn't unique.
        """
        return _record_calls.only_one(await self.find_all(timeout=timeout, **field))

    async def find_all(self, *, timeout: float | None = None, **field: str) -> list[str]:
        """Return the pseudonyms of all records with this value, 100 at most."""
        call = _record_calls.find(self._scope, field)
        try:
            return await self._run(call, timeout)
        except NotFound:
            return []

    async def list_records(
        self,
        fields: Iterable[str],
        *,
        page_size: int = _record_calls.LARGEST_BATCH,
        timeout: float | None = None,
    ) -> AsyncIterator[str]:
        """Yield the pseudonyms of all records of which these fields may be revealed now, whole.

        Pages are asked for as pseudonyms are taken, no faster than the service's limit allows.
        `timeout` is for each page.
        """
        names, token = texts(fields, "fields"), ""
        while True:
            call = _record_calls.list_records(self._scope, names, page_size, token)
            try:
                page, token = await self._run(call, timeout)
            except RateLimited as error:
                await asyncio.sleep(_record_calls.until_next_page(error))
                continue
            for pseudonym in page:
                yield pseudonym
            if not token:
                return

    async def describe(self, *, timeout: float | None = None) -> Description:
        """Return what this service may do here: operations, and fields with their forms."""
        return await self._run(_record_calls.describe(self._scope), timeout)

    def __repr__(self) -> str:
        return f"AsyncCompartmentClient({self._scope.compartment}, purpose={self._scope.purpose})"

    async def _run(self, call: Call[Response, Result], timeout: float | None) -> Result:
        return await self._transport.run(call, self._transport.deadline(timeout))
