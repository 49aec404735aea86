"""RecordService on the wire."""

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from google.protobuf.message import Message
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import types_pb2

from vault.errors import Reason, VaultError
from vault.names import is_request_id
from vault.rpc import wire
from vault.service.bulk import MOST_A_MESSAGE, Item, PutItem, bulk_put
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.describe import describe_grant
from vault.service.find import find
from vault.service.house import House
from vault.service.listing import list_records
from vault.service.put import Asked, put
from vault.service.reveal import Revealed, batch_reveal, reveal, stream_reveal
from vault.service.rewrite import Outcome
from vault.service.streaming import Calls


class RecordServicer:
    """What internal services do, under a purpose."""

    def __init__(self, house: House) -> None:
        self._house = house

    async def Reveal(self, call: Call, request: pb.RevealRequest) -> pb.RevealResponse:
        """Return fields of one record."""
        served = self._house.served(call, request.compartment)
        revealed = await reveal(
            served,
            call,
            request.purpose,
            request.pseudonym,
            list(request.fields),
            request.recipient,
        )
        return pb.RevealResponse(**_revealed(revealed))

    async def BatchReveal(
        self, call: Call, request: pb.BatchRevealRequest
    ) -> pb.BatchRevealResponse:
        """Return the same fields of several records."""
        served = self._house.served(call, request.compartment)
        outcomes = await batch_reveal(
            served,
            call,
            request.purpose,
            list(request.pseudonyms),
            list(request.fields),
            request.recipient,
        )
        return pb.BatchRevealResponse(results=[_outcome(outcome) for outcome in outcomes])

    async def StreamReveal(
        self, calls: Calls, requests: AsyncGenerator[pb.StreamRevealRequest, None]
    ) -> AsyncGenerator[Message, None]:
        """Return the same fields of records as they are asked for."""
        start: pb.StreamRevealStart = await wire.started(requests)
        served, again = self._kept(calls, start.compartment)
        outcomes = await stream_reveal(
            served,
            again,
            start.purpose,
            wire.items(requests, "pseudonym"),
            list(start.fields),
            start.recipient,
        )
        return _numbered(outcomes)

    def _kept(self, calls: Calls, name: str) -> tuple[ServedCompartment, Calls]:
        """Return a stream's compartment, and what admits its caller while it is the same one."""
        served = self._house.served(calls(), name)

        def again() -> Call:
            call = calls()
            self._house.served(call, name)
            return call

        return served, again

    async def Put(
        self, call: Call, request: pb.RecordServicePutRequest
    ) -> pb.RecordServicePutResponse:
        """Write fields of one record."""
        served = self._house.served(call, request.compartment)
        fields, clear = wire.fields_in(request.fields), wire.clear_in(request.clear)
        asked = Asked(call, request.pseudonym, fields, clear, request.etag)
        etag = await put(served, request.purpose, asked)
        return pb.RecordServicePutResponse(etag=etag)

    async def BulkPut(
        self, calls: Calls, requests: AsyncGenerator[pb.BulkPutRequest, None]
    ) -> AsyncGenerator[Message, None]:
        """Write fields of records as they come."""
        start: pb.BulkPutStart = await wire.started(requests)
        served, again = self._kept(calls, start.compartment)
        several = _put_items(wire.items(requests, "items"))
        return _done(await bulk_put(served, again, start.purpose, several))

    async def Find(self, call: Call, request: pb.FindRequest) -> pb.FindResponse:
        """Return who holds a value."""
        served = self._house.served(call, request.compartment)
        if not request.HasField("field"):
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                "The request names no field to look in.",
                violations={"field": "is required"},
            )
        field = request.field
        found = await find(served, call, request.purpose, field.name, field.value)
        return pb.FindResponse(pseudonyms=map(str, found))

    async def ListRecords(
        self, call: Call, request: pb.ListRecordsRequest
    ) -> pb.ListRecordsResponse:
        """Return a page of whose records the caller may have revealed."""
        served = self._house.served(call, request.compartment)
        page = await list_records(
            served,
            call,
            request.purpose,
            list(request.fields),
            request.page_size,
            request.page_token,
        )
        return pb.ListRecordsResponse(
            pseudonyms=map(str, page.pseudonyms), next_page_token=page.next_token
        )

    async def Describe(self, call: Call, request: pb.DescribeRequest) -> pb.DescribeResponse:
        """Return what the caller may do."""
        served = self._house.served(call, request.compartment)
        described = await describe_grant(served, call, request.purpose)
        return pb.DescribeResponse(
            edition=call.edition.number,
            operations=described.operations,
            fields=[
                pb.FieldDescription(
                    name=d.field.name,
                    type=d.field.type.value,
                    form=types_pb2.Form.ValueType(d.form.value),
                    voluntary=d.field.voluntary,
                    findable=d.findable,
                )
                for d in described.fields
            ],
        )


async def _put_items(
    messages: AsyncGenerator[pb.BulkPutItems, None],
) -> AsyncGenerator[Iterable[Item], None]:
    async for message in messages:
        if not 1 <= len(message.items) <= MOST_A_MESSAGE:
            raise VaultError(
                Reason.MALFORMED_REQUEST,
                f"A message brings 1 to {MOST_A_MESSAGE} items. Split it.",
                violations={"items": f"must be 1 to {MOST_A_MESSAGE}"},
            )
        yield map(_put_item, message.items)  # each when its turn comes


def _put_item(item: pb.BulkPutItem) -> Item:
    try:
        fields, clear = wire.fields_in(item.fields), wire.clear_in(item.clear)
    except VaultError as e:
        return e
    if not is_request_id(item.request_id):
        return VaultError(
            Reason.MALFORMED_REQUEST,
            "An item's request id is a UUID in lower case, its own.",
            violations={"request_id": "must be a UUID"},
        )
    return PutItem(item.request_id, item.pseudonym, fields, clear)


async def _done(
    outcomes: AsyncGenerator[Sequence[Outcome], None],
) -> AsyncGenerator[Message, None]:
    index = 0
    async with aclosing(outcomes):
        async for done in outcomes:
            yield pb.BulkPutResponse(index=index, results=map(_put_result, done))
            index += len(done)


def _put_result(outcome: Outcome) -> pb.BulkPutResult:
    if isinstance(outcome, VaultError):
        return pb.BulkPutResult(error=wire.error_out(outcome))
    return pb.BulkPutResult(etag=outcome)


async def _numbered(
    outcomes: AsyncGenerator[Revealed | VaultError, None],
) -> AsyncGenerator[Message, None]:
    index = 0
    async with aclosing(outcomes):
        async for outcome in outcomes:
            yield pb.StreamRevealResponse(index=index, **_outcome(outcome))
            index += 1


def _outcome(outcome: Revealed | VaultError) -> wire.Parts:
    """Write one item's outcome, by the name of its field."""
    if isinstance(outcome, VaultError):
        return {"error": wire.error_out(outcome)}
    return {"record": _revealed(outcome)}


def _revealed(revealed: Revealed) -> wire.Parts:
    return {
        "fields": wire.fields_out(revealed.fields),
        "etag": revealed.etag,
        "edition": revealed.edition,
        "withheld": revealed.withheld,
    }
