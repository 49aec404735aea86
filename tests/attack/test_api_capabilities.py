"""Wall 1, the API: a capability is good for one compartment, one holder, one time."""

import time
from collections.abc import Callable
from itertools import permutations

import piivault
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.attack.actors import KIOSK, PURPOSE, at_once, spiffe_of
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.city import City, new_value
from tests.attack.forging import malleated
from tests.people import COMPARTMENTS, KINDS, new_values
from vault.crypto.capability import Capability, encode, to_sign
from vault.errors import Reason
from vault.keys.provision import CAPABILITY_KEY
from vault.names import Pseudonym, from_base64url, to_base64url

PAIRS = tuple(permutations(COMPARTMENTS, 2))  # (where it is from, where it is tried)
SOON = 600  # seconds
# What a capability is made of: name, first byte, byte after the last (vault/crypto/capability.py).
PARTS = (
    ("version", 0, 1), ("key id", 1, 9), ("compartment", 9, 25), ("pseudonym", 25, 57),
    ("holder", 57, 89), ("expiry", 89, 97), ("signature", 97, 161),
)  # fmt: skip


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
        compartment=compartment, capability=token, fields=[new_value(compartment)]),
    "View": lambda compartment, token: subjects.ViewRequest(
        compartment=compartment, capability=token),
    "Report": lambda compartment, token: subjects.ReportRequest(
        compartment=compartment, capability=token, language="ky"),
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
        told = city.told_for_subject(here, make(here, city.people[there].capability))
        assert told == Reason.CAPABILITY_INVALID
        attempts.record(
            Wall.API, "use another compartment's capability", f"{there}>{here}", REFUSED
        )
    for here in COMPARTMENTS:
        nobody = city.actors.issue("portal", bytes(piivault.new_root()), here).capability
        assert city.told_for_subject(here, make(here, nobody)) not in _CAPABILITY
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
        return city.told_for_subject("web", _view("web", _token(raw)))

    def trial(bit: int) -> Callable[[], str]:
        return lambda: flipped(bit)

    told = at_once([trial(bit) for bit in range(8 * begins, 8 * ends)])
    assert set(told) == {Reason.CAPABILITY_INVALID}
    for bit in range(8 * begins, 8 * ends):
        attempts.record(Wall.API, "flip a bit of a capability", f"{part}, bit {bit}", REFUSED)
    assert city.told_for_subject("web", _view("web", person.capability)) == ""
    attempts.record(Wall.API, "flip a bit of a capability", "none", CONTROL)


def _capability(city: City, *, holder: str = "portal", lasts: int = SOON) -> Capability:
    uuid = city.actors.house.edition.compartments["web"].uuid
    pseudonym = Pseudonym.parse(city.people["web"].pseudonym)
    return Capability(uuid, pseudonym, spiffe_of(holder), int(time.time()) + lasts)


def _brokers_key(city: City) -> bytes:
    (key,) = city.actors.house.running.admin.public_keys(CAPABILITY_KEY).values()
    return key


def _issued(city: City, capability: Capability) -> str:
    """Write a capability as the broker would, by its own key."""
    payload = capability.payload(_brokers_key(city))
    signature = city.actors.house.running.admin.sign(CAPABILITY_KEY, to_sign(payload))
    return encode(payload, signature)


def _forged(city: City, *, named: bool, labelled: bool = True) -> str:
    """Write one by a key of ours: under its own id, or under that of the broker's key."""
    key = Ed25519PrivateKey.generate()
    public = _brokers_key(city) if named else key.public_key().public_bytes_raw()
    payload = _capability(city).payload(public)
    return encode(payload, key.sign(to_sign(payload) if labelled else payload))


def _malleated(city: City) -> str:
    raw = _raw(city.people["web"].capability)
    return _token(bytes(raw[:97]) + malleated(bytes(raw[97:])))


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
                         + c.actors.house.edition.compartments["web"].uuid
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
        refusal = city.actors.refused("worker-web", "portal", make("web", token))
        assert refusal.reason == reason
        assert token not in refusal.seen
        attempts.record(Wall.API, "forge a capability", f"{name} {request.node.name}", REFUSED)
    assert city.told_for_subject("web", _view("web", _issued(city, _capability(city)))) == ""
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
        assert city.told_for_subject("web", make("web", token), service=who) == reason
        attempts.record(Wall.API, "borrow a capability", f"{who}, {name}", REFUSED)
    assert city.told_for_subject("web", _view("web", token)) == ""
    attempts.record(Wall.API, "borrow a capability", "its holder", CONTROL)


def test_who_learns_a_root_id_acts_for_its_subject(city: City, attempts: Attempts) -> None:
    """A second subject-facing service with the same root id: the broker can't know better."""
    root = bytes(city.people["web"].root)
    token = city.actors.issue(KIOSK, root, "web").capability
    assert city.told_for_subject("web", _view("web", token), service=KIOSK) == ""
    attempts.record(Wall.API, "act by a root id learnt elsewhere", "web", RESIDUAL)
