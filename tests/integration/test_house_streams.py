"""Streams of requests on the whole house: each item as a single call, decided in its own moment."""

from collections.abc import Iterator
from contextlib import contextmanager

import piivault
import pytest
from piivault.officers import OfficersClient
from piivault.v1 import record_service_pb2 as pb
from piivault.v1.errors_pb2 import ErrorReason

from tests.house import House
from tests.officers import OFFICER, Officers
from tests.people import NOBODY, Registered
from tests.wire import PATIENCE, Refusal, Stream, new_request_id, stream, wait_for
from vault.audit.event import ALLOWED
from vault.errors import Reason
from vault.policy import Operation
from vault.service.bodies import block_body
from vault.service.ledger import BLOCK
from vault.service.streaming import WINDOW

STREAM = "/piivault.v1.RecordService/StreamReveal"


def _start(*fields: str, purpose: str = "services") -> pb.StreamRevealRequest:
    asked = fields or ("phone",)
    start = pb.StreamRevealStart(compartment="accounts", purpose=purpose, fields=asked)
    return pb.StreamRevealRequest(start=start)


def _of(person: Registered | str) -> pb.StreamRevealRequest:
    pseudonym = person if isinstance(person, str) else person.pseudonym
    return pb.StreamRevealRequest(pseudonym=pseudonym)


class Phones:
    """A stream of phones, asked for one by one."""

    def __init__(self, house: House, request_id: str = "") -> None:
        self._stream = Stream(house.channel("orders"), STREAM, request_id)
        self._stream.ask(_start())

    def told(self, person: Registered | str) -> str:
        """Ask for one; return the phone, or the reason why not."""
        self._stream.ask(_of(person))
        answer = self._stream.answer()
        if answer.WhichOneof("outcome") == "record":
            return str(answer.record.fields[0].value)
        return _reason(answer)

    def refusal(self) -> Refusal:
        return self._stream.refusal()

    def close(self) -> None:
        assert self._stream.rest() == []


def _reason(answer: pb.StreamRevealResponse) -> str:
    return ErrorReason.Name(answer.error.reason).removeprefix("ERROR_REASON_")


def test_each_item_is_what_the_single_call_says_in_the_order_asked(house: House) -> None:
    good, unconsented = house.register(), house.register(consents=["account"])
    erased = house.register()
    erased.subject.erase("accounts")
    asked: list[Registered | str] = [good, "no pseudonym", unconsented, NOBODY, erased, good]
    request_id = new_request_id()
    answers = stream(
        house.channel("orders"), _start("phone"), *map(_of, asked), request_id=request_id
    )
    assert [answer.index for answer in answers] == list(range(6))
    outcomes = [a.record.fields[0].value if a.HasField("record") else _reason(a) for a in answers]
    phone = good.values["phone"]
    reasons = ["MALFORMED_PSEUDONYM", "CONSENT_REQUIRED", "NOT_FOUND", "ERASED"]
    assert outcomes == [phone, *reasons, phone]
    events = house.events("accounts", request_id)
    assert sorted(event.reason for event in events) == sorted(["", "", *reasons])
    assert {event.operation for event in events} == {Operation.REVEAL}
    assert sum(event.outcome == ALLOWED for event in events) == 2
    assert good.pseudonym not in str(answers)


def test_a_stream_of_more_than_fit_the_window_is_answered(house: House) -> None:
    person = house.register()
    answers = stream(house.channel("orders"), _start(), *[_of(person)] * 300)
    assert [answer.index for answer in answers] == list(range(300))
    assert {answer.record.fields[0].value for answer in answers} == {person.values["phone"]}


REFUSED: dict[str, tuple[list[pb.StreamRevealRequest], Reason]] = {
    "nothing": ([], Reason.MALFORMED_REQUEST),
    "no start": ([_of(NOBODY)], Reason.MALFORMED_REQUEST),
    "an empty message": ([pb.StreamRevealRequest()], Reason.MALFORMED_REQUEST),
    "two starts": ([_start(), _start()], Reason.MALFORMED_REQUEST),
    "an empty item": ([_start(), pb.StreamRevealRequest()], Reason.MALFORMED_REQUEST),
    "no field": (
        [pb.StreamRevealRequest(start=pb.StreamRevealStart(compartment="accounts"))],
        Reason.MALFORMED_REQUEST,
    ),
    "a field beyond the purpose": ([_start("email")], Reason.FIELD_BEYOND_PURPOSE),
    "another's purpose": ([_start(purpose="newsletter")], Reason.NOT_GRANTED),
}


@pytest.mark.parametrize(("requests", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_item_could_mend_ends_the_stream(
    sqlite_house: House, requests: list[pb.StreamRevealRequest], reason: Reason
) -> None:
    opened = Stream(sqlite_house.channel("orders"), STREAM)
    opened.ask(*requests)
    opened.close()
    assert opened.refusal().reason == reason


def test_a_withdrawal_and_a_new_value_are_felt_at_the_next_item(house: House) -> None:
    person, other = house.register(), house.register()
    phones = Phones(house)
    assert phones.told(person) == person.values["phone"]
    person.subject.put("accounts", {"phone": "+996 555 999999"})
    assert phones.told(person) == "+996 555 999999"
    person.subject.withdraw("accounts", ["services"])
    assert phones.told(person) == "CONSENT_REQUIRED"
    assert phones.told(other) == other.values["phone"]
    person.subject.erase("accounts")
    assert phones.told(person) == "ERASED"
    phones.close()


@contextmanager
def _suspended(house: House) -> Iterator[None]:
    with OfficersClient.from_env(house.environment(OFFICER)) as officer:
        ring = officer.keys("accounts")
        ring.suspend()
        try:
            yield
        finally:
            ring.resume()


def test_a_stop_is_felt_at_the_next_item_and_so_is_its_end(house: House) -> None:
    person = house.register()
    phones = Phones(house)
    assert phones.told(person) == person.values["phone"]
    with _suspended(house):
        assert phones.told(person) == "KEYS_SUSPENDED"
    assert phones.told(person) == person.values["phone"]
    phones.close()


def test_what_was_decided_before_a_stop_is_not_opened_after_it(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decided ahead, durable in the trail, and waiting for a slow reader: still no plaintext."""
    monkeypatch.setattr("vault.service.reveal.GOOD_FOR", PATIENCE)
    large, request_id = "ш" * 30_000, new_request_id()
    person = sqlite_house.register(last_name=large, first_name=large)
    opened = Stream(sqlite_house.channel("orders"), STREAM, request_id)
    opened.ask(_start("last_name", "first_name"), *[_of(person)] * (4 * WINDOW))
    decided = [0]

    def stands_still() -> bool:
        decided.append(len(sqlite_house.events("accounts", request_id)))
        return WINDOW <= decided[-1] == decided[-2]

    wait_for(stands_still, what="all that fits is decided", pause=0.5)
    with _suspended(sqlite_house):
        answers = opened.rest()
    outcomes = ["" if answer.HasField("record") else _reason(answer) for answer in answers]
    assert outcomes == sorted(outcomes)
    assert set(outcomes) == {"", "KEYS_SUSPENDED"}


def test_a_decision_that_grew_old_is_not_carried_out(
    sqlite_house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vault.service.reveal.GOOD_FOR", 0.0)
    opened = Stream(sqlite_house.channel("orders"), STREAM)
    opened.ask(_start(), _of(sqlite_house.register()))
    assert opened.refusal().reason == Reason.OVERLOADED


def test_a_new_edition_and_a_block_are_felt_in_mid_stream(officers: Officers) -> None:
    house = officers.house
    person = house.register()
    phones = Phones(house)
    assert phones.told(person) == person.values["phone"]
    seen = "fields: {last_name: plain, first_name: plain, phone: %s}"
    officers.change((seen % "plain", seen % "masked"))
    assert phones.told(person).startswith("***")
    officers.approve(BLOCK, block_body("orders", "stolen", "0" * 32), "aida")
    assert phones.refusal().reason == Reason.SERVICE_BLOCKED


def test_the_sdk_streams_reveals_and_puts(house: House) -> None:
    people = [house.register() for _ in range(3)] * 50
    accounts = house.client("orders").compartment("accounts", purpose="services")
    items = list(accounts.stream_reveal((p.pseudonym for p in people), ["phone"]))
    assert [item["phone"].expose() for item in items] == [p.values["phone"] for p in people]

    customers = [house.register("orders") for _ in range(70)]
    orders = house.client("orders").compartment("orders", purpose="services")
    puts = [piivault.PutItem(c.pseudonym, {"item_note": str(n)}) for n, c in enumerate(customers)]
    done = [one.unwrap() for one in orders.bulk_put(puts)]
    assert done == [one.unwrap() for one in orders.bulk_put(puts)]  # and not done again
    notes = orders.stream_reveal([c.pseudonym for c in customers], ["item_note"])
    assert [note["item_note"].expose() for note in notes] == [str(n) for n in range(70)]


async def test_the_asyncio_sdk_streams_too(sqlite_house: House) -> None:
    people = [sqlite_house.register() for _ in range(3)] * 50
    async with piivault.AsyncClient.from_env(sqlite_house.environment("orders")) as vault:
        accounts = vault.compartment("accounts", purpose="services")
        phones = [
            item["phone"].expose()
            async for item in accounts.stream_reveal([p.pseudonym for p in people], ["phone"])
        ]
        with pytest.raises(piivault.errors.FieldBeyondPurpose):
            await anext(accounts.stream_reveal([people[0].pseudonym], ["email"]))
    assert phones == [p.values["phone"] for p in people]
