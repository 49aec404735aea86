"""Wall 1, the API: a pseudonym or a capability is good for one compartment, one holder, one time.

One person has a record in every compartment. For each compartment there is a service with all that
its purpose allows, so that whatever is refused here is refused for the pseudonym or the capability.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import permutations

import piivault
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from piivault.v1 import errors_pb2, types_pb2
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects

from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.office import COMPARTMENTS, FIELD, KIOSK, PURPOSE, Office, at_once, spiffe_of
from tests.people import KINDS, Registered, new_values
from tests.split import SplitHouse
from vault.crypto.capability import Capability, encode, to_sign
from vault.errors import Reason
from vault.keys.provision import CAPABILITY_KEY
from vault.names import Pseudonym, from_base64url, to_base64url

PAIRS = tuple(permutations(COMPARTMENTS, 2))  # (where it is from, where it is tried)
SOON = 600  # seconds
ORDER = 2**252 + 27742317777372353535851937790883648493  # of ed25519's group (RFC 8032)
# What a capability is made of: name, first byte, byte after the last (vault/crypto/capability.py).
PARTS = (
    ("version", 0, 1), ("key id", 1, 9), ("compartment", 9, 25), ("pseudonym", 25, 57),
    ("holder", 57, 89), ("expiry", 89, 97), ("signature", 97, 161),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class City:
    """One person, everywhere; and who asks."""

    office: Office
    people: Mapping[str, Registered]

    def ask(self, compartment: str, request: Message) -> str:
        """Ask the worker of a compartment as its clerk; return the reason of a refusal, or ""."""
        return self.office.told(f"worker-{compartment}", f"clerk-{compartment}", request)

    def act(self, compartment: str, request: Message, service: str = "portal") -> str:
        """Ask the worker of a compartment for the subject."""
        return self.office.told(f"worker-{compartment}", service, request)


@pytest.fixture(scope="module")
def city(split_house: SplitHouse) -> Iterator[City]:
    office = Office(split_house)
    office.settle()
    root = piivault.new_root()
    yield City(office, {name: split_house.register(name, root=root) for name in COMPARTMENTS})
    office.close()


def _value(compartment: str) -> types_pb2.FieldValue:
    name = FIELD[compartment]
    return types_pb2.FieldValue(name=name, value=new_values(compartment)[name])


# By pseudonym.


def _reveal(compartment: str, pseudonym: str) -> Message:
    return records.RevealRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonym=pseudonym,
        fields=[FIELD[compartment]])  # fmt: skip


def _put(compartment: str, pseudonym: str) -> Message:
    return records.RecordServicePutRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonym=pseudonym,
        fields=[_value(compartment)])  # fmt: skip


def _batch(compartment: str, *whose: str) -> records.BatchRevealRequest:
    return records.BatchRevealRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonyms=whose,
        fields=[FIELD[compartment]])  # fmt: skip


BY_PSEUDONYM: dict[str, Callable[[str, str], Message]] = {"Reveal": _reveal, "Put": _put}


@pytest.mark.parametrize("make", BY_PSEUDONYM.values(), ids=BY_PSEUDONYM)
def test_a_pseudonym_of_one_compartment_is_noise_in_every_other(
    city: City, attempts: Attempts, make: Callable[[str, str], Message]
) -> None:
    """Answered word for word as one that was never issued: nothing tells that it is somebody."""
    noise = str(Pseudonym(bytes(range(32))))
    for there, here in PAIRS:
        told = [
            city.office.refused(f"worker-{here}", f"clerk-{here}", make(here, pseudonym))
            for pseudonym in (city.people[there].pseudonym, noise)
        ]
        assert {refusal.reason for refusal in told} == {Reason.NOT_FOUND}
        assert len({refusal.alike() for refusal in told}) == 1
        attempts.record(Wall.API, "use another compartment's pseudonym", f"{there}>{here}", REFUSED)
    for here in COMPARTMENTS:
        assert city.ask(here, make(here, city.people[here].pseudonym)) == ""
        attempts.record(Wall.API, "use another compartment's pseudonym", here, CONTROL)


def test_a_batch_of_pseudonyms_from_everywhere_finds_those_from_here(
    city: City, attempts: Attempts
) -> None:
    """All four of one person in one request: the one thing that the API could be made to join."""
    whose = [city.people[name].pseudonym for name in COMPARTMENTS]
    not_found = errors_pb2.ERROR_REASON_NOT_FOUND
    for here in COMPARTMENTS:
        answer = city.office.ask(f"worker-{here}", f"clerk-{here}", _batch(here, *whose))
        found = [result.WhichOneof("outcome") == "record" for result in answer.results]
        assert found == [name == here for name in COMPARTMENTS]
        assert {r.error.reason for r in answer.results if r.HasField("error")} == {not_found}
        for there in (name for name in COMPARTMENTS if name != here):
            attempts.record(Wall.API, "batch pseudonyms of all compartments", there, REFUSED)
        attempts.record(Wall.API, "batch pseudonyms of all compartments", here, CONTROL)


def test_a_worker_serves_its_compartment_by_whatever_name_it_is_asked(
    city: City, attempts: Attempts
) -> None:
    """A request for A, sent to the worker of B by whoever may read A."""
    for there, here in PAIRS:
        clerk, request = f"clerk-{there}", _reveal(there, city.people[there].pseudonym)
        told = city.office.told(f"worker-{here}", clerk, request)
        assert told == Reason.UNKNOWN_COMPARTMENT
        attempts.record(Wall.API, "ask another worker", f"{there}>{here}", REFUSED)
    assert city.ask("web", _reveal("web", city.people["web"].pseudonym)) == ""
    attempts.record(Wall.API, "ask another worker", "web", CONTROL)


# By capability.


def _consents(compartment: str) -> list[types_pb2.Consent]:
    return [types_pb2.Consent(purpose=PURPOSE[compartment], edition=1, language="ky")]


def _kind(compartment: str) -> types_pb2.SubjectKind.ValueType:
    return types_pb2.SubjectKind.Value(f"SUBJECT_KIND_{KINDS.get(compartment, 'person').upper()}")


For = Callable[[str, str], Message]  # compartment, capability
BY_CAPABILITY: dict[str, For] = {
    "Register": lambda compartment, token: subjects.RegisterRequest(
        compartment=compartment, capability=token, kind=_kind(compartment),
        fields=[types_pb2.FieldValue(name=name, value=value)
                for name, value in new_values(compartment).items()]),
    "Put": lambda compartment, token: subjects.SubjectServicePutRequest(
        compartment=compartment, capability=token, fields=[_value(compartment)]),
    "View": lambda compartment, token: subjects.ViewRequest(
        compartment=compartment, capability=token),
    "GrantConsent": lambda compartment, token: subjects.GrantConsentRequest(
        compartment=compartment, capability=token, consents=_consents(compartment)),
    "WithdrawConsent": lambda compartment, token: subjects.WithdrawConsentRequest(
        compartment=compartment, capability=token, purposes=[PURPOSE[compartment]]),
    "Erase": lambda compartment, token: subjects.EraseRequest(
        compartment=compartment, capability=token),
}  # fmt: skip
_view = BY_CAPABILITY["View"]


@pytest.mark.parametrize("make", BY_CAPABILITY.values(), ids=BY_CAPABILITY)
def test_a_capability_of_one_compartment_does_nothing_in_another(
    city: City, attempts: Attempts, make: For
) -> None:
    for there, here in PAIRS:
        told = city.act(here, make(here, city.people[there].capability))
        assert told == Reason.CAPABILITY_INVALID
        attempts.record(
            Wall.API, "use another compartment's capability", f"{there}>{here}", REFUSED
        )
    for here in COMPARTMENTS:
        nobody = city.office.issue("portal", bytes(piivault.new_root()), here).capability
        assert city.act(here, make(here, nobody)) not in _CAPABILITY
        attempts.record(Wall.API, "use another compartment's capability", here, CONTROL)


_CAPABILITY = {
    Reason.CAPABILITY_INVALID, Reason.CAPABILITY_BORROWED, Reason.CAPABILITY_EXPIRED,
}  # fmt: skip


def _raw(token: str) -> bytearray:
    return bytearray(from_base64url(token.removeprefix("cap_")))


def _token(raw: bytes | bytearray) -> str:
    return f"cap_{to_base64url(bytes(raw))}"


@pytest.mark.parametrize(("part", "begins", "ends"), PARTS, ids=[name for name, *_ in PARTS])
def test_every_bit_of_a_capability_counts(
    city: City, attempts: Attempts, part: str, begins: int, ends: int
) -> None:
    """At the worker, over the wire; what stands in it is believed only once the signature holds."""
    person = city.people["web"]

    def flipped(bit: int) -> str:
        raw = _raw(person.capability)
        raw[bit // 8] ^= 1 << bit % 8
        return city.act("web", _view("web", _token(raw)))

    def trial(bit: int) -> Callable[[], str]:
        return lambda: flipped(bit)

    told = at_once([trial(bit) for bit in range(8 * begins, 8 * ends)])
    assert set(told) == {Reason.CAPABILITY_INVALID}
    for bit in range(8 * begins, 8 * ends):
        attempts.record(Wall.API, "flip a bit of a capability", f"{part}, bit {bit}", REFUSED)
    assert city.act("web", _view("web", person.capability)) == ""
    attempts.record(Wall.API, "flip a bit of a capability", "none", CONTROL)


def _capability(city: City, *, holder: str = "portal", lasts: int = SOON) -> Capability:
    uuid = city.office.house.edition.compartments["web"].uuid
    pseudonym = Pseudonym.parse(city.people["web"].pseudonym)
    return Capability(uuid, pseudonym, spiffe_of(holder), int(time.time()) + lasts)


def _brokers_key(city: City) -> bytes:
    (key,) = city.office.house.running.admin.public_keys(CAPABILITY_KEY).values()
    return key


def _issued(city: City, capability: Capability) -> str:
    """Write a capability as the broker would, by its own key."""
    payload = capability.payload(_brokers_key(city))
    signature = city.office.house.running.admin.sign(CAPABILITY_KEY, to_sign(payload))
    return encode(payload, signature)


def _forged(city: City, *, named: bool, labelled: bool = True) -> str:
    """Write one by a key of ours: under its own id, or under that of the broker's key."""
    key = Ed25519PrivateKey.generate()
    public = _brokers_key(city) if named else key.public_key().public_bytes_raw()
    payload = _capability(city).payload(public)
    return encode(payload, key.sign(to_sign(payload) if labelled else payload))


def _malleated(city: City) -> str:
    """Add the group's order to S: the same signature to who forgets to look (RFC 8032, 5.1.7)."""
    raw = _raw(city.people["web"].capability)
    other = int.from_bytes(raw[129:161], "little") + ORDER
    return _token(bytes(raw[:129]) + other.to_bytes(32, "little"))


def _signed_by_nothing(city: City) -> str:
    """Give the signature that holds for every message under a key of small order."""
    raw = _raw(city.people["web"].capability)
    return _token(bytes(raw[:97]) + (1).to_bytes(32, "little") + bytes(32))


def _with(city: City, begins: int, part: bytes) -> str:
    raw = _raw(city.people["web"].capability)
    raw[begins : begins + len(part)] = part
    return _token(raw)


def _respelled(city: City) -> str:
    """Spell the same bytes in another way: the last character has two bits to spare."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    token = city.people["web"].capability
    return token[:-1] + letters[letters.index(token[-1]) ^ 1]


def _own(change: Callable[[str], str]) -> Callable[[City], str]:
    return lambda city: change(city.people["web"].capability)


FORGED: dict[str, tuple[Callable[[City], str], Reason]] = {
    "by a key of ours": (lambda c: _forged(c, named=False), Reason.CAPABILITY_INVALID),
    "by a key of ours, as the broker's": (
        lambda c: _forged(c, named=True), Reason.CAPABILITY_INVALID),
    "by a key of ours, without the label": (
        lambda c: _forged(c, named=True, labelled=False), Reason.CAPABILITY_INVALID),
    "malleated: S and the group's order": (_malleated, Reason.CAPABILITY_INVALID),
    "signed by the neutral element": (_signed_by_nothing, Reason.CAPABILITY_INVALID),
    "for another pseudonym of the same person": (
        lambda c: _with(c, 25, Pseudonym.parse(c.people["orders"].pseudonym).raw),
        Reason.CAPABILITY_INVALID),
    "another compartment's, put here": (
        lambda c: _token(bytes(_raw(c.people["orders"].capability)[:9])
                         + c.office.house.edition.compartments["web"].uuid
                         + bytes(_raw(c.people["orders"].capability)[25:])),
        Reason.CAPABILITY_INVALID),
    "that never ends": (lambda c: _with(c, 89, b"\xff" * 8), Reason.CAPABILITY_INVALID),
    "of version 0": (lambda c: _with(c, 0, b"\x00"), Reason.CAPABILITY_INVALID),
    "spelled another way": (_respelled, Reason.CAPABILITY_INVALID),
    "with padding": (_own(lambda t: t + "="), Reason.CAPABILITY_INVALID),
    "in the other alphabet": (
        _own(lambda t: "cap_" + t[4:].translate(str.maketrans("-_", "+/")) + "+"),
        Reason.CAPABILITY_INVALID),
    "with a line feed": (_own(lambda t: t + "\n"), Reason.CAPABILITY_INVALID),
    "with its prefix twice": (_own(lambda t: "cap_" + t), Reason.CAPABILITY_INVALID),
    "with its prefix in capitals": (
        _own(lambda t: t.replace("cap_", "CAP_")), Reason.CAPABILITY_INVALID),
    "twice": (_own(lambda t: t + t.removeprefix("cap_")), Reason.CAPABILITY_INVALID),
    "a megabyte": (lambda c: "cap_" + "A" * 2**20, Reason.CAPABILITY_INVALID),
    "by the broker, but expired": (
        lambda c: _issued(c, _capability(c, lasts=-1)), Reason.CAPABILITY_EXPIRED),
    "by the broker, but for another holder": (
        lambda c: _issued(c, _capability(c, holder=KIOSK)), Reason.CAPABILITY_BORROWED),
    "by the broker, but for a name like ours": (
        lambda c: _issued(c, _capability(c, holder="portal/")), Reason.CAPABILITY_BORROWED),
}  # fmt: skip


@pytest.mark.parametrize(("forge", "reason"), FORGED.values(), ids=FORGED)
def test_a_capability_that_the_broker_did_not_issue_for_this_is_refused(
    city: City,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    forge: Callable[[City], str],
    reason: Reason,
) -> None:
    token = forge(city)
    for name, make in BY_CAPABILITY.items():
        refusal = city.office.refused("worker-web", "portal", make("web", token))
        assert refusal.reason == reason
        assert token not in refusal.seen
        attempts.record(Wall.API, "forge a capability", f"{name} {request.node.name}", REFUSED)
    assert city.act("web", _view("web", _issued(city, _capability(city)))) == ""
    attempts.record(Wall.API, "forge a capability", "by the broker's own key", CONTROL)


BORROWERS = {
    KIOSK: Reason.CAPABILITY_BORROWED,  # subject-facing, too
    "clerk-web": Reason.METHOD_NOT_ALLOWED,
    "officer-aida": Reason.METHOD_NOT_ALLOWED,
}


@pytest.mark.parametrize(("who", "reason"), BORROWERS.items(), ids=BORROWERS)
def test_a_capability_is_its_holders_alone(
    city: City, attempts: Attempts, who: str, reason: Reason
) -> None:
    """Stolen in transit, or handed on: good for nobody else, whatever they may do otherwise."""
    token = city.people["web"].capability
    for name, make in BY_CAPABILITY.items():
        assert city.act("web", make("web", token), service=who) == reason
        attempts.record(Wall.API, "borrow a capability", f"{who}, {name}", REFUSED)
    assert city.act("web", _view("web", token)) == ""
    attempts.record(Wall.API, "borrow a capability", "its holder", CONTROL)


def test_who_learns_a_root_id_acts_for_its_subject(city: City, attempts: Attempts) -> None:
    """A second subject-facing service with the same root id: the broker can't know better."""
    root = bytes(city.people["web"].root)
    token = city.office.issue(KIOSK, root, "web").capability
    assert city.act("web", _view("web", token), service=KIOSK) == ""
    attempts.record(Wall.API, "act by a root id learnt elsewhere", "web", RESIDUAL)


def test_an_internal_service_with_a_root_id_gets_nothing(city: City, attempts: Attempts) -> None:
    """It can't turn it into a pseudonym, so that to know a root id isn't to know a person."""
    for name in COMPARTMENTS:
        request = pseudonyms.IssueRequest(
            compartment=name, root_id=bytes(city.people[name].root))  # fmt: skip
        told = city.office.told("broker", f"clerk-{name}", request)
        assert told == Reason.METHOD_NOT_ALLOWED
        attempts.record(Wall.API, "have a pseudonym issued to an internal service", name, REFUSED)
    assert city.office.issue("portal", bytes(city.people["web"].root), "web").pseudonym
    attempts.record(Wall.API, "have a pseudonym issued to an internal service", "portal", CONTROL)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_a_pseudonym_is_no_root_id(city: City, attempts: Attempts, compartment: str) -> None:
    """A subject-facing service can't go from one pseudonym to the next: there is no translation."""
    raw = Pseudonym.parse(city.people[compartment].pseudonym).raw
    others = [name for name in COMPARTMENTS if name != compartment]
    for there in others:
        known = Pseudonym.parse(city.people[there].pseudonym).raw
        for root in (raw, raw[:16], raw[16:]):
            request = pseudonyms.IssueRequest(compartment=there, root_id=root)
            if len(root) != 16:
                refusal = city.office.refused("broker", "portal", request)
                assert refusal.reason == Reason.MALFORMED_REQUEST
            else:
                answer = city.office.ask("broker", "portal", request)
                assert Pseudonym.parse(answer.pseudonym).raw != known
            attempts.record(Wall.API, "translate a pseudonym", f"{compartment}>{there}", REFUSED)
    root = bytes(city.people[compartment].root)
    for there in others:
        issued = city.office.issue("portal", root, there).pseudonym
        assert issued == city.people[there].pseudonym
        attempts.record(Wall.API, "translate a pseudonym", "by the root id", CONTROL)
