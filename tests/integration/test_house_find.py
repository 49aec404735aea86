"""Find: who holds a value, as far as the caller may know; the rest looks like nothing."""

from collections.abc import Callable, Iterator

import grpc
import piivault
import pytest
from piivault import errors
from piivault.v1 import record_service_pb2 as pb
from piivault.v1 import types_pb2

from tests.house import House
from tests.people import Registered, new_values
from tests.wire import PATIENCE, open_channel, refused, send
from vault.errors import Reason
from vault.rpc.status import CODE_OF

KIB = 1024


@pytest.fixture(scope="module")
def channel(house: House) -> Iterator[grpc.Channel]:
    """The support service's channel to a server that lets it ask as often as it likes."""
    with house.another_server(SERVER__FIND_PER_SECOND="100000") as address:
        opened = open_channel(address, house.tls("support"))
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def person(house: House) -> Registered:
    return house.register()


def _find(name: str, value: str, purpose: str = "account") -> pb.FindRequest:
    field = types_pb2.FieldValue(name=name, value=value)
    return pb.FindRequest(compartment="accounts", purpose=purpose, field=field)


Write = Callable[[str], str]
EMAILS: dict[str, Write] = {
    "as given": str,
    "in capitals": str.upper,
    "among blanks": lambda email: f"  {email}\n",
    "in wide letters": lambda email: email.replace("aigul", "ａｉｇｕｌ"),
}
PHONES: dict[str, Write] = {
    "as given": str,
    "without spaces": lambda phone: phone.replace(" ", ""),
    "with dashes": lambda phone: phone.replace(" ", "-"),
    "with two zeros": lambda phone: phone.replace("+", "00"),
    "as in the country": lambda phone: phone.replace("+996 ", "0"),
    "in other digits": lambda phone: phone.translate(str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")),
}
WRITTEN = {f"an e-mail address {how}": ("email", write) for how, write in EMAILS.items()} | {
    f"a telephone number {how}": ("phone", write) for how, write in PHONES.items()
}


@pytest.mark.parametrize(("name", "write"), WRITTEN.values(), ids=WRITTEN)
def test_a_value_is_found_however_it_is_written(
    channel: grpc.Channel, person: Registered, name: str, write: Write
) -> None:
    found = send(channel, _find(name, write(person.values[name])))
    assert person.pseudonym in found.pseudonyms


def test_absent_unconsented_and_erased_are_answered_alike(
    house: House, channel: grpc.Channel
) -> None:
    """So nobody learns who is registered by asking, and what is no address is no exception."""
    unconsented = house.register(consents=["services", "newsletter"])
    withdrawn, erased = house.register(), house.register()
    withdrawn.subject.withdraw("accounts", ["account"])
    erased.subject.erase("accounts")
    sought = [p.values["email"] for p in (unconsented, withdrawn, erased)]
    sought += [new_values("accounts")["email"], "no address", "@"]
    refusals = [refused(channel, _find("email", email)) for email in sought]
    assert {refusal.reason for refusal in refusals} == {Reason.NOT_FOUND}
    assert len({refusal.alike() for refusal in refusals}) == 1
    assert not [email for email in sought[:4] for refusal in refusals if email in refusal.seen]


def test_a_shared_value_finds_all_who_may_be_found(house: House, channel: grpc.Channel) -> None:
    """A family with one telephone; whoever didn't consent isn't among them."""
    phone = new_values("accounts")["phone"]
    family = [house.register(phone=phone) for _ in range(3)]
    house.register(phone=phone, consents=["services"])
    found = send(channel, _find("phone", phone))
    assert sorted(found.pseudonyms) == sorted(member.pseudonym for member in family)
    support = house.client("support").compartment("accounts", purpose="account")
    assert sorted(support.find_all(phone=phone)) == sorted(found.pseudonyms)
    with pytest.raises(errors.AmbiguousError):
        support.find(phone=phone)


def test_only_the_present_value_is_found(house: House, channel: grpc.Channel) -> None:
    person = house.register()
    old, new = person.values["email"], new_values("accounts")["email"]
    person.subject.put("accounts", {"email": new})
    assert list(send(channel, _find("email", new)).pseudonyms) == [person.pseudonym]
    assert refused(channel, _find("email", old)).reason == Reason.NOT_FOUND


def test_what_is_no_number_is_kept_and_not_found(house: House, channel: grpc.Channel) -> None:
    """Clause 1.3: nobody is told that their telephone isn't one; the letter O is no digit."""
    person = house.register(phone="ички 12, чалуу: 555-OO-12")
    assert house.phone_of(person) == person.values["phone"]
    assert refused(channel, _find("phone", person.values["phone"])).reason == Reason.NOT_FOUND


BAD: dict[str, tuple[pb.FindRequest, Reason]] = {
    "no field": (pb.FindRequest(compartment="accounts", purpose="account"),
                 Reason.MALFORMED_REQUEST),
    "an unknown field": (_find("шаар", "Ош"), Reason.UNKNOWN_FIELD),
    "a field without an index": (_find("last_name", "Токтогулова"), Reason.FIELD_BEYOND_PURPOSE),
    "a purpose without a grant": (
        _find("email", "aigul@example.kg", "services"), Reason.NOT_GRANTED),
    "an unknown purpose": (_find("email", "aigul@example.kg", "шаар"), Reason.UNKNOWN_PURPOSE),
    "an empty value": (_find("email", ""), Reason.INVALID_VALUE),
    "a value above 64 KiB": (_find("email", "а" * (32 * KIB) + "@"), Reason.INVALID_VALUE),
}  # fmt: skip


@pytest.mark.parametrize(("request_", "reason"), BAD.values(), ids=BAD)
def test_a_bad_search_is_refused(
    channel: grpc.Channel, request_: pb.FindRequest, reason: Reason
) -> None:
    refusal = refused(channel, request_)
    assert refusal.reason == reason
    assert len(refusal.seen) < 2 * KIB


def test_who_asks_too_often_is_told_when_to_come_back(
    sqlite_house: House, person: Registered
) -> None:
    """Guessing addresses takes time. Each service has a measure of its own."""
    house = sqlite_house
    request = _find("email", new_values("accounts")["email"])
    with house.another_server(SERVER__FIND_PER_SECOND="0.01") as address:
        with open_channel(address, house.tls("support")) as bare:
            assert refused(bare, request).reason == Reason.NOT_FOUND
            refusal = refused(bare, request)
        with open_channel(address, house.tls("orders")) as other:
            assert refused(other, request).reason == Reason.NOT_GRANTED
        with piivault.Client(address, tls=house.tls("support"), timeout=PATIENCE) as client:
            support = client.compartment("accounts", purpose="account")
            with pytest.raises(errors.RateLimited) as caught:
                support.find(email="aigul@example.kg")
    assert refusal.code is CODE_OF[Reason.RATE_LIMITED]
    assert refusal.retry_after is not None
    assert 0 < refusal.retry_after <= 100.1
    assert caught.value.retryable
    assert caught.value.retry_after
