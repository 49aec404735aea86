"""Export: all that a record holds reaches its subject, and nobody on the way opens it."""

from collections.abc import Callable, Iterator
from typing import Any

import piivault
import pytest
from piivault import errors
from piivault.export_keys import ExportKey, ExportKeys, PublicKey
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2
from piivault.v1.pseudonym_service_pb2 import IssueRequest

from tests.exporting import exported, opened
from tests.house import House, run_house
from tests.identity_provider import IdentityProvider
from tests.people import COMPARTMENTS, Registered
from tests.schemas import faults
from tests.wire import new_request_id
from vault.errors import Reason
from vault.policy import FieldType, holdings_schema
from vault.sealed.v1 import sealed_pb2

PORTAL = "spiffe://oshto.kg/portal"
SUITES = {
    "X25519": subjects.EXPORT_SUITE_X25519,
    "MLKEM768-X25519": subjects.EXPORT_SUITE_MLKEM768_X25519,
}
PROVIDER = IdentityProvider()


@pytest.fixture(scope="module")
def person(sqlite_house: House) -> Registered:
    return sqlite_house.register("accounts", organisation='Ош «Нан»\n\t\\ "2"')


@pytest.fixture(scope="module")
def provided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose broker pins an identity provider; no service must show its assertions."""
    state = tmp_path_factory.mktemp("provided") / "state"
    with run_house(state, postgres=False, identity_providers=[PROVIDER.section]) as started:
        yield started


def _capability(house: House, root: piivault.RootId, key: PublicKey, assertion: str = "") -> str:
    issue = IssueRequest(
        compartment="accounts",
        root_id=bytes(root),
        export_key=key.digest,
        subject_assertion=assertion,
    )
    return str(house.ask("portal", issue).capability)


def _request(capability: str, key: PublicKey, **changes: Any) -> subjects.ExportRequest:
    request = subjects.ExportRequest(
        compartment="accounts",
        capability=capability,
        suite=SUITES[key.suite],
        public_key=key.raw,
    )
    request.MergeFrom(subjects.ExportRequest(**changes))
    return request


# What comes.


@pytest.mark.parametrize("suite", SUITES)
def test_all_that_is_held_comes_sealed_to_the_subjects_key(
    sqlite_house: House, person: Registered, suite: Any
) -> None:
    held: Any = exported(sqlite_house, person.subject, suite=suite).holdings
    assert {its["name"]: its["value"] for its in held["fields"]} == person.values
    notices = {n.purpose: n for n in sqlite_house.client("portal").notices("accounts", "ky")}
    assert [its["purpose"] for its in held["consents"]] == sorted(notices)
    for consent in held["consents"]:
        assert consent["text"] == notices[consent["purpose"]].text
    assert list(faults(holdings_schema(), held)) == []


def test_nothing_of_it_is_in_the_package_for_who_relays_it(
    sqlite_house: House, person: Registered
) -> None:
    keys = ExportKeys.new(["accounts"])
    package = person.subject.export("accounts", keys.public["accounts"]).package
    for secret in (*person.values.values(), person.pseudonym, person.capability, "accounts"):
        assert secret.encode() not in package
    with pytest.raises(errors.PackageError, match="isn't among these"):
        opened(sqlite_house, package, ExportKeys.new(["accounts"]))


def test_two_subjects_packages_are_alike(sqlite_house: House, person: Registered) -> None:
    other = sqlite_house.register("accounts")
    keys = ExportKeys.new(["accounts"])
    packages = [
        its.subject.export("accounts", keys.public["accounts"]).package for its in (person, other)
    ]
    assert len({len(package) for package in packages}) == 1


def test_values_that_escape_to_twice_their_size_still_come(sqlite_house: House) -> None:
    person = sqlite_house.register("accounts")
    for name in ("organisation", "city", "position"):
        person.subject.put("accounts", {name: '"' * (64 * 1024 - 1)})
    export = exported(sqlite_house, person.subject)
    values = {its["name"]: its["value"] for its in export.holdings["fields"]}
    assert values["city"] == '"' * (64 * 1024 - 1)


def test_a_withdrawal_is_told(sqlite_house: House) -> None:
    person = sqlite_house.register("accounts")
    person.subject.withdraw("accounts", ["newsletter"])
    export = exported(sqlite_house, person.subject)
    withdrawn = {its["purpose"]: its["withdrawn_at"] for its in export.holdings["consents"]}
    assert withdrawn["newsletter"] is not None
    assert withdrawn["services"] is None


# What it leaves.


def test_the_trail_says_so_before_it_is_answered(sqlite_house: House, person: Registered) -> None:
    request_id = new_request_id()
    key = ExportKey.new().public
    person.subject.export("accounts", key, request_id=request_id)
    [event] = sqlite_house.events("accounts", request_id)
    assert (event.operation, event.service) == ("export", "portal")
    assert event.outcome == sealed_pb2.OUTCOME_ALLOWED
    fields = sqlite_house.edition.compartments["accounts"].by_uid
    assert {use.uid for use in event.fields} == fields.keys()
    assert {use.form for use in event.fields} == {types_pb2.FORM_PLAIN}


def test_who_has_nothing_here_is_told_so(sqlite_house: House) -> None:
    nobody = sqlite_house.client("portal").subject(piivault.new_root())
    key = ExportKey.new().public
    with pytest.raises(errors.NotFound):
        nobody.export("accounts", key)
    gone = sqlite_house.register("accounts")
    gone.subject.erase("accounts")
    with pytest.raises(errors.Erased):
        gone.subject.export("accounts", key)


def test_a_request_stays_open_until_it_came_to_the_subject(
    sqlite_house: House, person: Registered
) -> None:
    answer = person.subject.export("accounts", ExportKey.new().public)
    assert (answer.request.kind, answer.request.state) == ("export", "open")
    assert (answer.request.due - answer.request.opened).days == 7
    assert answer.package[18:34] == answer.request.id
    came = subjects.FinishRequestRequest(
        compartment="accounts", capability=person.capability, id=answer.request.id
    )
    finished = sqlite_house.ask("portal", came)
    assert finished.request.state == types_pb2.REQUEST_STATE_DONE


def test_a_repetition_is_the_same_request(sqlite_house: House, person: Registered) -> None:
    """Under one request id; the packages differ, for each is sealed anew."""
    request_id, key = new_request_id(), ExportKey.new().public
    first, second = (
        person.subject.export("accounts", key, request_id=request_id) for _ in range(2)
    )
    assert first.request == second.request
    assert first.package != second.package


def test_what_was_refused_is_no_open_request(sqlite_house: House) -> None:
    def asked() -> int:
        return len(sqlite_house.sql("accounts", "SELECT id FROM requests"))

    before = asked()
    nobody = sqlite_house.client("portal").subject(piivault.new_root())
    with pytest.raises(errors.NotFound):
        nobody.export("accounts", ExportKey.new().public)
    assert asked() == before


# What is refused.

Attack = Callable[[House, Registered, PublicKey], subjects.ExportRequest]
OTHER = ExportKey.new("X25519").public
ATTACKS: dict[str, tuple[Attack, Reason]] = {
    "another key than was confirmed": (
        lambda h, p, k: _request(_capability(h, p.root, k), OTHER), Reason.CAPABILITY_INVALID),
    "the same bytes for another suite": (
        lambda h, p, k: _request(_capability(h, p.root, k), k, suite=1), Reason.MALFORMED_REQUEST),
    "a capability that names no key": (
        lambda h, p, k: _request(p.capability, k), Reason.CAPABILITY_INVALID),
    "no capability": (lambda h, p, k: _request("", k), Reason.CAPABILITY_INVALID),
    "no suite": (
        lambda h, p, k: subjects.ExportRequest(compartment="accounts", public_key=k.raw),
        Reason.MALFORMED_REQUEST),
    "a suite that there isn't": (
        lambda h, p, k: _request(_capability(h, p.root, k), k, suite=9), Reason.MALFORMED_REQUEST),
    "no key": (
        lambda h, p, k: subjects.ExportRequest(
            compartment="accounts", suite=subjects.EXPORT_SUITE_X25519),
        Reason.MALFORMED_REQUEST),
    "a key that makes no secret": (
        lambda h, p, k: subjects.ExportRequest(
            compartment="accounts", suite=subjects.EXPORT_SUITE_X25519, public_key=bytes(32)),
        Reason.MALFORMED_REQUEST),
    "another compartment": (
        lambda h, p, k: _request(_capability(h, p.root, k), k, compartment="web"),
        Reason.CAPABILITY_INVALID),
}  # fmt: skip


@pytest.mark.parametrize(("attack", "reason"), ATTACKS.values(), ids=ATTACKS)
def test_a_wrong_request_is_refused(
    sqlite_house: House, person: Registered, attack: Attack, reason: Reason
) -> None:
    request = attack(sqlite_house, person, ExportKey.new().public)
    refusal = sqlite_house.refused("portal", request)
    assert refusal.reason == reason
    assert person.pseudonym not in refusal.seen


def test_a_capability_for_an_export_is_good_for_nothing_else(
    sqlite_house: House, person: Registered
) -> None:
    capability = _capability(sqlite_house, person.root, ExportKey.new().public)
    for request in (
        subjects.ViewRequest(compartment="accounts", capability=capability),
        subjects.EraseRequest(compartment="accounts", capability=capability),
    ):
        assert sqlite_house.told("portal", request) == Reason.CAPABILITY_INVALID


def test_nobody_but_who_faces_subjects_exports(sqlite_house: House, person: Registered) -> None:
    """Not even with the subject's own capability, for the subject's own key."""
    key = ExportKey.new().public
    request = _request(_capability(sqlite_house, person.root, key), key)
    told = {
        identity: sqlite_house.told(identity, request)
        for identity in sqlite_house.running.environments
    }
    assert told.pop("portal") == ""
    assert set(told.values()) == {Reason.METHOD_NOT_ALLOWED}


@pytest.mark.parametrize("size", [1, 31, 33])
def test_a_thumbprint_of_another_length_is_refused(sqlite_house: House, size: int) -> None:
    issue = IssueRequest(compartment="accounts", root_id=bytes(16), export_key=bytes(size))
    refusal = sqlite_house.refused("portal", issue)
    assert refusal.violations == {"export_key": "must have 32 bytes"}


# Whose key it is: where the broker pins an identity provider, its word alone says so.


def test_the_provider_says_whose_key_it_is(provided: House) -> None:
    person = provided.register("accounts")
    keys = ExportKeys.new(["accounts"])
    key = keys.public["accounts"]

    def fresh() -> str:
        confirmation = {"jkt": key.thumbprint}
        return PROVIDER.assertion(bytes(person.root), PORTAL, cnf=confirmation)

    package = person.subject.export("accounts", key, assertion=fresh).package
    assert opened(provided, package, keys).compartment == "accounts"
    subject = provided.client("portal").subject(person.root, assertion=fresh)
    assert opened(provided, subject.export("accounts", key).package, keys).compartment == "accounts"


Claim = Callable[[Registered, PublicKey], str]
THEIRS = ExportKey.new().public  # the relay's own


def _said(person: Registered, key: PublicKey | None, **changes: Any) -> str:
    confirmation = {"jkt": key.thumbprint} if key else None
    claims = {"cnf": confirmation} | changes
    return PROVIDER.assertion(bytes(person.root), PORTAL, **claims)


CLAIMS: dict[str, tuple[Claim, type[errors.PiivaultError], str]] = {
    "none at all": (lambda p, k: "", errors.SubjectAssertionRequired, "whose an export key is"),
    "one that names no key": (
        lambda p, k: _said(p, None), errors.SubjectAssertionError, "confirms no export key"),
    "one that names the subject's own key": (
        lambda p, k: _said(p, k), errors.SubjectAssertionError, "or another one"),
    "one that names a key of a certificate": (
        lambda p, k: _said(p, None, cnf={"x5t#S256": THEIRS.thumbprint}),
        errors.SubjectAssertionError, "confirms no export key"),
}  # fmt: skip


@pytest.mark.parametrize(("claim", "error", "says"), CLAIMS.values(), ids=CLAIMS)
def test_a_relay_does_not_put_in_its_own_key(
    provided: House, claim: Claim, error: type[errors.PiivaultError], says: str
) -> None:
    """It asks for the subject's export, to a key of its own."""
    person = provided.register("accounts")
    assertion = claim(person, ExportKey.new().public)
    with pytest.raises(error, match=says):
        person.subject.export("accounts", THEIRS, assertion=assertion)


def test_an_assertion_used_again_brings_the_same_subjects_package_to_the_same_key(
    provided: House,
) -> None:
    """Until it expires: and only the subject opens what it brings."""
    person = provided.register("accounts")
    keys = ExportKeys.new(["accounts"])
    assertion = _said(person, keys.public["accounts"])
    packages = [
        person.subject.export("accounts", keys.public["accounts"], assertion=assertion).package
        for _ in range(2)
    ]
    first, second = (opened(provided, package, keys) for package in packages)
    assert first.holdings["request"]["id"] != second.holdings["request"]["id"]
    with pytest.raises(errors.SubjectAssertionError, match="or another one"):
        person.subject.export("accounts", THEIRS, assertion=assertion)


def test_a_provider_that_is_pinned_leaves_everything_else_as_it_was(provided: House) -> None:
    """Who isn't asked for assertions acts without them, exports apart."""
    person = provided.register("accounts")
    assert person.subject.view("accounts")["email"]


def test_every_compartment_exports(sqlite_house: House) -> None:
    held: dict[str, Any] = {
        name: exported(sqlite_house, sqlite_house.register(name).subject, name).holdings
        for name in COMPARTMENTS
    }
    types = {its["type"] for each in held.values() for its in each["fields"]}
    assert types <= {word.value for word in FieldType}
    assert held["enterprises"]["subject"]["kind"] == "enterprise"
    assert len({each["request"]["id"] for each in held.values()}) == 4


def test_the_attestation_is_the_compartments(sqlite_house: House, person: Registered) -> None:
    export = exported(sqlite_house, person.subject)
    others = sqlite_house.settings.compartments["orders"].signing_keys
    with pytest.raises(errors.AttestationError):
        export.verify(others)
