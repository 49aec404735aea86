"""Wall 1, the API, by its descriptors: what no message can say, whoever fills it.

A request that names one compartment can't ask for two; an answer that has no room for another
compartment's pseudonym can't hold one. The lint goes through every message of piivault.v1, down to
the last field. Each of its rules is held against a message made to break it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import cast

import pytest
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, struct_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from piivault.v1 import errors_pb2, types_pb2

from tests.attack.attempts import CONTROL, REFUSED, Attempts, Wall
from tests.wire import METHODS, MODULES

# What a field is, by its name: a new field of one of these kinds has the name of its kind.
ROOT = ("root_id", "root", "subject_id", "subject_assertion")
PSEUDONYM = ("pseudonym", "pseudonyms")
COMPARTMENT = ("compartment", "compartments", "compartment_uuid")
SECRET = (*ROOT, *PSEUDONYM, "capability", "value", "values")
# Bytes that are no field of a subject's: digests, signatures, what officers sign.
PLAIN_BYTES = frozenset({
    "GetEditionResponse.digest", "BlockedService.statement", "ApproveRequest.body",
    "ApproveRequest.signature", "PendingEntry.body", "Consent.notice_digest", "Notice.digest",
    "Touch.compartment_uuid", "AuditEvent.writer", "Rotation.id", "GetRotationRequest.id",
    "EraseResponse.receipt", "SubjectRequest.id", "GetRequestRequest.id", "FinishRequestRequest.id",
    "IssueRequest.export_key", "ExportRequest.public_key", "ExportResponse.package",
    "DestroyRequest.digest", "DestroyResponse.digest",
})  # fmt: skip
# For which compartment the broker issued, in its own trail: nothing of a subject stands beside it.
OF_THE_BROKER = "AuditEvent.compartment"
_BYTES = FieldDescriptor.TYPE_BYTES
KNOWN_TYPES = frozenset({"google.protobuf.Timestamp", "google.protobuf.Duration"})
MESSAGES: Mapping[str, Descriptor] = {
    message.name: message
    for module in (*MODULES, types_pb2, errors_pb2)
    for message in module.DESCRIPTOR.message_types_by_name.values()
}


def _fields(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[FieldDescriptor]:
    """Yield every field of a message and of all that it can hold."""
    for field in message.fields:
        yield field
        inner = field.message_type
        if inner is not None and inner.full_name not in seen:
            yield from _fields(inner, seen | {message.full_name})


def _where(field: FieldDescriptor) -> str:
    return field.full_name.removeprefix("piivault.v1.")


def _repeats(field: FieldDescriptor) -> bool:
    return bool(field.is_repeated)


def _map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


# The rules: each yields what is wrong with a message.


def _bags(message: Descriptor) -> Iterator[str]:
    """No map, Any, Struct, extension or bytes that could hold what the schema doesn't name."""
    for field in _fields(message):
        where = _where(field)
        if _map(field):
            yield f"{where} is a map"
        elif field.message_type is not None:
            name = field.message_type.full_name
            if not name.startswith("piivault.v1.") and name not in KNOWN_TYPES:
                yield f"{where} is a {name}"
        elif field.type == _BYTES and where not in PLAIN_BYTES and field.name not in ROOT:
            yield f"{where} is bytes of no known use"
    if message.is_extendable:
        yield f"{message.name} can be extended"


def _roots(message: Descriptor) -> Iterator[str]:
    """No message outside PseudonymService holds a root id."""
    for field in _fields(message):
        if field.name in ROOT:
            yield f"{_where(field)} is a root id"


def _pseudonyms(message: Descriptor) -> Iterator[str]:
    """No message holds a pseudonym beside another, or beside the name of a compartment of its own.

    A repeated pseudonym is of the one compartment that the request names.
    """
    mine = [field for field in _fields(message) if field.name in PSEUDONYM]
    if len(mine) > 1:
        names = ", ".join(map(_where, mine))
        yield f"{message.name} holds several pseudonyms: {names}"
    for field in _fields(message):
        inner = field.message_type
        if inner is None or not _repeats(field):
            continue
        within = [its.name for its in _fields(inner)]
        if set(within) & set(PSEUDONYM) and set(within) & set(COMPARTMENT):
            yield f"{message.name}.{field.name} holds pseudonyms of several compartments"


def _compartments(message: Descriptor) -> Iterator[str]:
    """No message beside a pseudonym or capability names more than one compartment."""
    named = [field for field in _fields(message) if field.name in COMPARTMENT]
    bearing = [field for field in _fields(message) if field.name in (*PSEUDONYM, "capability")]
    if bearing and (len(named) > 1 or any(_repeats(field) for field in named)):
        yield f"{message.name} names several compartments"


def _redacted(message: Descriptor) -> Iterator[str]:
    """Every field that holds a value, pseudonym, capability or root id is kept from debug texts."""
    for field in _fields(message):
        if field.name in SECRET and not field.GetOptions().debug_redact:
            yield f"{_where(field)} isn't debug_redact"


Rule = Callable[[Descriptor], Iterator[str]]
RULES: dict[str, Rule] = {
    "a bag for anything": _bags,
    "a root id": _roots,
    "two pseudonyms": _pseudonyms,
    "two compartments": _compartments,
    "a secret in clear in debug texts": _redacted,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_no_message_has_room_for_a_join(attempts: Attempts, name: str) -> None:
    for attack, rule in RULES.items():
        found = list(rule(MESSAGES[name]))
        may = rule is _roots and name == "IssueRequest"  # the broker's one work
        assert bool(found) == may
        result = CONTROL if may else REFUSED
        attempts.record(Wall.API, f"say {attack} in a message", name, result)


@pytest.mark.parametrize("method", METHODS, ids=lambda name: name.rpartition(".")[2])
def test_no_call_has_room_for_a_join(attempts: Attempts, method: str) -> None:
    """One compartment a request where data is met; a stream of requests keeps to its start's."""
    assert not list(_called(METHODS[method]))
    attempts.record(Wall.API, "say a join in a call", method.rpartition(".")[2], REFUSED)


def _called(method: MethodDescriptor) -> Iterator[str]:
    service = method.containing_service.name
    asked = {field.name: field for field in method.input_type.fields}
    if method.client_streaming:
        start = asked.pop("start", None)
        yield from _streamed(start, asked.values())
        asked = {field.name: field for field in _within(start)}
    if service != "PolicyService":
        if "compartment" not in asked or _repeats(asked["compartment"]):
            yield "it doesn't name one compartment"
        named = (_where(f) for f in _fields(method.output_type) if f.name in COMPARTMENT)
        if set(named) - {OF_THE_BROKER}:
            yield "its answer names compartments"
    elif [f for f in _fields(method.input_type) if f.name in SECRET] or [
        f for f in _fields(method.output_type) if f.name in SECRET
    ]:
        yield "it speaks of a subject"
    if service == "RecordService" and ("purpose" not in asked or _repeats(asked["purpose"])):
        yield "it doesn't name one purpose"
    into = {f.name for f in _fields(method.input_type)} & {*PSEUDONYM, "capability"}
    if into and [f for f in _fields(method.output_type) if f.name in PSEUDONYM]:
        yield "it turns a pseudonym into a pseudonym"


def _streamed(start: FieldDescriptor | None, items: Iterable[FieldDescriptor]) -> Iterator[str]:
    """A start says where and why, once for the whole stream; what comes after can't."""
    if start is None:
        yield "it is a stream without a start"
    for item in items:
        if {item.name, *(field.name for field in _within(item))} & {*COMPARTMENT, "purpose"}:
            yield "it is a stream whose items can go elsewhere"


def _within(field: FieldDescriptor | None) -> Iterator[FieldDescriptor]:
    if field is not None and field.message_type is not None:
        yield from _fields(field.message_type)


# Messages made to break the rules.

_STRING, _MESSAGE = FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_MESSAGE


def _synthetic(*fields: str, redact: bool = True) -> Descriptor:
    """Make a message of fields: "name", "name[]", "name{}", "name: bytes", "name: google…Any".

    "inner[]" holds a pseudonym and a compartment.
    """
    made: Descriptor = _pool(_file(fields, redact=redact)).FindMessageTypeByName(f"{_PACKAGE}.Bad")
    return made


_PACKAGE = "piivault.v1.synthetic"


def _file(fields: Sequence[str], *, redact: bool = True) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(
        name="synthetic.proto", package=_PACKAGE, syntax="proto3",
        dependency=["google/protobuf/any.proto", "google/protobuf/struct.proto"],
    )  # fmt: skip
    _fill(file.message_type.add(name="Inner"), ("pseudonym", "compartment"))
    _fill(file.message_type.add(name="Bad"), fields, redact=redact)
    return file


def _fill(
    message: descriptor_pb2.DescriptorProto, fields: Sequence[str], *, redact: bool = True
) -> None:
    for number, said in enumerate(fields, 1):
        name, _, kind = said.partition(": ")
        repeated = name.endswith(("[]", "{}"))
        label = FieldDescriptor.LABEL_REPEATED if repeated else FieldDescriptor.LABEL_OPTIONAL
        field = message.field.add(name=name.rstrip("[]{}"), number=number)
        field.label = cast("descriptor_pb2.FieldDescriptorProto.Label.ValueType", label)
        field.options.debug_redact = redact
        types = {"": _STRING, "bytes": _BYTES}
        of = types.get(kind, _MESSAGE)
        if name.startswith("inner"):
            of, kind = _MESSAGE, f"{_PACKAGE}.Inner"
        if name.endswith("{}"):
            entry = message.nested_type.add(name=f"{field.name.title()}Entry")
            entry.options.map_entry = True
            _fill(entry, ("key", "value"))
            of, kind = _MESSAGE, f"{_PACKAGE}.{message.name}.{entry.name}"
        field.type = cast("descriptor_pb2.FieldDescriptorProto.Type.ValueType", of)
        if of == _MESSAGE:
            field.type_name = f".{kind}"


def _pool(file: descriptor_pb2.FileDescriptorProto) -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for known in (any_pb2.DESCRIPTOR, struct_pb2.DESCRIPTOR):
        pool.AddSerializedFile(known.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


BAD: dict[str, tuple[tuple[str, ...], Rule, str]] = {
    "a map": (("labels{}",), _bags, "is a map"),
    "an Any": (("detail: google.protobuf.Any",), _bags, "google.protobuf.Any"),
    "a Struct": (("detail: google.protobuf.Struct",), _bags, "google.protobuf.Struct"),
    "bytes of no known use": (("blob: bytes",), _bags, "bytes of no known use"),
    "a root id": (("root_id: bytes",), _roots, "is a root id"),
    "two pseudonyms": (("pseudonym", "pseudonyms[]"), _pseudonyms, "several pseudonyms"),
    "records of several compartments": (("inner[]",), _pseudonyms, "several compartments"),
    "two compartments": (("pseudonym", "compartment", "compartments[]"), _compartments, "several"),
    "a capability for several": (("capability", "compartments[]"), _compartments, "several"),
}


@pytest.mark.parametrize(("fields", "rule", "says"), BAD.values(), ids=BAD)
def test_the_lint_finds_what_it_is_for(
    attempts: Attempts,
    request: pytest.FixtureRequest,
    fields: tuple[str, ...],
    rule: Rule,
    says: str,
) -> None:
    assert any(says in found for found in rule(_synthetic(*fields)))
    name = next(name for name, its in RULES.items() if its is rule)
    attempts.record(Wall.API, f"say {name} in a message", request.node.name, CONTROL)


@pytest.mark.parametrize("field", ["value", "pseudonym", "pseudonyms[]", "capability", "root_id"])
def test_the_lint_finds_secrets_that_are_not_redacted(attempts: Attempts, field: str) -> None:
    assert list(_redacted(_synthetic(field, redact=False)))
    assert not list(_redacted(_synthetic(field)))
    attack = "say a secret in clear in debug texts in a message"
    attempts.record(Wall.API, attack, field, CONTROL)


JOINS: dict[str, tuple[str, Sequence[str], Sequence[str], str]] = {
    "a translation": (
        "RecordService", ("compartment", "purpose", "pseudonym"), ("pseudonym",),
        "turns a pseudonym into a pseudonym"),
    "everywhere": ("SubjectService", ("capability",), ("value",), "doesn't name one compartment"),
    "several compartments": (
        "RecordService", ("compartment[]", "purpose", "pseudonym"), (), "doesn't name one comp"),
    "no purpose": ("RecordService", ("compartment", "pseudonym"), (), "doesn't name one purpose"),
    "where somebody is": (
        "SubjectService", ("compartment", "capability"), ("compartments[]",), "names compartments"),
    "a policy of somebody": ("PolicyService", ("pseudonym",), (), "speaks of a subject"),
    "a stream": ("RecordService", ("compartment", "purpose"), (), "is a stream without a start"),
    "a stream that moves": (
        "RecordService", (f"start: {_PACKAGE}.Inner", "inner"), (), "is a stream whose items"),
}  # fmt: skip


@pytest.mark.parametrize(("service", "asked", "answered", "says"), JOINS.values(), ids=JOINS)
def test_the_lint_finds_calls_that_join(
    attempts: Attempts, service: str, asked: Sequence[str], answered: Sequence[str], says: str
) -> None:
    file = _file(asked)
    _fill(file.message_type.add(name="Answer"), answered)
    method = file.service.add(name=service).method.add(name="Join")
    method.input_type, method.output_type = f".{_PACKAGE}.Bad", f".{_PACKAGE}.Answer"
    method.client_streaming = says.startswith("is a stream")
    made = _pool(file).FindServiceByName(f"{_PACKAGE}.{service}").methods_by_name["Join"]
    assert any(says in found for found in _called(made))
    attempts.record(Wall.API, "say a join in a call", says, CONTROL)
