"""What is keyed and not sealed, moved by whoever owns the database: index values, request marks."""

from collections.abc import Mapping

import grpc
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.attack.attempts import CONTROL, DETECTED, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.forging import flipped
from tests.attack.rows import Rows
from tests.people import raw
from tests.split import SplitHouse
from tests.wire import new_request_id, patiently, refusal_of
from vault.errors import Reason
from vault.store import tables as t

Databases = Mapping[str, Rows]

# The blind index: keyed, but not sealed.


def _found(house: SplitHouse, name: str, value: str) -> set[str]:
    field = types_pb2.FieldValue(name=name, value=value)
    request = records.FindRequest(compartment="accounts", purpose="account", field=field)
    try:
        return set(patiently(lambda: house.ask("support", request)).pseudonyms)
    except grpc.RpcError as error:
        if refusal_of(error).reason != Reason.NOT_FOUND:
            raise
        return set()


def test_an_index_row_points_at_nobody_else(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """Find asks the record whether it holds the value: who owns the table can't name another."""
    house, database = split_house, rows["accounts"]
    one, other = house.register(phone="+996 555 111111"), house.register(phone="+996 555 222222")
    attack = "point an index row at another"
    mine, theirs = (
        {row["field"]: row for row in database.all(t.blind_index, pseudonym=raw(person))}
        for person in (one, other)
    )
    for name in ("email", "phone"):
        field = house.edition.compartment("accounts").fields[name].uid
        sought = (name, one.values[name])
        pointed = {**mine[field], "pseudonym": raw(other)}
        added = {**pointed, "slot": raw(other)}
        assert _found(house, *sought) == {one.pseudonym}
        attempts.record(Wall.CIPHERTEXT, attack, f"{name} as it is", CONTROL)
        with database.changed((t.blind_index, mine[field], pointed)):
            assert _found(house, *sought) == set()
        attempts.record(Wall.CIPHERTEXT, attack, f"{name} changed", DETECTED)
        with database.changed((t.blind_index, None, added)):
            assert _found(house, *sought) == {one.pseudonym}
        attempts.record(Wall.CIPHERTEXT, attack, f"{name} added", DETECTED)
        with database.changed(
            (t.blind_index, mine[field], {**mine[field], "value": theirs[field]["value"]}),
            (t.blind_index, theirs[field], {**theirs[field], "value": mine[field]["value"]}),
        ):
            assert _found(house, *sought) == set()
        attempts.record(Wall.CIPHERTEXT, attack, f"{name} exchanged", DETECTED)
        with database.changed((t.blind_index, mine[field], None)):
            assert _found(house, *sought) == set()
        attempts.record(Wall.CIPHERTEXT, "hide from Find", f"{name} removed", RESIDUAL)
    family = house.register(phone=one.values["phone"])
    assert _found(house, "phone", one.values["phone"]) == {one.pseudonym, family.pseudonym}
    attempts.record(Wall.CIPHERTEXT, attack, "one who holds it too", CONTROL)


def test_an_index_value_means_nothing_elsewhere(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """Another field, version or compartment has another key."""
    house, person = split_house, split_house.register()
    company = house.register("enterprises", email=person.values["email"])
    uids = {n: house.edition.compartment(n).fields for n in ("accounts", "enterprises")}
    mine, theirs = (
        rows[n].all(t.blind_index, pseudonym=raw(who), field=uids[n]["email"].uid)[0]
        for n, who in (("accounts", person), ("enterprises", company))
    )
    assert mine["value"] != theirs["value"]
    email = ("email", person.values["email"])
    for what, changes in {
        "field": {"field": uids["accounts"]["phone"].uid},
        "version": {"version": 2},
        "compartment": {"value": theirs["value"]},
        **{f"byte {p}": {"value": flipped(mine["value"], p)} for p in range(0, 16, 3)},
    }.items():
        with rows["accounts"].changed((t.blind_index, mine, {**mine, **changes})):
            assert _found(house, *email) == set()
        attempts.record(Wall.CIPHERTEXT, "move an index value", what, REFUSED)
    assert _found(house, *email) == {person.pseudonym}
    attempts.record(Wall.CIPHERTEXT, "move an index value", "put back", CONTROL)


# Marks of requests.


def test_a_request_mark_is_its_requests_own(
    split_house: SplitHouse, rows: Databases, attempts: Attempts
) -> None:
    """Exchanged, a repetition is refused; removed, it is carried out once more."""
    house, database = split_house, rows["accounts"]
    person = house.register()
    marks, ids = [], [new_request_id() for _ in range(2)]

    def put(number: int) -> str:
        request = subjects.SubjectServicePutRequest(
            compartment="accounts", capability=person.capability)  # fmt: skip
        request.fields.add(name="city", value=f"Ош {number}")
        if told := house.told("portal", request, ids[number]):
            return told
        city = person.subject.view("accounts", ["city"])["city"]
        return city.expose() if city else ""

    for number in range(2):
        before = database.all(t.idempotency)
        assert put(number) == f"Ош {number}"
        marks += [row for row in database.all(t.idempotency) if row not in before]
    first, second = marks
    assert put(0) == "Ош 1"  # a repetition changes nothing
    attempts.record(Wall.CIPHERTEXT, "move a request's mark", "as it is", CONTROL)
    for what, content in {
        "exchanged": second["content"],
        "a bit": flipped(first["content"], 7),
    }.items():
        with database.changed((t.idempotency, first, {**first, "content": content})):
            assert put(0) == Reason.REQUEST_ID_REUSED
        attempts.record(Wall.CIPHERTEXT, "move a request's mark", what, DETECTED)
    with database.changed((t.idempotency, first, None)):
        assert put(0) == "Ош 0"
    attempts.record(Wall.CIPHERTEXT, "move a request's mark", "removed", RESIDUAL)
