"""Officers and keys: the emergency stop, states of key versions, and what the trail says of it."""

import json
from collections.abc import Callable, Iterator

import piivault
import pytest
from click.testing import CliRunner, Result
from piivault import errors
from piivault.export_keys import ExportKey
from piivault.keys import Keys, KeyStatus, KeyVersion
from piivault.officers import OfficersClient

from tests.house import House
from tests.people import Registered
from vault.cli.keys import keys as command
from vault.errors import Reason

KEK, AUDIT, LOOKUP = KeyVersion("kek", 1), KeyVersion("audit", 1), KeyVersion("lookup", 1)
EMAIL = KeyVersion("index", 1, "email")


@pytest.fixture
def ring(house: House) -> Iterator[Keys]:
    """The keys of accounts, as an officer reaches them; whatever was stopped goes on after."""
    with OfficersClient.from_env(house.environment("officer-aida")) as officers:
        found = officers.keys("accounts")
        yield found
        found.resume()
        for key in found.status().keys:
            found.resume(key.name)


@pytest.fixture
def person(house: House) -> Registered:
    return house.register()


def _version(key: KeyVersion) -> int:
    return key.version


def _status_of(ring: Keys, name: KeyVersion) -> KeyStatus:
    (found,) = [key for key in ring.status().keys if key.name == name]
    return found


Asks = Callable[[House, Registered], object]


def _find(house: House, person: Registered) -> object:
    support = house.client("support").compartment("accounts", purpose="account")
    return support.find(email=person.values["email"])


NEEDS_KEYS: dict[str, Asks] = {
    "reveal": lambda house, person: house.phone_of(person),
    "find": _find,
    "view": lambda house, person: person.subject.view("accounts"),
    "export": lambda house, person: person.subject.export("accounts", ExportKey.new().public),
    "put": lambda house, person: person.subject.put("accounts", {"city": "Ош"}),
    "register": lambda house, person: house.register(),
    "withdraw": lambda house, person: person.subject.withdraw("accounts", ["newsletter"]),
    "erase": lambda house, person: person.subject.erase("accounts"),
}


@pytest.mark.parametrize("ask", NEEDS_KEYS.values(), ids=NEEDS_KEYS)
def test_a_suspended_compartment_refuses_all_that_needs_its_keys(
    house: House, ring: Keys, person: Registered, ask: Asks
) -> None:
    """And goes on where it stood, once it is resumed."""
    stopped = ring.suspend()
    assert stopped.changed
    with pytest.raises(errors.KeysSuspended) as caught:
        ask(house, person)
    assert not caught.value.retryable
    assert ring.status().suspended
    resumed = ring.resume()
    assert resumed.changed
    assert resumed.epoch > stopped.epoch
    assert not ring.status().suspended
    ask(house, person)


def test_other_compartments_go_on(house: House, ring: Keys) -> None:
    ring.suspend()
    elsewhere = house.register("orders")
    assert elsewhere.subject.view("orders")


def test_the_trail_says_who_stopped_what_and_who_was_refused(
    house: House, ring: Keys, person: Registered
) -> None:
    """It goes on while the compartment stands still."""
    before = len(house.trail("accounts").events)
    ring.suspend()
    with pytest.raises(errors.KeysSuspended):
        house.phone_of(person)
    ring.resume()
    ring.suspend(EMAIL)
    ring.resume(EMAIL)
    ring.evict()
    trail = house.trail("accounts")
    assert not trail.breaks
    uid = house.edition.compartments["accounts"].fields["email"].uid
    said = [(e.service, e.operation, e.reason) for e in trail.events[before:]]
    assert said == [
        ("officer:aida", "keys.suspend", ""),
        ("orders", "reveal", Reason.KEYS_SUSPENDED),
        ("officer:aida", "keys.resume", ""),
        ("officer:aida", f"keys.suspend/index/{uid}/1", ""),
        ("officer:aida", f"keys.resume/index/{uid}/1", ""),
        ("officer:aida", "keys.evict", ""),
    ]
    assert all(e.request_id for e in trail.events)


def test_each_act_may_be_repeated(ring: Keys) -> None:
    first, again = ring.suspend(), ring.suspend()
    assert (first.changed, again.changed) == (True, False)
    assert again.epoch == first.epoch
    first, again = ring.resume(), ring.resume()
    assert (first.changed, again.changed) == (True, False)
    assert again.epoch == first.epoch


VERSIONS: dict[str, tuple[KeyVersion, set[str]]] = {
    "kek": (KEK, {"reveal", "find", "view", "export", "put", "register", "withdraw"}),
    "index": (EMAIL, {"find", "register"}),
    "lookup": (LOOKUP, {"put", "register", "withdraw", "erase"}),
}


@pytest.mark.parametrize(("key", "stopped"), VERSIONS.values(), ids=VERSIONS)
def test_a_suspended_version_stops_what_needs_it(
    house: House, ring: Keys, person: Registered, key: KeyVersion, stopped: set[str]
) -> None:
    """Nothing else: so a record can be erased while its KEK is suspended."""
    assert ring.suspend(key).changed
    assert _status_of(ring, key).state == "suspended"
    for name, ask in NEEDS_KEYS.items():
        if name in stopped:
            with pytest.raises(errors.KeysSuspended):
                ask(house, person)
        else:
            ask(house, person)
    assert ring.resume(key).changed
    assert _status_of(ring, key).state == "active"
    house.phone_of(house.register())


REFUSED: dict[str, tuple[KeyVersion, str]] = {
    "the audit key that is in use": (AUDIT, "Rotate the audit key first"),
    "a version that isn't there": (KeyVersion("kek", 9), "no kek key of version 9 here"),
    "a field that isn't there": (KeyVersion("index", 1, "999"), "no index key of version 1 here"),
    "a field where none belongs": (KeyVersion("kek", 1, "email"), "only there"),
    "no field where one belongs": (KeyVersion("index", 1), "for an index key its field too"),
}


@pytest.mark.parametrize(("key", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_suspended_is_refused_in_words(
    house: House, ring: Keys, person: Registered, key: KeyVersion, says: str
) -> None:
    epoch = ring.status().epoch
    if key is AUDIT:  # others' tests rotate it
        key = max((k.name for k in ring.status().keys if k.name.kind == AUDIT.kind), key=_version)
    with pytest.raises(errors.InvalidRequest, match=says):
        ring.suspend(key)
    assert ring.status().epoch == epoch
    assert house.phone_of(person)


def test_an_older_version_that_is_resumed_reads_and_the_newest_writes(
    house: House, ring: Keys, person: Registered
) -> None:
    before = _status_of(ring, KEK)
    columns = "kind, field, version, state, wrapped, created"
    copied = "SELECT 'kek', 0, 2, 'active', wrapped, 0 FROM keyring WHERE kind = 'lookup'"
    house.sql("accounts", f"INSERT INTO keyring ({columns}) {copied}")
    try:
        ring.suspend(KEK)
        with pytest.raises(errors.KeysSuspended):
            house.phone_of(person)
        ring.resume(KEK)
        assert _status_of(ring, KEK).state == "decrypt-only"
        assert house.phone_of(person)
        with pytest.raises(errors.Damaged):  # no key, but a copy of another's: it isn't opened
            house.register()
    finally:
        house.sql(
            "accounts",
            "DELETE FROM keyring WHERE kind = 'kek' AND version = 2",
            "UPDATE keyring SET state = 'active' WHERE kind = 'kek'",
        )
        ring.evict()
    assert _status_of(ring, KEK).state == before.state == "active"


def test_a_destroyed_version_is_gone_for_ever(house: House, ring: Keys, person: Registered) -> None:
    """What it sealed is unreadable, in words of its own, and can be erased."""
    house.sql("accounts", "UPDATE keyring SET state = 'destroyed' WHERE kind = 'kek'")
    ring.evict()
    try:
        with pytest.raises(errors.KeyDestroyed) as caught:
            house.phone_of(person)
        assert not caught.value.retryable
        for act in (ring.suspend, ring.resume):
            with pytest.raises(errors.KeyDestroyed):
                act(KEK)
        person.subject.erase("accounts")
        with pytest.raises(errors.Erased):
            house.phone_of(person)
    finally:
        house.sql("accounts", "UPDATE keyring SET state = 'active' WHERE kind = 'kek'")
        ring.evict()


def test_status_says_what_each_version_does_and_what_needs_it(
    house: House, ring: Keys, person: Registered
) -> None:
    found = ring.status()
    assert (found.compartment, found.suspended, found.bound_seconds) == ("accounts", False, 10)
    names = {str(key.name) for key in found.keys}
    assert {"kek:1", "audit:1", "lookup:1", "index:email:1", "index:phone:1"} <= names
    kek, records = _status_of(ring, KEK), house.sql("accounts", "SELECT count(*) FROM records")
    assert kek.data_keys == kek.invocations == records[0][0]
    assert kek.invocation_limit == 2**32
    assert (kek.state, kek.transit_version) == ("active", 1)
    assert kek.created_at is not None
    assert kek.last_used_at is not None
    assert not kek.safe_to_trim
    assert "active" in kek.why_not
    lookup = _status_of(ring, LOOKUP)
    assert (lookup.invocations, lookup.invocation_limit, lookup.data_keys) == (None, 0, 0)
    assert house.phone_of(person)


def test_status_tells_when_a_version_may_go(house: House, ring: Keys, person: Registered) -> None:
    wrapped = house.sql("accounts", "SELECT count(*) FROM data_keys")[0][0]
    insert = (
        "INSERT INTO keyring (kind, field, version, state, wrapped, created) SELECT 'kek', 0, "
        "{}, 'decrypt-only', wrapped, 0 FROM keyring WHERE kind = 'lookup'"
    )
    house.sql("accounts", insert.format(2), insert.format(3))
    house.sql("accounts", "UPDATE keyring SET state = 'decrypt-only' WHERE kind = 'kek'")
    try:
        old, unused = _status_of(ring, KEK), _status_of(ring, KeyVersion("kek", 3))
        assert not old.safe_to_trim
        assert f"wraps {wrapped} data keys" in old.why_not
        assert unused.safe_to_trim
        assert not unused.why_not
        assert unused.created_at is None
    finally:
        house.sql(
            "accounts",
            "DELETE FROM keyring WHERE kind = 'kek' AND version > 1",
            "UPDATE keyring SET state = 'active' WHERE kind = 'kek'",
        )
        ring.evict()


def test_a_compartment_stays_suspended_over_a_restart(
    postgres_house: House,
) -> None:
    house = postgres_house
    person = house.register()
    environment = house.environment("officer-aida")
    stopped = pytest.raises(errors.KeysSuspended)
    with OfficersClient.from_env(environment) as officers:
        officers.keys("accounts").suspend()
        try:
            with house.another_server() as address:
                changed = {**house.environment("portal"), "PIIVAULT_ADDRESS": address}
                with piivault.Client.from_env(changed) as portal, stopped:
                    portal.subject(person.root).view("accounts")
        finally:
            officers.keys("accounts").resume()
    assert person.subject.view("accounts")


# The command.


@pytest.fixture
def run(house: House, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    for name, value in house.environment("officer-bakyt").items():
        monkeypatch.setenv(name, value)
    return lambda *argv, **more: CliRunner().invoke(command, argv, **more)


def test_the_command_asks_stops_and_lets_go_on(
    house: House, ring: Keys, person: Registered, run: Callable[..., Result]
) -> None:
    declined = run("suspend", "accounts", input="n\n")
    assert declined.exit_code == 1
    assert "will be refused (KEYS_SUSPENDED)" in declined.output
    assert house.phone_of(person)

    done = run("suspend", "accounts", input="y\n")
    assert "Suspended: the compartment accounts." in done.output
    assert "Within 10 s no process decrypts under it." in done.output
    assert "nothing was changed" in run("suspend", "accounts", "--yes").output
    assert "accounts is SUSPENDED" in run("status", "accounts").output
    with pytest.raises(errors.KeysSuspended):
        house.phone_of(person)
    assert "Not suspended any more" in run("resume", "accounts", "--yes").output
    assert house.phone_of(person)
    assert "Forgotten" in run("evict", "accounts", "--yes").output
    assert house.phone_of(person)
    done = run("suspend", "accounts", "--key", "kek:1", "--yes")
    assert "Suspended: kek:1 of accounts." in done.output
    assert run("resume", "accounts", "--key", "kek:1", "--yes").exit_code == 0


def test_status_as_json_is_for_programs(run: Callable[..., Result]) -> None:
    found = json.loads(run("status", "accounts", "--json").output)
    assert found["compartment"] == "accounts"
    assert not found["suspended"]
    (kek,) = [key for key in found["keys"] if key["name"] == "kek:1"]
    assert kek["state"] == "active"
    assert kek["invocation_limit"] == 2**32
    assert kek["created_at"].endswith("+00:00")


@pytest.mark.parametrize("key", ["kek", "kek:0", "kek:x", "index:1", "thing:1", "kek:email:1"])
def test_a_malformed_key_is_refused_before_anything_is_asked(
    run: Callable[..., Result], key: str
) -> None:
    refused = run("suspend", "accounts", "--key", key, "--yes")
    assert refused.exit_code == 2
    assert "such as kek:2, or index:FIELD:VERSION" in refused.output


def test_where_no_worker_answers_the_command_says_what_that_means(
    run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIIVAULT_ADDRESS", "127.0.0.1:1")
    refused = run("suspend", "accounts", "--yes")
    assert refused.exit_code == 1
    for said in ("No worker of accounts answered", "isn't known", "no proof", "revoke its login"):
        assert said in refused.output
