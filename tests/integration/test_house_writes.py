"""Writes: made to what was read or not at all, once however often they are sent, and whole."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import piivault
import pytest
from google.protobuf.message import Message
from piivault import errors
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import subject_service_pb2 as subjects
from piivault.v1 import types_pb2

from tests.house import House
from tests.people import Registered
from tests.wire import new_request_id, refusal_of, send
from vault.errors import Reason
from vault.sealed.v1 import sealed_pb2

AT_ONCE = 12


def _field(name: str, value: str) -> types_pb2.FieldValue:
    return types_pb2.FieldValue(name=name, value=value)


def _put(person: Registered, etag: str = "", **values: str) -> subjects.SubjectServicePutRequest:
    return subjects.SubjectServicePutRequest(
        compartment=person.compartment,
        capability=person.capability,
        fields=[_field(name, value) for name, value in values.items()],
        etag=etag,
    )


def _value(person: Registered, name: str) -> str | None:
    value = person.subject.view(person.compartment, [name])[name]
    return None if value is None else value.expose()


def test_a_write_from_an_old_version_is_refused(house: House) -> None:
    """Nobody overwrites what they haven't seen; read again, and it goes."""
    person = house.register()
    person.subject.put("accounts", {"city": "Ош"}, etag=person.etag)
    for stale in (person.etag, "A" * 22, "жок"):
        refusal = house.refused("portal", _put(person, stale, city="Өзгөн"))
        assert refusal.code is grpc.StatusCode.ABORTED
        assert refusal.reason == Reason.STALE_ETAG
    with pytest.raises(errors.StaleEtag):
        person.subject.put("accounts", {"city": "Өзгөн"}, etag=person.etag)
    assert _value(person, "city") == "Ош"
    person.subject.put("accounts", {"city": "Өзгөн"}, etag=person.subject.view("accounts").etag)
    assert _value(person, "city") == "Өзгөн"


def test_a_service_writes_from_what_it_revealed(house: House) -> None:
    order = house.register("orders")
    orders = house.client("orders").compartment("orders", purpose="services")
    etag = orders.reveal(order.pseudonym, ["address"]).etag
    assert etag == order.etag
    orders.put(order.pseudonym, {"item_note": "Экинчи кабат"}, etag=etag)
    with pytest.raises(errors.StaleEtag):
        orders.put(order.pseudonym, {"item_note": "Үчүнчү кабат"}, etag=etag)
    assert _value(order, "item_note") == "Экинчи кабат"


def _at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """Make all calls at once; return answers, and refusals in place of those refused."""

    def outcome(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            return refusal_of(error).reason

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def _sending(house: House, requests: Sequence[Message], ids: Sequence[str]) -> list[Any]:
    channel = house.channel("portal")
    pairs = zip(requests, ids, strict=True)
    return _at_once([partial(send, channel, request, id_) for request, id_ in pairs])


def test_of_many_writes_to_one_version_one_is_made(house: House) -> None:
    person = house.register()
    requests = [_put(person, person.etag, city=f"Шаар {i}") for i in range(AT_ONCE)]
    outcomes = _sending(house, requests, [new_request_id() for _ in requests])
    (made,) = [i for i, outcome in enumerate(outcomes) if outcome != Reason.STALE_ETAG]
    assert _value(person, "city") == f"Шаар {made}"


def test_writes_to_different_fields_at_once_are_all_kept(house: House) -> None:
    """None is lost to another: each is made anew to what the others left."""
    person = house.register()
    values = {"city": "Ош", "organisation": "Ош Нан", "position": "Наабайчы"}
    requests = [_put(person, **{name: value}) for name, value in values.items()]
    outcomes = _sending(house, requests, [new_request_id() for _ in requests])
    assert not [outcome for outcome in outcomes if isinstance(outcome, str)]
    assert {name: _value(person, name) for name in values} == values


def _changes(house: House, request_id: str) -> list[sealed_pb2.AuditEvent]:
    return [event for event in house.events("accounts", request_id) if event.row_digest]


def test_one_request_sent_many_times_at_once_changes_once(house: House) -> None:
    """Everybody is answered alike, and the trail has one change."""
    person, request_id = house.register(), new_request_id()
    requests = [_put(person, city="Ош")] * AT_ONCE
    outcomes = _sending(house, requests, [request_id] * AT_ONCE)
    assert {outcome.etag for outcome in outcomes} == {person.subject.view("accounts").etag}
    assert len(_changes(house, request_id)) == 1


def test_one_registration_sent_many_times_at_once_opens_one_record(house: House) -> None:
    request, request_id = house.registration(), new_request_id()
    outcomes = _sending(house, [request] * AT_ONCE, [request_id] * AT_ONCE)
    assert len({outcome.etag for outcome in outcomes}) == 1
    assert len(_changes(house, request_id)) == 1


def test_of_many_registrations_of_one_person_one_opens_the_record(house: House) -> None:
    root = piivault.new_root()
    requests = [house.registration(root=root) for _ in range(AT_ONCE)]
    outcomes = _sending(house, requests, [new_request_id() for _ in requests])
    assert outcomes.count(Reason.ALREADY_REGISTERED) == AT_ONCE - 1


def test_of_many_registrations_with_one_e_mail_address_one_gets_it(house: House) -> None:
    """The others lose nothing: each registers with an address of their own right after."""
    requests = [house.registration() for _ in range(AT_ONCE)]
    own = [_email(request).value for request in requests]
    for request in requests:
        _email(request).value = own[0]
    outcomes = _sending(house, requests, [new_request_id() for _ in requests])
    losers = [i for i, outcome in enumerate(outcomes) if outcome == Reason.VALUE_TAKEN]
    assert len(losers) == AT_ONCE - 1
    for i in losers:
        _email(requests[i]).value = f"own-{i}-{own[i]}"
        house.ask("portal", requests[i])


def _email(request: subjects.RegisterRequest) -> types_pb2.FieldValue:
    (field,) = [field for field in request.fields if field.name == "email"]
    return field


def _consent(house: House, purpose: str) -> types_pb2.Consent:
    (given,) = house.consents("accounts", [purpose])
    return types_pb2.Consent(
        purpose=purpose, edition=1, language="ky", notice_digest=given.notice_digest
    )


Pair = Callable[[House, Registered], tuple[str, Message, Message]]


def _by_portal(kind: type[Any], **differing: Any) -> Pair:
    """Write two requests that differ in `differing`: their first and second value."""

    def pair(house: House, person: Registered) -> tuple[str, Message, Message]:
        here = {"compartment": "accounts", "capability": person.capability}

        def request(which: int) -> Message:
            values = {name: pair[which] for name, pair in differing.items()}
            made = {name: v(house) if callable(v) else v for name, v in values.items()}
            written: Message = kind(**here, **made)
            return written

        return "portal", request(0), request(1)

    return pair


def _by_orders(house: House, person: Registered) -> tuple[str, Message, Message]:
    order = house.register("orders", root=person.root)
    one, other = (
        records.RecordServicePutRequest(
            compartment="orders",
            purpose="services",
            pseudonym=order.pseudonym,
            fields=[_field("item_note", note)],
        )
        for note in ("Экинчи кабат", "Үчүнчү кабат")
    )
    return "orders", one, other


PAIRS: dict[str, Pair] = {
    "the subject's put": _by_portal(
        subjects.SubjectServicePutRequest,
        fields=([_field("city", "Ош")], [_field("city", "Өзгөн")]),
    ),
    "clearing": _by_portal(
        subjects.SubjectServicePutRequest, clear=(["position"], ["organisation"])
    ),
    "a service's put": _by_orders,
    "withdrawing": _by_portal(
        subjects.WithdrawConsentRequest, purposes=(["account"], ["newsletter"])
    ),
    "consenting": _by_portal(
        subjects.GrantConsentRequest,
        consents=(
            lambda house: [_consent(house, "services")],
            lambda house: [_consent(house, "account")],
        ),
    ),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_a_request_id_stands_for_one_request(house: House, pair: Pair) -> None:
    """Sent again it changes nothing and answers with the record as it is; another is refused."""
    person = house.register(position="Наабайчы", organisation="Ош Нан")
    service, one, other = pair(house, person)
    request_id = new_request_id()
    first = house.ask(service, one, request_id)
    assert house.ask(service, one, request_id) == first
    refusal = house.refused(service, other, request_id)
    assert refusal.code is grpc.StatusCode.FAILED_PRECONDITION
    assert refusal.reason == Reason.REQUEST_ID_REUSED
    assert house.ask(service, one, request_id) == first
    assert house.ask(service, other).etag != first.etag


def test_without_a_request_id_of_the_callers_each_request_is_new(house: House) -> None:
    person = house.register()
    answers = [house.ask("portal", _put(person, city="Ош")) for _ in range(2)]
    assert answers[0].etag != answers[1].etag


def test_a_request_id_is_the_callers_own(house: House) -> None:
    """Another service may use the same one, and so may the same in another compartment."""
    person, request_id = house.register(), new_request_id()
    order = house.register("orders", root=person.root)
    house.ask("portal", _put(person, city="Ош"), request_id)
    house.ask("portal", _put(order, item_note="Экинчи кабат"), request_id)
    orders = house.client("orders").compartment("orders", purpose="services")
    orders.put(order.pseudonym, {"item_note": "Үчүнчү кабат"}, request_id=request_id)
    assert [_value(person, "city"), _value(order, "item_note")] == ["Ош", "Үчүнчү кабат"]


def test_a_refused_request_may_be_sent_again(house: House) -> None:
    """It left nothing behind, its id neither: once the address is free it goes."""
    holder, request, request_id = house.register(), house.registration(), new_request_id()
    _email(request).value = holder.values["email"]
    for _ in range(2):
        refusal = house.refused("portal", request, request_id)
        assert refusal.reason == Reason.VALUE_TAKEN
    holder.subject.erase("accounts")
    house.ask("portal", request, request_id)


def test_an_erasure_sent_again_erases_nothing_new(house: House) -> None:
    """A late repetition meets the record of somebody who came back: it stays."""
    person, request_id = house.register(), new_request_id()
    erase = subjects.EraseRequest(compartment="accounts", capability=person.capability)
    house.ask("portal", erase, request_id)
    anew = house.register(root=person.root)
    house.ask("portal", erase, request_id)
    assert house.phone_of(anew) == anew.values["phone"]
    refusal = house.refused("portal", _put(anew, city="Ош"), request_id)
    assert refusal.reason == Reason.REQUEST_ID_REUSED
    house.ask("portal", erase)
    with pytest.raises(errors.Erased):
        house.phone_of(anew)


def test_a_registration_sent_again_after_an_erasure_brings_nothing_back(house: House) -> None:
    request, request_id = house.registration(), new_request_id()
    house.ask("portal", request, request_id)
    here = {"compartment": "accounts", "capability": request.capability}
    house.ask("portal", subjects.EraseRequest(**here))
    assert house.refused("portal", request, request_id).reason == Reason.ERASED
    assert house.refused("portal", subjects.ViewRequest(**here)).reason == Reason.ERASED


def test_the_sdk_tells_a_reused_request_id(house: House) -> None:
    person, request_id = house.register(), new_request_id()
    etag = person.subject.put("accounts", {"city": "Ош"}, request_id=request_id)
    assert person.subject.put("accounts", {"city": "Ош"}, request_id=request_id) == etag
    with pytest.raises(errors.RequestIdReused) as caught:
        person.subject.put("accounts", {"city": "Өзгөн"}, request_id=request_id)
    assert caught.value.request_id == request_id
    assert not caught.value.retryable
