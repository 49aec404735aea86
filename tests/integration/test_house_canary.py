"""Canaries: unmistakable values go through every way there is, and nothing that stays shows them.

Logs, errors, every file of the state folder and every row of every table are searched, in the
encodings that a value could hide in. Pseudonyms may stand in the tables that are keyed by them.
"""

import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import grpc
import piivault
import pytest
from google.protobuf.message import Message
from piivault import PiivaultError
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.house import House
from tests.people import Registered
from tests.traces import files, forms, leaks, tables
from tests.wire import METHODS, refusal_of, send, send_bytes
from vault.names import Pseudonym

KEYED_BY_PSEUDONYM = {"records", "data_keys", "blind_index"}
ROOT_BYTES = 16


@dataclass(frozen=True, slots=True)
class Canary:
    """What is planted: a mark in values and the root id, a number in telephones, pseudonyms."""

    mark: str
    number: str
    people: Mapping[str, Registered]

    def needles(self, *, raw_pseudonyms: bool = True) -> dict[str, bytes]:
        """Return all that must not be found, by a name that tells what it is."""
        planted = {"the mark": self.mark.encode(), "the number": self.number.encode()}
        needles = {f"{n}, {how}": f for n, s in planted.items() for how, f in forms(s).items()}
        for compartment, person in self.people.items():
            for how, form in forms(Pseudonym.parse(person.pseudonym).raw).items():
                if raw_pseudonyms or how != "as it is":
                    needles[f"the pseudonym in {compartment}, {how}"] = form
        return needles


@dataclass(frozen=True, slots=True)
class Collected:
    """What callers were told when they were refused."""

    told: list[str] = field(default_factory=list)

    def refused(self, call: Callable[[], object]) -> None:
        """Make a call that must be refused, and keep all that the caller sees."""
        try:
            call()
        except PiivaultError as error:
            self.told.append(f"{error} {error!r} {error.args} {error.violations}")
        except grpc.RpcError as error:
            self.told.append(refusal_of(error).seen)
        else:
            pytest.fail("it wasn't refused")


@pytest.fixture
def canary(house: House, caplog: pytest.LogCaptureFixture) -> Canary:
    """Somebody in every compartment whose every value is unmistakable; all is logged from now."""
    caplog.set_level(logging.DEBUG)
    mark = secrets.token_hex(ROOT_BYTES // 2)  # as long as a root id, and its own best disguise
    number = f"99655{secrets.randbelow(10**7):07}"
    root = piivault.RootId(mark.encode())
    phone, email = f"+{number}", f"{mark}@example.kg"
    values: dict[str, dict[str, str]] = {
        "accounts": {
            "last_name": f"Канарейкина{mark}",
            "first_name": f"Айгүл{mark}",
            "patronymic": f"Бакытовна{mark}",
            "email": email,
            "phone": phone,
            "city": f"Ош {mark}",
        },
        "enterprises": {
            "name": f"«{mark}» ЖЧК",
            "tax_id": f"01{number}",
            "contact_person": mark,
            "email": email,
            "phone": phone,
        },
        "orders": {"address": f"Ленин көчөсү, {mark}", "item_note": f"{mark}\n{number}"},
        "web": {"cookie_id": mark, "user_agent": f"Mozilla/5.0 {mark}"},
    }
    people = {n: house.register(n, root=root, **values[n]) for n in house.edition.compartments}
    return Canary(mark, number, people)


def _use(house: House, canary: Canary) -> None:
    """Do everything that succeeds, with the SDK and without."""
    person, order = canary.people["accounts"], canary.people["orders"]
    email, phone = person.values["email"], person.values["phone"]
    orders = house.client("orders")
    accounts = orders.compartment("accounts", purpose="services")
    assert accounts.reveal(person.pseudonym, ["phone"])["phone"].expose() == phone
    assert [item["phone"] for item in accounts.reveal_many([person.pseudonym], ["phone"])]
    support = house.client("support").compartment("accounts", purpose="account")
    assert support.find(email=email.upper()) == person.pseudonym
    assert person.pseudonym in support.find_all(phone=phone)
    orders.compartment("orders", purpose="services").put(
        order.pseudonym, {"address": f"Өзгөн, {canary.mark}"}
    )
    web = house.client("analytics").compartment("web", purpose="statistics")
    assert web.reveal(canary.people["web"].pseudonym, ["user_agent"])
    for somebody in canary.people.values():
        somebody.subject.view(somebody.compartment)
    person.subject.put("accounts", {"city": None, "position": canary.mark}, etag=person.etag)
    person.subject.withdraw("accounts", ["newsletter"])
    person.subject.grant("accounts", house.consents("accounts"))


def _misuse_the_sdk(house: House, canary: Canary, collected: Collected) -> None:
    """Put values where they don't belong, and into requests that must be refused."""
    person, mark = canary.people["accounts"], canary.mark
    email, phone = person.values["email"], person.values["phone"]
    orders = house.client("orders")
    accounts = orders.compartment("accounts", purpose="services")
    support = house.client("support").compartment("accounts", purpose="account")
    subject, newcomer = person.subject, house.client("portal").subject(piivault.new_root())
    calls: list[Callable[[], object]] = [
        lambda: accounts.reveal(person.pseudonym, ["email"]),
        lambda: accounts.reveal(person.pseudonym, [phone]),
        lambda: accounts.reveal(email, ["phone"]),
        lambda: accounts.reveal(canary.people["orders"].pseudonym, ["phone"]),
        lambda: accounts.reveal(person.capability, ["phone"]),
        lambda: next(accounts.reveal_many([email, person.pseudonym], [mark])),
        lambda: next(accounts.reveal_many([email], ["phone"])).unwrap(),
        lambda: accounts.put(person.pseudonym, {"phone": phone}),
        lambda: orders.compartment(mark, purpose="services").describe(),
        lambda: orders.compartment("accounts", purpose=email).describe(),
        lambda: support.find_all(last_name=mark),
        lambda: subject.register("accounts", person.values),
        lambda: newcomer.register("accounts", person.values),
        lambda: subject.put("accounts", {"phone": f"<{mark}>"}),
        lambda: subject.put("accounts", {"email": f"{phone} {mark}"}),
        lambda: subject.put("accounts", {"city": mark * 4097}),
        lambda: subject.put("accounts", {mark: mark}),
        lambda: subject.put("accounts", {"city": mark}, etag=mark),
        lambda: subject.put("accounts", {"city": f"{mark}\ud800"}),
        lambda: subject.put("accounts", {"city": mark}, request_id=mark),
        lambda: subject.view("accounts", [mark]),
        lambda: subject.withdraw("accounts", [mark]),
        lambda: subject.pseudonym(mark),
    ]
    for call in calls:
        collected.refused(call)


def _misuse_the_wire(house: House, canary: Canary, collected: Collected) -> None:
    """The same without the SDK: bodies that aren't messages, and everything in the wrong place."""
    person, mark = canary.people["accounts"], canary.mark
    value = types_pb2.FieldValue(name=mark, value=mark)
    requests: list[tuple[str, Message]] = [
        ("portal", pseudonyms.IssueRequest(compartment=mark, root_id=mark.encode())),
        ("portal", pseudonyms.IssueRequest(compartment="accounts", root_id=mark.encode() * 2)),
        ("orders", pseudonyms.IssueRequest(compartment="accounts", root_id=mark.encode())),
        ("portal", subjects.ViewRequest(compartment="accounts", capability=mark)),
        ("portal", subjects.ViewRequest(compartment="orders", capability=person.capability)),
        ("orders", subjects.ViewRequest(compartment="accounts", capability=person.capability)),
        ("portal", subjects.ListNoticesRequest(compartment="accounts", language=mark)),
        ("portal", subjects.SubjectServicePutRequest(
            compartment="accounts", capability=person.capability, fields=[value, value])),
        ("portal", subjects.SubjectServicePutRequest(
            compartment="accounts", capability=person.capability[:-2], fields=[value])),
        ("support", records.FindRequest(compartment="accounts", purpose="account", field=value)),
        ("portal", records.RevealRequest(
            compartment="accounts", purpose="services", pseudonym=person.pseudonym,
            fields=["phone"])),
    ]  # fmt: skip
    for service, request in requests:
        collected.refused(lambda s=service, r=request: send(house.channel(s), r))  # type: ignore[misc]
    for method in METHODS:
        body = mark.encode() + b"\xff" + canary.number.encode()
        collected.refused(lambda m=method, b=body: send_bytes(house.channel("portal"), m, b))  # type: ignore[misc]
        collected.refused(
            lambda m=method: (
                send_bytes(house.channel("orders"), m, b"", request_id=mark)  # type: ignore[misc]
                if "Policy" not in m
                else send_bytes(house.channel("portal"), m, b"\xff")
            )
        )


def _break(
    house: House, canary: Canary, collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Let a fault of our own carry values: into the log its class goes, and no more."""
    person = canary.people["accounts"]

    def fail(*arguments: Any) -> None:
        raise RuntimeError(canary.mark, canary.number, person.pseudonym, *arguments)

    accounts = house.client("orders").compartment("accounts", purpose="services")
    with monkeypatch.context() as patched:
        patched.setattr("vault.crypto.record.open_record", fail)
        collected.refused(lambda: accounts.reveal(person.pseudonym, ["phone"]))
    with house.unwritable_trail():
        collected.refused(lambda: accounts.reveal(person.pseudonym, ["phone"]))
        here = {"compartment": "accounts", "capability": person.capability}
        value = types_pb2.FieldValue(name="city", value=canary.mark)
        for request in (
            subjects.ViewRequest(**here),
            subjects.SubjectServicePutRequest(**here, fields=[value]),
        ):
            collected.refused(lambda r=request: send(house.channel("portal"), r))  # type: ignore[misc]


def test_nothing_that_stays_shows_what_was_planted(
    house: House,
    canary: Canary,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    collected = Collected()
    _use(house, canary)
    _misuse_the_sdk(house, canary, collected)
    _misuse_the_wire(house, canary, collected)
    _break(house, canary, collected, monkeypatch)
    erased = canary.people["enterprises"]
    erased.subject.erase("enterprises")
    collected.refused(lambda: erased.subject.view("enterprises"))

    words = {"the log": caplog.text.encode(), "the errors": "\n".join(collected.told).encode()}
    assert b"unforeseen RuntimeError" in words["the log"]
    assert len(collected.told) > 50
    assert not leaks(words, canary.needles())
    found = files(house)
    assert found.with_rows
    assert not leaks(found.others, canary.needles())
    assert not leaks(found.with_rows, canary.needles(raw_pseudonyms=False))
    for database, table, cells in tables(house):
        needles = canary.needles(raw_pseudonyms=table not in KEYED_BY_PSEUDONYM)
        assert not leaks({f"{database}.{table}": cells}, needles)


def test_the_search_finds_what_is_there(house: House, canary: Canary) -> None:
    """The other way round: every form of every canary, written to a file, is found there."""
    file = house.state / "log" / "leak.txt"
    file.write_bytes(b"\n".join(canary.needles().values()))
    found = leaks(files(house).others, canary.needles())
    assert set(found) >= {f"{what} in log/leak.txt" for what in canary.needles()}
    person = canary.people["accounts"]
    file.write_text(f"{person.capability}\n{person.root.expose()}\n{person.pseudonym}\n")
    found = leaks(files(house).others, canary.needles())
    file.unlink()
    assert any(leak.startswith("the pseudonym in accounts, base64url at 0") for leak in found)
    assert any(leak.startswith("the pseudonym in accounts, base64url at 1") for leak in found)
    assert any(leak.startswith("the mark, base64url at 0") for leak in found)


def test_pseudonyms_stand_in_the_tables_that_they_key(house: House, canary: Canary) -> None:
    """So the search of the tables sees rows at all."""
    raw = {name: Pseudonym.parse(its.pseudonym).raw for name, its in canary.people.items()}
    holding = {(d, t) for d, t, cells in tables(house) for r in raw.values() if r in cells}
    assert {(name, "records") for name in raw} <= holding
    assert {table for _, table in holding} <= KEYED_BY_PSEUDONYM
