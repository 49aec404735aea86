"""Calls of RecordService: what an internal service asks under its purpose. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from piivault._call import (
    Call,
    Scope,
    field_values,
    form_of,
    names_to_clear,
    request_id_or_new,
    secret_of,
    text,
    texts,
)
from piivault._errors import from_item
from piivault._settings import LONGEST_TIMEOUT
from piivault._streams import StreamCall
from piivault._types import Description, FieldDescription, Put, PutItem, Revealed, RevealedItem
from piivault.errors import AmbiguousError, InternalError, InvalidRequest, RateLimited
from piivault.v1 import record_service_pb2 as pb

LARGEST_BATCH = 200  # what BatchReveal takes, and a page has
_AHEAD = 128  # items: the server does 64 at once, and has the next 64 at hand then
_LARGEST_MESSAGE = 1024 * 1024  # bytes, where it is of several items

_SERVICE = "/piivault.v1.RecordService"


def reveal(
    scope: Scope, pseudonym: str, fields: Iterable[str], recipient: str | None
) -> Call[pb.RevealResponse, Revealed]:
    """Ask for fields of one record."""
    return Call(
        f"{_SERVICE}/Reveal",
        scope.compartment,
        pb.RevealRequest(
            compartment=scope.compartment,
            purpose=scope.purpose,
            pseudonym=text(pseudonym, "pseudonym"),
            fields=texts(fields, "fields"),
            recipient=text(recipient or "", "recipient"),
        ),
        pb.RevealResponse,
        _revealed,
        request_id_or_new(),
    )


def batches(pseudonyms: Iterable[str], size: int) -> Iterator[list[str]]:
    """Cut into lists of `size` at most, none before it is asked for."""
    if not 1 <= size <= LARGEST_BATCH:
        raise InvalidRequest(f"batch_size is 1 to {LARGEST_BATCH}.")
    if isinstance(pseudonyms, str):
        raise InvalidRequest("pseudonyms is a list; for one alone there is reveal().")
    rest = iter(pseudonyms)
    while batch := list(islice(rest, size)):
        yield texts(batch, "pseudonyms")


def batch_reveal(
    scope: Scope, pseudonyms: Sequence[str], fields: Iterable[str], recipient: str | None
) -> Call[pb.BatchRevealResponse, list[RevealedItem]]:
    """Ask for fields of several records; the results stand in the order asked."""
    request_id = request_id_or_new()

    def read(got: pb.BatchRevealResponse) -> list[RevealedItem]:
        if len(got.results) != len(pseudonyms):
            raise InternalError("The batch came back incomplete.", request_id=request_id)
        return [
            _item(pseudonym, result, request_id)
            for pseudonym, result in zip(pseudonyms, got.results, strict=True)
        ]

    return Call(
        f"{_SERVICE}/BatchReveal",
        scope.compartment,
        pb.BatchRevealRequest(
            compartment=scope.compartment,
            purpose=scope.purpose,
            pseudonyms=pseudonyms,
            fields=texts(fields, "fields"),
            recipient=text(recipient or "", "recipient"),
        ),
        pb.BatchRevealResponse,
        read,
        request_id,
    )


def stream_reveal(
    scope: Scope, fields: Iterable[str], recipient: str | None
) -> StreamCall[str, pb.StreamRevealResponse, RevealedItem]:
    """Ask for fields of records, one by one."""
    request_id = request_id_or_new()

    def ask(pseudonyms: Iterable[str]) -> Iterator[pb.StreamRevealRequest]:
        for pseudonym in pseudonyms:
            yield pb.StreamRevealRequest(pseudonym=text(pseudonym, "pseudonym"))

    def read(pseudonym: str, got: pb.StreamRevealResponse) -> RevealedItem:
        return _item(pseudonym, got, request_id)

    start = pb.StreamRevealStart(
        compartment=scope.compartment,
        purpose=scope.purpose,
        fields=texts(fields, "fields"),
        recipient=text(recipient or "", "recipient"),
    )
    return StreamCall(
        f"{_SERVICE}/StreamReveal",
        scope.compartment,
        pb.StreamRevealRequest(start=start),
        ask,
        pb.StreamRevealResponse,
        lambda got: (got,),
        read,
        request_id,
    )


def bulk_put(scope: Scope) -> StreamCall[PutItem, pb.BulkPutResponse, Put]:
    """Set and remove values of records, one by one."""

    def ask(items: Iterable[PutItem]) -> Iterator[pb.BulkPutRequest]:
        message, size = pb.BulkPutItems(), 0
        for item in map(_put_item, items):
            size += item.ByteSize()
            if message.items and size > _LARGEST_MESSAGE:
                yield pb.BulkPutRequest(items=message)
                message, size = pb.BulkPutItems(), item.ByteSize()
            message.items.append(item)
        if message.items:
            yield pb.BulkPutRequest(items=message)

    def read(item: PutItem, got: pb.BulkPutResult) -> Put:
        if got.WhichOneof("outcome") == "etag":
            return Put(item, got.etag, None)
        return Put(item, None, from_item(got.error, item.request_id))

    start = pb.BulkPutStart(compartment=scope.compartment, purpose=scope.purpose)
    return StreamCall(
        f"{_SERVICE}/BulkPut",
        scope.compartment,
        pb.BulkPutRequest(start=start),
        ask,
        pb.BulkPutResponse,
        lambda got: got.results,
        read,
        request_id_or_new(),
        _AHEAD,
    )


def _put_item(item: PutItem) -> pb.BulkPutItem:
    return pb.BulkPutItem(
        request_id=request_id_or_new(text(item.request_id, "request_id")),  # never a new one
        pseudonym=text(item.pseudonym, "pseudonym"),
        fields=field_values(item.fields),
        clear=names_to_clear(item.fields),
    )


def put(
    scope: Scope,
    pseudonym: str,
    fields: Mapping[str, str | None],
    etag: str | None,
    request_id: str | None,
) -> Call[pb.RecordServicePutResponse, str]:
    """Set and remove values of a registered record."""
    return Call(
        f"{_SERVICE}/Put",
        scope.compartment,
        pb.RecordServicePutRequest(
            compartment=scope.compartment,
            purpose=scope.purpose,
            pseudonym=text(pseudonym, "pseudonym"),
            fields=field_values(fields),
            clear=names_to_clear(fields),
            etag=text(etag or "", "etag"),
        ),
        pb.RecordServicePutResponse,
        lambda got: got.etag,
        request_id_or_new(request_id),
    )


def find(scope: Scope, field: Mapping[str, str]) -> Call[pb.FindResponse, list[str]]:
    """Look one value of one indexed field up."""
    values = field_values(field)
    if len(values) != 1:
        raise InvalidRequest("Look up exactly one field, by its name: find(email=…).")
    return Call(
        f"{_SERVICE}/Find",
        scope.compartment,
        pb.FindRequest(compartment=scope.compartment, purpose=scope.purpose, field=values[0]),
        pb.FindResponse,
        lambda got: list(got.pseudonyms),
        request_id_or_new(),
    )


def list_records(
    scope: Scope, fields: Iterable[str], page_size: int, token: str
) -> Call[pb.ListRecordsResponse, tuple[list[str], str]]:
    """Ask for a page of pseudonyms, and where the next one begins."""
    if not 1 <= page_size <= LARGEST_BATCH:
        raise InvalidRequest(f"page_size is 1 to {LARGEST_BATCH}.")
    return Call(
        f"{_SERVICE}/ListRecords",
        scope.compartment,
        pb.ListRecordsRequest(
            compartment=scope.compartment,
            purpose=scope.purpose,
            fields=texts(fields, "fields"),
            page_size=page_size,
            page_token=token,
        ),
        pb.ListRecordsResponse,
        lambda got: (list(got.pseudonyms), got.next_page_token),
        request_id_or_new(),
    )


def until_next_page(error: RateLimited) -> float:
    """Return the seconds until the next page may be asked for; raise the error if that is long."""
    if error.retry_after is None or error.retry_after > LONGEST_TIMEOUT:
        raise error
    return error.retry_after


def only_one(pseudonyms: Sequence[str]) -> str | None:
    """Return the one that was found, None if none was; raise AmbiguousError for several."""
    if len(pseudonyms) > 1:
        raise AmbiguousError("Several records hold this value: find_all() returns them all.")
    return pseudonyms[0] if pseudonyms else None


def describe(scope: Scope) -> Call[pb.DescribeResponse, Description]:
    """Ask what the caller may do here."""
    return Call(
        f"{_SERVICE}/Describe",
        scope.compartment,
        pb.DescribeRequest(compartment=scope.compartment, purpose=scope.purpose),
        pb.DescribeResponse,
        _description,
        request_id_or_new(),
    )


def _revealed(got: pb.RevealResponse) -> Revealed:
    secrets = {field.name: secret_of(field) for field in got.fields}
    return Revealed(
        values_held={name: secret for name, secret in secrets.items() if secret is not None},
        held=frozenset(field.name for field in got.fields if field.present),
        forms={field.name: form_of(field.form) for field in got.fields},
        etag=got.etag,
        edition=got.edition,
        withheld=frozenset(got.withheld),
    )


def _item(
    pseudonym: str, result: pb.BatchRevealResult | pb.StreamRevealResponse, request_id: str
) -> RevealedItem:
    if result.WhichOneof("outcome") == "record":
        return RevealedItem(pseudonym, _revealed(result.record), None)
    return RevealedItem(pseudonym, None, from_item(result.error, request_id))


def _description(got: pb.DescribeResponse) -> Description:
    return Description(
        edition=got.edition,
        operations=frozenset(got.operations),
        fields=tuple(
            FieldDescription(
                name=field.name,
                type=field.type,
                form=form_of(field.form),
                voluntary=field.voluntary,
                findable=field.findable,
            )
            for field in got.fields
        ),
    )
