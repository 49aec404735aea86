"""Wall 1, the API: an export is sealed to the subject's own key, whoever relays it.

The relay is a service that faces subjects and that was taken over. It may act for who is there, and
would have all that a compartment holds of them for itself, in one piece and signed.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import permutations

import piivault
import pytest
from piivault import errors
from piivault.export_keys import ExportKey, ExportKeys, PublicKey
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1.pseudonym_service_pb2 import IssueRequest

from tests import wire
from tests.attack.actors import Actors, spiffe_of
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.city import City
from tests.exporting import opened
from tests.identity_provider import KEY_ID, IdentityProvider
from tests.people import COMPARTMENTS
from vault.dev.local import serving
from vault.errors import Reason

RELAY, PROVIDER = "portal", IdentityProvider()
RELAYS = ExportKey.new()
REFUSALS = (Reason.SUBJECT_ASSERTION_REQUIRED, Reason.SUBJECT_ASSERTION_INVALID)


@dataclass(frozen=True, slots=True)
class Relay:
    """A relay, before a broker that pins an identity provider, and the workers."""

    city: City
    broker: str

    def issued(self, root: bytes, key: PublicKey, assertion: str) -> str:
        """Ask the broker for a capability to export to a key; return it. Raises grpc.RpcError."""
        with wire.open_channel(self.broker, self.city.actors.house.tls(RELAY)) as channel:
            return str(wire.send(channel, _issue(root, key, assertion)).capability)

    def told(self, root: bytes, key: PublicKey, assertion: str) -> str:
        """Ask the broker; return the reason of the refusal, or ""."""
        with wire.open_channel(self.broker, self.city.actors.house.tls(RELAY)) as channel:
            return wire.reason_of(channel, _issue(root, key, assertion))


def _issue(root: bytes, key: PublicKey, assertion: str = "") -> IssueRequest:
    return IssueRequest(
        compartment="web", root_id=root, export_key=key.digest, subject_assertion=assertion
    )


def _export(compartment: str, capability: str, key: PublicKey) -> subjects.ExportRequest:
    return subjects.ExportRequest(
        compartment=compartment,
        capability=capability,
        suite=subjects.EXPORT_SUITE_MLKEM768_X25519,
        public_key=key.raw,
    )


@pytest.fixture(scope="module")
def relay(actors: Actors, city: City) -> Iterator[Relay]:
    settings = actors.house.settings_of("broker", SERVER__ADDRESS="127.0.0.1:0")
    assert settings.broker is not None
    pinning = settings.broker.model_copy(update={"identity_providers": (PROVIDER.settings,)})
    with serving(settings.model_copy(update={"broker": pinning})) as port:
        yield Relay(city, f"127.0.0.1:{port}")


def _said(root: bytes, key: PublicKey | None, *, now: float | None = None, by: str = RELAY) -> str:
    confirmation = {"jkt": key.thumbprint} if key else None
    return PROVIDER.assertion(root, spiffe_of(by), cnf=confirmation, now=now)


THEIRS = RELAYS.public
Claim = Callable[[bytes, PublicKey], str]
CLAIMS: dict[str, Claim] = {
    "none": lambda root, key: "",
    "that names no key": lambda root, key: _said(root, None),
    "that names the subject's key": _said,
    "of another subject": lambda root, key: _said(bytes(piivault.new_root()), THEIRS),
    "made before another service": lambda root, key: _said(root, THEIRS, by="kiosk"),
    "that is over": lambda root, key: _said(root, THEIRS, now=time.time() - 600),
    "by another provider": lambda root, key: IdentityProvider().assertion(
        root, spiffe_of(RELAY), cnf={"jkt": THEIRS.thumbprint}),
    "with the key in its header": lambda root, key: PROVIDER.assertion(
        root, spiffe_of(RELAY), header={"kid": KEY_ID, "jwk": THEIRS.jwk}),
    "that confirms it otherwise": lambda root, key: PROVIDER.assertion(
        root, spiffe_of(RELAY), cnf={"jwk": THEIRS.jwk, "kid": THEIRS.thumbprint}),
}  # fmt: skip


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_relay_gets_no_export_to_a_key_of_its_own(
    relay: Relay, attempts: Attempts, request: pytest.FixtureRequest, claim: Claim
) -> None:
    root, key = bytes(relay.city.people["web"].root), ExportKey.new().public
    assert relay.told(root, THEIRS, claim(root, key)) in REFUSALS
    attempts.record(Wall.API, "export to a relay's own key", request.node.name, REFUSED)
    assert relay.told(root, key, _said(root, key)) == ""
    attempts.record(Wall.API, "export to a relay's own key", "the subject's", CONTROL)


def test_a_confirmed_key_is_not_replaced_on_the_way(relay: Relay, attempts: Attempts) -> None:
    """The worker takes the broker's word for one key: not for another, nor for none."""
    root = bytes(relay.city.people["web"].root)
    keys = ExportKeys.new(["web"])
    key, city = keys.public["web"], relay.city
    capability = relay.issued(root, key, _said(root, key))
    for name, its in {
        "a confirmed": capability,
        "an acting": city.people["web"].capability,
    }.items():
        assert (
            city.told_for_subject("web", _export("web", its, THEIRS)) == Reason.CAPABILITY_INVALID
        )
        attempts.record(Wall.API, "replace the key of an export", name, REFUSED)
    relabelled = _export("web", capability, key)
    relabelled.suite = subjects.EXPORT_SUITE_X25519
    assert city.told_for_subject("web", relabelled) == Reason.MALFORMED_REQUEST
    attempts.record(Wall.API, "replace the key of an export", "its suite", REFUSED)
    answer = city.actors.ask("worker-web", RELAY, _export("web", capability, key))
    assert opened(city.actors.house, answer.package, keys).compartment == "web"
    attempts.record(Wall.API, "replace the key of an export", "the subject's", CONTROL)


def test_an_assertion_that_is_used_again_brings_nothing_to_a_relay(
    relay: Relay, attempts: Attempts
) -> None:
    """It makes more packages, for minutes; who opens them is the subject."""
    root, keys = bytes(relay.city.people["web"].root), ExportKeys.new(["web"])
    key, house = keys.public["web"], relay.city.actors.house
    said = _said(root, key)
    for _ in range(2):
        capability = relay.issued(root, key, said)
        answer = relay.city.actors.ask("worker-web", RELAY, _export("web", capability, key))
        with pytest.raises(errors.PackageError):
            opened(house, answer.package, ExportKeys({"web": RELAYS}))
        attempts.record(Wall.API, "use an export's assertion again", "with its key", REFUSED)
        assert opened(house, answer.package, keys).compartment == "web"
    assert relay.told(root, THEIRS, said) == Reason.SUBJECT_ASSERTION_INVALID
    attempts.record(Wall.API, "use an export's assertion again", "with another key", REFUSED)
    attempts.record(Wall.API, "use an export's assertion again", "opened by its subject", CONTROL)


def test_a_capability_for_an_export_does_nothing_in_another_compartment(
    city: City, attempts: Attempts
) -> None:
    for there, here in permutations(COMPARTMENTS, 2):
        key = ExportKey.new().public
        issue = IssueRequest(
            compartment=there, root_id=bytes(city.people[there].root), export_key=key.digest
        )
        capability = city.actors.ask("broker", RELAY, issue).capability
        request = _export(here, capability, key)
        assert city.told_for_subject(here, request) == Reason.CAPABILITY_INVALID
        attempts.record(Wall.API, "export elsewhere", f"{there}>{here}", REFUSED)
        assert city.told_for_subject(there, _export(there, capability, key)) == ""
        attempts.record(Wall.API, "export elsewhere", there, CONTROL)


def test_a_capability_for_an_export_does_nothing_else(city: City, attempts: Attempts) -> None:
    key = ExportKey.new().public
    issue = IssueRequest(
        compartment="web", root_id=bytes(city.people["web"].root), export_key=key.digest
    )
    capability = city.actors.ask("broker", RELAY, issue).capability
    for request in (
        subjects.ViewRequest(compartment="web", capability=capability),
        subjects.EraseRequest(compartment="web", capability=capability),
    ):
        assert city.told_for_subject("web", request) == Reason.CAPABILITY_INVALID
        name = type(request).__name__
        attempts.record(Wall.API, "act with a capability for an export", name, REFUSED)
    assert city.told_for_subject("web", _export("web", capability, key)) == ""
    attempts.record(Wall.API, "act with a capability for an export", "an export", CONTROL)


def test_where_no_provider_is_pinned_a_relay_exports_to_itself(
    city: City, attempts: Attempts
) -> None:
    """Nobody there can say whose a key is. The subject notices: what comes doesn't open."""
    subject = city.actors.house.client(RELAY).subject(city.people["web"].root)
    package = subject.export("web", THEIRS).package
    taken = opened(city.actors.house, package, ExportKeys({"web": RELAYS}))
    assert taken.holdings["fields"]
    attempts.record(Wall.API, "export to a relay's own key", "no provider", RESIDUAL)
    with pytest.raises(errors.PackageError, match="somebody put in a key of their own"):
        opened(city.actors.house, package, ExportKeys.new(["web"]))
