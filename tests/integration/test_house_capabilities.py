"""Capabilities: without one that the broker issued to them, for here and now, nobody acts."""

import time
from collections.abc import Callable

import piivault
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.message import Message
from piivault.v1 import subject_service_pb2 as pb
from piivault.v1 import types_pb2

from tests.house import House
from tests.people import Registered, new_values
from vault.crypto.capability import Capability, encode, to_sign
from vault.errors import Reason
from vault.keys.provision import CAPABILITY_KEY
from vault.names import Pseudonym, from_base64url, to_base64url

PORTAL = "spiffe://oshto.kg/portal"
CABINET = "spiffe://oshto.kg/cabinet"  # might be another subject-facing service
SOON = 60  # seconds


@pytest.fixture(scope="module")
def person(house: House) -> Registered:
    return house.register()


def _signed(
    house: House, person: Registered, *, holder: str = PORTAL, lasts: int = SOON, version: int = 1
) -> str:
    """Write a capability as the broker would, with the broker's own key."""
    (public_key,) = house.running.admin.public_keys(CAPABILITY_KEY).values()
    payload = _capability(house, person, holder, lasts).payload(public_key)
    payload = bytes((version,)) + payload[1:]
    return encode(payload, house.running.admin.sign(CAPABILITY_KEY, to_sign(payload)))


def _self_signed(house: House, person: Registered, *, pinned: bool) -> str:
    """Write one with a key of our own, under its own name or under that of the broker's key."""
    key = Ed25519PrivateKey.generate()
    (brokers,) = house.running.admin.public_keys(CAPABILITY_KEY).values()
    named = brokers if pinned else key.public_key().public_bytes_raw()
    payload = _capability(house, person, PORTAL, SOON).payload(named)
    return encode(payload, key.sign(to_sign(payload)))


def _capability(house: House, person: Registered, holder: str, lasts: int) -> Capability:
    uuid = house.edition.compartments[person.compartment].uuid
    pseudonym = Pseudonym.parse(person.pseudonym)
    return Capability(uuid, pseudonym, holder, int(time.time()) + lasts)


def _altered(token: str, at: int) -> str:
    raw = bytearray(from_base64url(token.removeprefix("cap_")))
    raw[at] ^= 1
    return "cap_" + to_base64url(bytes(raw))


def _for_another(house: House, person: Registered) -> str:
    """Put another subject's pseudonym into a good capability."""
    raw = bytearray(from_base64url(person.capability.removeprefix("cap_")))
    raw[25:57] = Pseudonym.parse(house.register().pseudonym).raw
    return "cap_" + to_base64url(bytes(raw))


INVALID, EXPIRED, BORROWED = (
    Reason.CAPABILITY_INVALID,
    Reason.CAPABILITY_EXPIRED,
    Reason.CAPABILITY_BORROWED,
)
BAD: dict[str, tuple[Callable[[House, Registered], str], Reason]] = {
    "none": (lambda h, p: "", INVALID),
    "the prefix alone": (lambda h, p: "cap_", INVALID),
    "no base64url": (lambda h, p: "cap_Токтогулова", INVALID),
    "cut off": (lambda h, p: p.capability[:-1], INVALID),
    "with something behind it": (lambda h, p: p.capability + "AAAA", INVALID),
    "without its prefix": (lambda h, p: p.capability.removeprefix("cap_"), INVALID),
    "a pseudonym in its place": (lambda h, p: p.pseudonym, INVALID),
    "with another expiry": (lambda h, p: _altered(p.capability, 92), INVALID),
    "with another holder": (lambda h, p: _altered(p.capability, 57), INVALID),
    "with another signature": (lambda h, p: _altered(p.capability, -1), INVALID),
    "with another subject's pseudonym": (_for_another, INVALID),
    "signed by a stranger": (lambda h, p: _self_signed(h, p, pinned=False), INVALID),
    "signed by a stranger in the broker's name": (
        lambda h, p: _self_signed(h, p, pinned=True), INVALID),
    "of a version from the future": (lambda h, p: _signed(h, p, version=2), INVALID),
    "of another compartment": (lambda h, p: h.issue(p.root, "orders").capability, INVALID),
    "expired": (lambda h, p: _signed(h, p, lasts=-1), EXPIRED),
    "expired just now": (lambda h, p: _signed(h, p, lasts=0), EXPIRED),
    "issued to another service": (lambda h, p: _signed(h, p, holder=CABINET), BORROWED),
    "issued to another service, and expired": (
        lambda h, p: _signed(h, p, holder=CABINET, lasts=-1), BORROWED),
}  # fmt: skip


def _everything(house: House, capability: str) -> list[Message]:
    """Write one request of each kind that acts for a subject."""
    fields = [
        types_pb2.FieldValue(name=name, value=value)
        for name, value in new_values("accounts").items()
    ]
    shown = house.consents("accounts")
    consents = [
        types_pb2.Consent(
            purpose=c.purpose, edition=c.edition, language=c.language, notice_digest=c.notice_digest
        )
        for c in shown
    ]
    here = {"compartment": "accounts", "capability": capability}
    return [
        pb.RegisterRequest(
            **here, kind=types_pb2.SUBJECT_KIND_PERSON, fields=fields, consents=consents
        ),
        pb.SubjectServicePutRequest(**here, fields=fields),
        pb.ViewRequest(**here),
        pb.ReportRequest(**here, language="ky"),
        pb.GrantConsentRequest(**here, consents=consents),
        pb.WithdrawConsentRequest(**here, purposes=["services"]),
        pb.EraseRequest(**here),
    ]


@pytest.mark.parametrize(("make", "reason"), BAD.values(), ids=BAD)
def test_a_bad_capability_does_nothing(
    house: House,
    person: Registered,
    make: Callable[[House, Registered], str],
    reason: Reason,
) -> None:
    """Not one method takes it, no refusal repeats it, and the record stays as it was."""
    capability = make(house, person)
    for request in _everything(house, capability):
        refusal = house.refused("portal", request)
        assert refusal.reason == reason
        assert person.pseudonym not in refusal.seen
        assert len(capability) <= len("cap_") or capability not in refusal.seen
    view = person.subject.view("accounts")
    assert view.etag == person.etag
    assert {n: v.expose() for n, v in view.items() if v is not None} == person.values


def test_one_that_the_broker_would_issue_is_taken(house: House, person: Registered) -> None:
    """So the others are refused for what is wrong with them, not for how they were made."""
    good = _signed(house, person)
    view = house.ask("portal", pb.ViewRequest(compartment="accounts", capability=good))
    assert view.etag == person.etag


def test_a_capability_opens_no_record_that_is_not_there(house: House) -> None:
    """The broker issues for roots that nobody registered; there is nothing to see, and no hint."""
    issued = house.issue(piivault.new_root(), "accounts")
    request = pb.ViewRequest(compartment="accounts", capability=issued.capability)
    assert house.refused("portal", request).reason == Reason.NOT_FOUND


def test_the_same_root_has_one_pseudonym_in_each_compartment(house: House) -> None:
    """Always the same one here, never the same one elsewhere."""
    root = piivault.new_root()
    issued = [
        [house.issue(root, name).pseudonym for _ in range(2)] for name in house.edition.compartments
    ]
    assert all(first == second for first, second in issued)
    assert len({first for first, _ in issued}) == len(house.edition.compartments)
