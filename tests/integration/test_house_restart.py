"""A house that is shut and opened again: all is found as it was left. Its accounts are wide."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import piivault
import pytest
import yaml
from piivault import errors
from piivault.v1 import subject_service_pb2 as subjects

from tests.house import POLICY, House
from tests.people import new_values
from tests.wire import new_request_id
from vault.dev.local import local

KIB = 1024
WIDE = [f"note_{i}" for i in range(16)]  # as many values of 64 KiB make a whole MiB
LARGE = "ө" * (32 * KIB)  # 64 KiB


@pytest.fixture
def wide_policy(tmp_path: Path) -> Path:
    """The example, with room for more in accounts."""
    tree = yaml.safe_load(POLICY.read_text(encoding="utf-8"))
    title = dict.fromkeys(tree["languages"], "Эскертүү")
    for uid, name in enumerate(WIDE, start=100):
        field = {"uid": uid, "type": "text", "voluntary": True, "title": title}
        tree["compartments"]["accounts"]["fields"][name] = field
        tree["purposes"]["account"]["uses"]["accounts"]["fields"][name] = "present"
    file = tmp_path / "wide.yaml"
    file.write_text(json.dumps(tree, default=str), encoding="utf-8")
    return file


@contextmanager
def _house(state: Path, policy: Path, *, postgres: bool) -> Iterator[House]:
    with local(state, policy, postgres=postgres) as running:
        house = House(running, postgres=postgres)
        yield house
        house.close()


@pytest.mark.parametrize("postgres", [False, True], ids=["sqlite", "postgres"])
def test_a_second_start_finds_all_as_it_was_left(
    tmp_path: Path, wide_policy: Path, postgres: bool
) -> None:
    """Records, consents, erasures, index and request ids; one record is of almost 1 MiB."""
    state, request_id = tmp_path / "state", new_request_id()
    with _house(state, wide_policy, postgres=postgres) as house:
        person = house.register()
        person.subject.put("accounts", dict.fromkeys(WIDE[:-1], LARGE))
        withdrawn, erased = house.register(), house.register()
        withdrawn.subject.withdraw("accounts", ["services"])
        erased.subject.erase("accounts")
        _too_much_is_refused(house, person.root)
        put = subjects.SubjectServicePutRequest(
            compartment="accounts", capability=person.capability, clear=[WIDE[0]]
        )
        house.ask("portal", put, request_id)
        left = _seen(house, person.root)

    with _house(state, wide_policy, postgres=postgres) as house:
        house.ask("portal", put, request_id)
        assert _seen(house, person.root) == left
        assert house.issue(person.root, "accounts").pseudonym == person.pseudonym
        assert house.phone_of(person) == person.values["phone"]
        with pytest.raises(errors.ConsentRequired):
            house.phone_of(withdrawn)
        with pytest.raises(errors.Erased):
            house.phone_of(erased)
        support = house.client("support").compartment("accounts", purpose="account")
        assert support.find(email=person.values["email"]) == person.pseudonym
        trail = house.trail("accounts")
        assert not trail.breaks
        assert {"register", "put", "erase", "find"} <= {event.operation for event in trail.events}


def _too_much_is_refused(house: House, root: piivault.RootId) -> None:
    """A record holds 1 MiB at most, at registration and later; what was there stays."""
    subject = house.client("portal").subject(root)
    newcomer = house.client("portal").subject(piivault.new_root())
    before = _seen(house, root)
    with pytest.raises(errors.TooLarge, match="1 MiB"):
        newcomer.register("accounts", {**new_values("accounts"), **dict.fromkeys(WIDE, LARGE)})
    with pytest.raises(errors.TooLarge, match="1 MiB"):
        subject.put("accounts", {WIDE[-1]: LARGE})
    assert _seen(house, root) == before


def _seen(house: House, root: piivault.RootId) -> tuple[object, ...]:
    view = house.client("portal").subject(root).view("accounts")
    return {name: value and value.expose() for name, value in view.items()}, view.etag
