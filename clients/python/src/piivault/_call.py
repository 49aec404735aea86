"""A call as data: what is sent, where to, and how the answer is read. Pure.

Nothing that protobuf would refuse gets as far as protobuf: its exceptions may quote values.
"""

import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from piivault._types import Form, Secret
from piivault.errors import InvalidRequest, InvalidValue, TooLarge
from piivault.v1 import types_pb2

LARGEST_REQUEST = 4 * 1024 * 1024  # bytes: gRPC's own limit, and the server's
REQUEST_ID_KEY = "piivault-request-id"

_REQUEST_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_FORMS: Mapping[int, Form] = {
    types_pb2.FORM_PLAIN: Form.PLAIN,
    types_pb2.FORM_MASKED: Form.MASKED,
    types_pb2.FORM_PRESENT: Form.PRESENT,
}

Response = TypeVar("Response", bound=Message)
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, repr=False)
class Call(Generic[Response, Result]):
    """One method call. Its request id stays the same however often it is sent."""

    method: str  # "/piivault.v1.Service/Method"
    compartment: str | None  # whose worker serves it; None for the broker
    request: Message
    response: type[Response]
    read: Callable[[Response], Result]
    request_id: str


@dataclass(frozen=True, slots=True)
class Scope:
    """The one compartment and the one purpose that a service's calls are for."""

    compartment: str
    purpose: str


def check_size(request: Message) -> None:
    """Raise TooLarge for a request that the server doesn't take whole."""
    if request.ByteSize() > LARGEST_REQUEST:
        raise TooLarge("The request is above 4 MiB: send less at once.")


def request_id_or_new(given: str | None = None) -> str:
    """Return the caller's request id, or a new one; raise InvalidRequest if it is no UUID."""
    if given is None:
        return str(uuid.uuid4())
    if not _REQUEST_ID.fullmatch(given):
        raise InvalidRequest("A request id is a UUID in lower case: str(uuid.uuid4()).")
    return given


def field_values(fields: Mapping[str, str | None]) -> list[types_pb2.FieldValue]:
    """Return the values to set; raise InvalidValue, all faults at once, for what is no text."""
    violations = {
        f"fields.{_shown(name)}": "must be a str of valid Unicode"
        for name, value in fields.items()
        if not (_is_text(name) and (value is None or _is_text(value)))
    }
    if violations:
        raise InvalidValue("Names and values are text.", violations=violations)
    return [
        types_pb2.FieldValue(name=name, value=value)
        for name, value in fields.items()
        if value is not None
    ]


def names_to_clear(fields: Mapping[str, str | None]) -> list[str]:
    """Return the names whose value is None: those to remove."""
    return [name for name, value in fields.items() if value is None]


def texts(items: Iterable[str], what: str) -> list[str]:
    """Return several names or pseudonyms; raise InvalidRequest for anything else."""
    if isinstance(items, str):  # its letters would pass for names
        raise InvalidRequest(f"{what} is a list, even if there is only one.")
    return [text(item, what) for item in items]


def text(item: str, what: str) -> str:
    """Return it; raise InvalidRequest if it is no text."""
    if not _is_text(item):
        raise InvalidRequest(f"{what} must be a str of valid Unicode.")
    return item


def form_of(number: int) -> Form:
    """Read a form; one that only a newer server knows shows nothing here but presence."""
    return _FORMS.get(number, Form.PRESENT)


def secret_of(field: types_pb2.RevealedField) -> Secret | None:
    """Read the value or its mask; None where none is held or shown."""
    return Secret(field.value) if field.HasField("value") else None


def _is_text(item: object) -> bool:
    if not isinstance(item, str):
        return False
    try:
        item.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: object) -> str:
    """Write a field's name in an error, unless it may be a value in the wrong place."""
    return name if isinstance(name, str) and _NAME.fullmatch(name) else "(not a name)"
