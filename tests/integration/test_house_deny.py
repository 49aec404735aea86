"""The deny matrix: every RPC x identity x purpose x compartment x field of the example.

What should happen is read from the example's own text, not from the server's idea of it: what the
text doesn't grant is denied, and a denial tells nothing.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import grpc
import piivault
import pytest
import yaml
from google.protobuf.message import Message
from piivault.v1 import audit_service_pb2 as audits
from piivault.v1 import key_service_pb2 as ring
from piivault.v1 import policy_service_pb2 as policies
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import request_service_pb2 as asked
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2
from sqlalchemy import Engine, event

from tests.database import Fetch, hot_statements
from tests.house import POLICY, House
from tests.people import NOBODY, Registered
from tests.wire import (
    METHODS,
    Refusal,
    new_request_id,
    open_channel,
    refusal_of,
    send,
    stream,
)
from vault.dev import certificates
from vault.dev.layout import Layout
from vault.errors import Reason
from vault.store.hot import HotConnection

TREE = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
UNKNOWN = "shaar"  # a compartment and a purpose that aren't
COMPARTMENTS = (*TREE["compartments"], UNKNOWN)
PURPOSES = (*TREE["purposes"], UNKNOWN)
INTERNAL = tuple(name for name, its in TREE["services"].items() if not its.get("subject_facing"))
PORTAL, OFFICER, STRANGER = "portal", "officer-aida", "stranger"
IDENTITIES = (*INTERNAL, PORTAL, OFFICER, STRANGER)
GRANTED = frozenset(
    (grant["service"], grant["purpose"], grant["compartment"], operation)
    for grant in TREE["grants"]
    for operation in grant["operations"]
)
DENIALS = frozenset(
    {
        Reason.IDENTITY_UNKNOWN,
        Reason.METHOD_NOT_ALLOWED,
        Reason.NOT_GRANTED,
        Reason.FIELD_BEYOND_PURPOSE,
    }
)
ALLOWED = ""
AT_ONCE = 8  # calls, whose events are committed together


@dataclass(frozen=True, slots=True)
class City:
    """A house in which one person has a record in every compartment."""

    house: House
    people: Mapping[str, Registered]
    channels: Mapping[str, grpc.Channel]

    def secrets(self) -> list[str]:
        """Return every value that somebody could be told by mistake."""
        return [value for person in self.people.values() for value in person.values.values()]


@pytest.fixture(scope="module")
def city(house: House) -> Iterator[City]:
    people = {name: house.register(name) for name in TREE["compartments"]}
    layout = Layout(house.state)
    spiffe = f"spiffe://{TREE['trust_domain']}/{STRANGER}"
    certificates.issue_client(layout, house.running.admin, STRANGER, spiffe)
    files = [layout.path("certificates", f"{STRANGER}.{kind}") for kind in ("pem", "key")]
    stranger = open_channel(house.running.grpc_address, piivault.TLS(house.running.ca, *files))
    known = {name: house.channel(name) for name in IDENTITIES if name != STRANGER}
    yield City(house, people, {**known, STRANGER: stranger})
    stranger.close()


def _fields(purpose: str, compartment: str, *forms: str) -> list[str]:
    """Return what a purpose sees in a compartment, in some forms; some field, if it sees none."""
    uses = TREE["purposes"].get(purpose, {}).get("uses", {})
    seen = uses.get(compartment, {}).get("fields", {})
    found = [name for name, form in seen.items() if not forms or form in forms]
    return found or list(TREE["compartments"].get(compartment, {}).get("fields", ["nothing"]))[:1]


def _values(names: list[str]) -> list[types_pb2.FieldValue]:
    return [types_pb2.FieldValue(name=name, value="Ош, Ленин көчөсү") for name in names]


def _find(purpose: str, compartment: str, pseudonym: str) -> Message:
    found = [f for f, its in _declared(compartment).items() if its.get("index")]
    (field,) = _values((found or _fields(purpose, compartment))[:1])
    return records.FindRequest(compartment=compartment, purpose=purpose, field=field)


def _declared(compartment: str) -> dict[str, Any]:
    return dict(TREE["compartments"].get(compartment, {}).get("fields", {}))


Asked = Message | tuple[Message, ...]  # or a stream of them
Told = Message | list[Message] | Refusal
Under = Callable[[str, str, str], Asked]  # purpose, compartment, pseudonym
RECORDS: dict[str, tuple[str, Under]] = {
    "Reveal": ("reveal", lambda purpose, compartment, pseudonym: records.RevealRequest(
        purpose=purpose, compartment=compartment, pseudonym=pseudonym,
        fields=_fields(purpose, compartment))),
    "BatchReveal": ("reveal", lambda purpose, compartment, pseudonym: records.BatchRevealRequest(
        purpose=purpose, compartment=compartment, pseudonyms=[pseudonym],
        fields=_fields(purpose, compartment))),
    "StreamReveal": ("reveal", lambda purpose, compartment, pseudonym: (
        records.StreamRevealRequest(start=records.StreamRevealStart(
            purpose=purpose, compartment=compartment, fields=_fields(purpose, compartment))),
        records.StreamRevealRequest(pseudonym=pseudonym))),
    "Put": ("put", lambda purpose, compartment, pseudonym: records.RecordServicePutRequest(
        purpose=purpose, compartment=compartment, pseudonym=pseudonym,
        fields=_values(_fields(purpose, compartment, "plain")))),
    "BulkPut": ("put", lambda purpose, compartment, pseudonym: (
        records.BulkPutRequest(start=records.BulkPutStart(
            purpose=purpose, compartment=compartment)),
        records.BulkPutRequest(items=records.BulkPutItems(items=[records.BulkPutItem(
            request_id=new_request_id(), pseudonym=pseudonym,
            fields=_values(_fields(purpose, compartment, "plain")))])))),
    "Find": ("find", _find),
    "ListRecords": ("list", lambda purpose, compartment, pseudonym: records.ListRecordsRequest(
        purpose=purpose, compartment=compartment, fields=_fields(purpose, compartment))),
    "Describe": ("", lambda purpose, compartment, pseudonym: records.DescribeRequest(
        purpose=purpose, compartment=compartment)),
}  # fmt: skip

For = Callable[[str, str], Message]  # compartment, capability
SUBJECTS: dict[str, For] = {
    "ListNotices": lambda compartment, capability: subjects.ListNoticesRequest(
        compartment=compartment, language="ky"),
    "Register": lambda compartment, capability: subjects.RegisterRequest(
        compartment=compartment, capability=capability, kind=types_pb2.SUBJECT_KIND_PERSON),
    "Put": lambda compartment, capability: subjects.SubjectServicePutRequest(
        compartment=compartment, capability=capability, clear=["city"]),
    "View": lambda compartment, capability: subjects.ViewRequest(
        compartment=compartment, capability=capability),
    "Report": lambda compartment, capability: subjects.ReportRequest(
        compartment=compartment, capability=capability, language="ky"),
    "GrantConsent": lambda compartment, capability: subjects.GrantConsentRequest(
        compartment=compartment, capability=capability),
    "WithdrawConsent": lambda compartment, capability: subjects.WithdrawConsentRequest(
        compartment=compartment, capability=capability, purposes=list(TREE["purposes"])),
    "Erase": lambda compartment, capability: subjects.EraseRequest(
        compartment=compartment, capability=capability),
    "ListConsents": lambda compartment, capability: subjects.ListConsentsRequest(
        compartment=compartment, capability=capability),
    "Restrict": lambda compartment, capability: subjects.RestrictRequest(
        compartment=compartment, capability=capability),
    "LiftRestriction": lambda compartment, capability: subjects.LiftRestrictionRequest(
        compartment=compartment, capability=capability),
    "GetRequest": lambda compartment, capability: subjects.GetRequestRequest(
        compartment=compartment, capability=capability, id=bytes(16)),
    "FinishRequest": lambda compartment, capability: subjects.FinishRequestRequest(
        compartment=compartment, capability=capability, id=bytes(16)),
}  # fmt: skip

ALL = frozenset(IDENTITIES) - {STRANGER}
POLICIES: dict[str, tuple[frozenset[str], Callable[[str], Message]]] = {
    "GetEdition": (ALL, lambda identity: policies.GetEditionRequest()),
    "Explain": (ALL, lambda identity: policies.ExplainRequest(
        service=identity if identity in TREE["services"] else "orders",
        purpose="services", compartment="accounts", operation="reveal", fields=["phone"])),
    "Approve": (frozenset({OFFICER}), lambda identity: policies.ApproveRequest(kind="nothing")),
    "ListPending": (frozenset({OFFICER}), lambda identity: policies.ListPendingRequest()),
    "ListTouches": (frozenset({OFFICER}), lambda identity: policies.ListTouchesRequest()),
}  # fmt: skip
AUDITS: dict[str, tuple[frozenset[str], Callable[[str], Message]]] = {
    "ListEvents": (frozenset({OFFICER}), lambda identity: audits.ListEventsRequest(
        compartment="accounts", page_size=1000)),
    "Summarize": (frozenset({OFFICER}), lambda identity: audits.SummarizeRequest(
        compartment="accounts")),
}  # fmt: skip


# What is asked of keys is refused to officers, too, and changes nothing: there is no such version.
NO_KEY = ring.KeyVersion(kind=ring.KEY_KIND_KEK, version=999)
KEYS: dict[str, Callable[[str], Message]] = {
    "GetKeyStatus": lambda compartment: ring.GetKeyStatusRequest(compartment=compartment),
    "Suspend": lambda compartment: ring.SuspendRequest(compartment=compartment, key=NO_KEY),
    "Resume": lambda compartment: ring.ResumeRequest(compartment=compartment, key=NO_KEY),
    "Evict": lambda compartment: ring.EvictRequest(compartment=compartment),
    "Rotate": lambda compartment: ring.RotateRequest(
        compartment=compartment, level=ring.ROTATION_LEVEL_INDEX, field=UNKNOWN
    ),
    "GetRotation": lambda compartment: ring.GetRotationRequest(
        compartment=compartment, id=bytes(16)
    ),
    "ListRotations": lambda compartment: ring.ListRotationsRequest(compartment=compartment),
    "CloseEpoch": lambda compartment: ring.CloseEpochRequest(
        compartment=compartment, trimmed_below=999
    ),
    "Destroy": lambda compartment: ring.DestroyRequest(compartment=compartment, key=NO_KEY),
}


REQUESTS: dict[str, Callable[[str], Message]] = {
    "ListRequests": lambda compartment: asked.ListRequestsRequest(compartment=compartment),
}


def test_the_matrix_knows_every_rpc() -> None:
    """A new RPC fails here until somebody says who may call it."""
    known: dict[str, list[str]] = {
        "RecordService": list(RECORDS),
        "SubjectService": [*SUBJECTS, "Export"],  # which test_house_export.py asks for
        "PolicyService": list(POLICIES),
        "AuditService": [*AUDITS, "TailEvents"],  # which test_house_auditing.py asks for
        "PseudonymService": ["Issue"],
        "KeyService": list(KEYS),
        "RequestService": list(REQUESTS),
    }
    assert METHODS.keys() == {
        f"/piivault.v1.{service}/{method}"
        for service, methods in known.items()
        for method in methods
    }


def _asked(city: City, identity: str, request: Asked) -> tuple[str, Told]:
    """Return the reason of the refusal, or "" and the answer."""
    try:
        if isinstance(request, tuple):
            return ALLOWED, stream(city.channels[identity], *request)
        return ALLOWED, send(city.channels[identity], request)
    except grpc.RpcError as error:
        refusal = refusal_of(error)
        return refusal.reason, refusal


def _silent(city: City, told: Told) -> bool:
    said = str(told)
    return not [secret for secret in city.secrets() if secret in said]


def _record_reason(identity: str, purpose: str, compartment: str, operation: str) -> str:
    """Say what becomes of a request to RecordService."""
    if identity not in INTERNAL:
        return Reason.IDENTITY_UNKNOWN if identity == STRANGER else Reason.METHOD_NOT_ALLOWED
    if compartment == UNKNOWN:
        return Reason.UNKNOWN_COMPARTMENT
    if purpose == UNKNOWN:
        return Reason.UNKNOWN_PURPOSE
    operations = [operation] if operation else ["reveal", "put", "find", "list"]
    if any((identity, purpose, compartment, o) in GRANTED for o in operations):
        return ALLOWED
    return Reason.NOT_GRANTED


@pytest.mark.parametrize("compartment", COMPARTMENTS)
@pytest.mark.parametrize(("operation", "make"), RECORDS.values(), ids=RECORDS)
def test_services_get_what_they_are_granted_and_no_more(
    city: City, operation: str, make: Under, compartment: str
) -> None:
    person = city.people.get(compartment, city.people["accounts"])

    def ask(identity: str, purpose: str) -> None:
        reason, told = _asked(city, identity, make(purpose, compartment, person.pseudonym))
        expected = _record_reason(identity, purpose, compartment, operation)
        if operation == "find" and expected == ALLOWED:
            expected = Reason.NOT_FOUND  # nobody holds what is looked for
        assert reason == expected, (identity, purpose)
        assert reason == ALLOWED or _silent(city, told)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(ask, *who) for who in product(IDENTITIES, PURPOSES)]
    for one in asked:
        one.result()


@pytest.mark.parametrize("compartment", COMPARTMENTS)
@pytest.mark.parametrize("make", SUBJECTS.values(), ids=SUBJECTS)
def test_nobody_but_the_portal_acts_for_a_subject(city: City, make: For, compartment: str) -> None:
    """Not even with the subject's own capability. The portal itself comes without a record."""
    person = city.people.get(compartment, city.people["accounts"])
    for identity in IDENTITIES:
        if identity == PORTAL:
            nobody = city.house.issue(piivault.new_root(), person.compartment).capability
            reason, _ = _asked(city, identity, make(compartment, nobody))
            assert reason not in DENIALS
            assert (reason == Reason.UNKNOWN_COMPARTMENT) == (compartment == UNKNOWN)
            continue
        reason, told = _asked(city, identity, make(compartment, person.capability))
        stranger = identity == STRANGER
        assert reason == (Reason.IDENTITY_UNKNOWN if stranger else Reason.METHOD_NOT_ALLOWED)
        assert _silent(city, told)
    assert person.subject.view(person.compartment)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_nobody_but_the_portal_is_issued_pseudonyms(city: City, compartment: str) -> None:
    person = city.people.get(compartment, city.people["accounts"])
    request = pseudonyms.IssueRequest(compartment=compartment, root_id=bytes(person.root))
    for identity in IDENTITIES:
        reason, told = _asked(city, identity, request)
        if identity == PORTAL:
            assert reason == (Reason.UNKNOWN_COMPARTMENT if compartment == UNKNOWN else ALLOWED)
            continue
        stranger = identity == STRANGER
        assert reason == (Reason.IDENTITY_UNKNOWN if stranger else Reason.METHOD_NOT_ALLOWED)
        assert person.pseudonym not in str(told)


@pytest.mark.parametrize(
    ("callers", "make"), [*POLICIES.values(), *AUDITS.values()], ids=[*POLICIES, *AUDITS]
)
def test_the_policy_is_shown_and_officers_alone_decide_and_audit(
    city: City, callers: frozenset[str], make: Callable[[str], Message]
) -> None:
    for identity in IDENTITIES:
        reason, told = _asked(city, identity, make(identity))
        assert (reason not in DENIALS) == (identity in callers), identity
        assert _silent(city, told)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
@pytest.mark.parametrize("make", [*KEYS.values(), *REQUESTS.values()], ids=[*KEYS, *REQUESTS])
def test_nobody_but_officers_asks_about_keys_and_requests(
    city: City, make: Callable[[str], Message], compartment: str
) -> None:
    for identity in IDENTITIES:
        reason, told = _asked(city, identity, make(compartment))
        if identity == OFFICER:
            assert reason not in DENIALS
            assert (reason == Reason.UNKNOWN_COMPARTMENT) == (compartment == UNKNOWN)
        else:
            stranger = identity == STRANGER
            assert reason == (Reason.IDENTITY_UNKNOWN if stranger else Reason.METHOD_NOT_ALLOWED)
        assert _silent(city, told)


@pytest.mark.parametrize("grant", sorted(GRANTED), ids="-".join)
def test_a_grant_reaches_the_fields_of_its_purpose_alone(
    city: City, grant: tuple[str, str, str, str]
) -> None:
    """Each field of the compartment by itself: shown in its form, or refused."""
    service, purpose, compartment, operation = grant
    person = city.people[compartment]
    seen = TREE["purposes"][purpose]["uses"][compartment]["fields"]
    for name, its in _declared(compartment).items():
        may = {
            "reveal": name in seen,
            "put": seen.get(name) == "plain",
            "find": name in seen and bool(its.get("index")),
        }[operation]
        reason, told = _asked(city, service, _single(person, purpose, operation, name))
        if not may:
            assert reason == Reason.FIELD_BEYOND_PURPOSE
            assert _silent(city, told)
        elif operation == "reveal":
            assert isinstance(told, records.RevealResponse)
            (field,) = told.fields
            assert types_pb2.Form.Name(field.form) == f"FORM_{seen[name].upper()}"
            assert (field.value == person.values.get(name)) == (seen[name] == "plain")
        else:
            assert reason in (ALLOWED, Reason.NOT_FOUND)


def _single(person: Registered, purpose: str, operation: str, name: str) -> Message:
    here = {"compartment": person.compartment, "purpose": purpose}
    value = types_pb2.FieldValue(name=name, value=person.values.get(name, "Ош"))
    if operation == "find":
        return records.FindRequest(**here, field=types_pb2.FieldValue(name=name, value="жок"))
    if operation == "put":
        return records.RecordServicePutRequest(**here, pseudonym=person.pseudonym, fields=[value])
    return records.RevealRequest(**here, pseudonym=person.pseudonym, fields=[name])


@contextmanager
def _looks_at_data() -> Iterator[list[str]]:
    """Collect the statements that look at records, keys, index and tombstones."""
    looks: list[str] = []

    def listen(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        tables = ("records", "data_keys", "blind_index", "tombstones", "idempotency")
        looks.extend(statement for table in tables if table in statement)

    async def send(send_on: Fetch, connection: HotConnection, statement: str, *given: Any) -> Any:
        listen(None, None, statement)
        return await send_on(connection, statement, *given)

    event.listen(Engine, "before_cursor_execute", listen)
    with hot_statements(send):
        yield looks
    event.remove(Engine, "before_cursor_execute", listen)


def test_what_the_edition_denies_costs_no_look_at_data(city: City) -> None:
    """So a denial is the same for who is there, who isn't, and what can't be."""
    whose = [city.people["accounts"].pseudonym, NOBODY, "no pseudonym"]
    denied: dict[str, list[Under]] = {
        "newsletter": [make for _, make in RECORDS.values()],  # has no grant for `services`
        "analytics": [make for _, make in RECORDS.values()],
    }
    with _looks_at_data() as looks:
        for service, makes in denied.items():
            for make in makes:
                told = [
                    _asked(city, service, make("services", "accounts", pseudonym))[1]
                    for pseudonym in whose
                ]
                refusals = [refusal for refusal in told if isinstance(refusal, Refusal)]
                assert len(refusals) == len(whose)
                assert len({refusal.alike() for refusal in refusals}) == 1
        assert not looks
        request = RECORDS["Reveal"][1]("services", "accounts", whose[0])
        assert _asked(city, "orders", request)[0] == ALLOWED
        assert looks
