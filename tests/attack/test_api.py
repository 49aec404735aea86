"""Wall 1, the API: a pseudonym is good for one compartment, and leads to no other.

One person has a record in every compartment. For each compartment there is a service with all that
its purpose allows, so that whatever is refused here is refused for the pseudonym.
"""

from collections.abc import Callable
from itertools import permutations

import pytest
from google.protobuf.message import Message
from piivault.v1 import errors_pb2
from piivault.v1 import pseudonym_service_pb2 as pseudonyms
from piivault.v1 import record_service_pb2 as records

from tests.attack.actors import FIELD, PURPOSE, reveal
from tests.attack.attempts import CONTROL, REFUSED, Attempts, Wall
from tests.attack.city import City, new_value
from tests.people import COMPARTMENTS
from tests.wire import Stream, stream
from vault.errors import Reason
from vault.names import Pseudonym

PAIRS = tuple(permutations(COMPARTMENTS, 2))  # (where it is from, where it is tried)


# By pseudonym.


def _put(compartment: str, pseudonym: str) -> Message:
    return records.RecordServicePutRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonym=pseudonym,
        fields=[new_value(compartment)])  # fmt: skip


def _batch(compartment: str, *whose: str) -> records.BatchRevealRequest:
    return records.BatchRevealRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonyms=whose,
        fields=[FIELD[compartment]])  # fmt: skip


BY_PSEUDONYM: dict[str, Callable[[str, str], Message]] = {"Reveal": reveal, "Put": _put}


@pytest.mark.parametrize("make", BY_PSEUDONYM.values(), ids=BY_PSEUDONYM)
def test_a_pseudonym_of_one_compartment_is_noise_in_every_other(
    city: City, attempts: Attempts, make: Callable[[str, str], Message]
) -> None:
    """Answered word for word as one that was never issued: nothing tells that it is somebody."""
    noise = str(Pseudonym(bytes(range(32))))
    for there, here in PAIRS:
        told = [
            city.actors.refused(f"worker-{here}", f"clerk-{here}", make(here, pseudonym))
            for pseudonym in (city.people[there].pseudonym, noise)
        ]
        assert {refusal.reason for refusal in told} == {Reason.NOT_FOUND}
        assert len({refusal.alike() for refusal in told}) == 1
        attempts.record(Wall.API, "use another compartment's pseudonym", f"{there}>{here}", REFUSED)
    for here in COMPARTMENTS:
        assert city.told(here, make(here, city.people[here].pseudonym)) == ""
        attempts.record(Wall.API, "use another compartment's pseudonym", here, CONTROL)


def test_a_batch_of_pseudonyms_from_everywhere_finds_those_from_here(
    city: City, attempts: Attempts
) -> None:
    """All four of one person in one request: the one thing that the API could be made to join."""
    whose = [city.people[name].pseudonym for name in COMPARTMENTS]
    not_found = errors_pb2.ERROR_REASON_NOT_FOUND
    for here in COMPARTMENTS:
        answer = city.actors.ask(f"worker-{here}", f"clerk-{here}", _batch(here, *whose))
        found = [result.WhichOneof("outcome") == "record" for result in answer.results]
        assert found == [name == here for name in COMPARTMENTS]
        assert {r.error.reason for r in answer.results if r.HasField("error")} == {not_found}
        for there in (name for name in COMPARTMENTS if name != here):
            attempts.record(Wall.API, "batch pseudonyms of all compartments", there, REFUSED)
        attempts.record(Wall.API, "batch pseudonyms of all compartments", here, CONTROL)


def _start(compartment: str) -> records.StreamRevealRequest:
    purpose, fields = PURPOSE[compartment], [FIELD[compartment]]
    start = records.StreamRevealStart(compartment=compartment, purpose=purpose, fields=fields)
    return records.StreamRevealRequest(start=start)


def test_a_stream_stays_where_it_started(city: City, attempts: Attempts) -> None:
    """Pseudonyms from everywhere find those from here; a second start ends it, even the same."""
    asked = [records.StreamRevealRequest(pseudonym=city.people[n].pseudonym) for n in COMPARTMENTS]
    for here in COMPARTMENTS:
        channel = city.actors.channel(f"worker-{here}", f"clerk-{here}")
        answers = stream(channel, _start(here), *asked)
        found = [answer.WhichOneof("outcome") == "record" for answer in answers]
        assert found == [name == here for name in COMPARTMENTS]
        for there in (name for name in COMPARTMENTS if name != here):
            attempts.record(Wall.API, "stream pseudonyms of all compartments", there, REFUSED)
        attempts.record(Wall.API, "stream pseudonyms of all compartments", here, CONTROL)
        for there in COMPARTMENTS:
            opened = Stream(channel, "/piivault.v1.RecordService/StreamReveal")
            opened.ask(_start(here), _start(there), *asked)
            assert opened.refusal().reason == Reason.MALFORMED_REQUEST
            attack = "move a stream to another compartment"
            attempts.record(Wall.API, attack, f"{here}>{there}", REFUSED)


def test_a_worker_serves_its_compartment_by_whatever_name_it_is_asked(
    city: City, attempts: Attempts
) -> None:
    """A request for A, sent to the worker of B by whoever may read A."""
    for there, here in PAIRS:
        clerk, request = f"clerk-{there}", reveal(there, city.people[there].pseudonym)
        told = city.actors.told(f"worker-{here}", clerk, request)
        assert told == Reason.UNKNOWN_COMPARTMENT
        attempts.record(Wall.API, "ask another worker", f"{there}>{here}", REFUSED)
    assert city.told("web", reveal("web", city.people["web"].pseudonym)) == ""
    attempts.record(Wall.API, "ask another worker", "web", CONTROL)


# By root id.


def test_an_internal_service_with_a_root_id_gets_nothing(city: City, attempts: Attempts) -> None:
    """It can't turn it into a pseudonym, so that to know a root id isn't to know a person."""
    for name in COMPARTMENTS:
        request = pseudonyms.IssueRequest(
            compartment=name, root_id=bytes(city.people[name].root))  # fmt: skip
        told = city.actors.told("broker", f"clerk-{name}", request)
        assert told == Reason.METHOD_NOT_ALLOWED
        attempts.record(Wall.API, "have a pseudonym issued to an internal service", name, REFUSED)
    assert city.actors.issue("portal", bytes(city.people["web"].root), "web").pseudonym
    attempts.record(Wall.API, "have a pseudonym issued to an internal service", "portal", CONTROL)


@pytest.mark.parametrize("compartment", COMPARTMENTS)
def test_a_pseudonym_is_no_root_id(city: City, attempts: Attempts, compartment: str) -> None:
    """A subject-facing service can't go from one pseudonym to the next: there is no translation."""
    raw = Pseudonym.parse(city.people[compartment].pseudonym).raw
    others = [name for name in COMPARTMENTS if name != compartment]
    for there in others:
        known = Pseudonym.parse(city.people[there].pseudonym).raw
        for root in (raw, raw[:16], raw[16:]):
            request = pseudonyms.IssueRequest(compartment=there, root_id=root)
            if len(root) != 16:
                refusal = city.actors.refused("broker", "portal", request)
                assert refusal.reason == Reason.MALFORMED_REQUEST
            else:
                answer = city.actors.ask("broker", "portal", request)
                assert Pseudonym.parse(answer.pseudonym).raw != known
            attempts.record(Wall.API, "translate a pseudonym", f"{compartment}>{there}", REFUSED)
    root = bytes(city.people[compartment].root)
    for there in others:
        issued = city.actors.issue("portal", root, there).pseudonym
        assert issued == city.people[there].pseudonym
        attempts.record(Wall.API, "translate a pseudonym", "by the root id", CONTROL)
