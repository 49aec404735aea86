"""Colluding services: two put together what each legitimately saw, without the values.

Both hold the pseudonyms of the same subjects in two compartments that aren't joinable. What the
API tells them beside values (etags, editions, request ids, refusals, batches, what they may do) is
looked at by the attacker of `linking`, as if it were two dumps. It links nothing; through a value
that stands in both it links nearly everybody, and no key can stop that: the threat model says so.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import piivault
import pytest
from piivault.v1 import record_service_pb2 as pb

from tests.attack.attempts import CONTROL, RESIDUAL, Attempts, Wall, linked
from tests.attack.linking import Dump, Family, Row, Table, look
from tests.attack.linking_match import CHANCE_ENDS, EVERYTHING, Side, link
from tests.people import Registered, raw
from tests.split import SplitHouse
from tests.wire import PATIENCE, refusal_of, send
from vault.names import from_base64url
from vault.rpc.status import REQUEST_ID

PEOPLE = 60
GONE = 5  # erased in both compartments
WITHDRAWN = 5  # withdrew in both
WATCHED = 10
COLUMNS = ("pseudonym", "etag", "edition", "withheld", "reason", "message", "request_id", "place")
VALUE = "value"


@dataclass(frozen=True, slots=True)
class Spy:
    """A service and what it may reveal where; the last field is the one to link by."""

    service: str
    purpose: str
    compartment: str
    fields: tuple[str, ...]


NEWSLETTER = Spy("newsletter", "newsletter", "accounts", ("first_name", "email"))
CALLER = Spy("orders", "services", "accounts", ("last_name", "phone"))
SUPPORT = Spy("support", "account", "accounts", ("last_name", "phone"))
ORDERS = Spy("orders", "services", "orders", ("address", "item_note"))
ANALYTICS = Spy("analytics", "statistics", "web", ("cookie_id", "user_agent"))
# Two services, and whether what they were shown stands in both: support sees it masked.
COALITIONS = ((NEWSLETTER, ORDERS, True), (CALLER, ANALYTICS, True), (SUPPORT, ANALYTICS, False))


@dataclass(frozen=True, slots=True)
class Known:
    """The same people in three compartments; the first of them withdrew or went, everywhere."""

    house: SplitHouse
    people: Sequence[dict[str, Registered]]

    def truth(self, a: Spy, b: Spy) -> dict[bytes, bytes]:
        return {raw(p[a.compartment]): raw(p[b.compartment]) for p in self.people}


@pytest.fixture(scope="module")
def known(split_house: SplitHouse) -> Known:
    """People who write their e-mail address or telephone where they needn't."""
    people = []
    for number in range(PEOPLE):
        root = piivault.new_root()
        email = f"{random.Random(number).randbytes(5).hex()}@example.kg"
        phone = f"+996 555 {100_000 + number * 7919}"
        texts = {"accounts": {"email": email, "phone": phone}}
        texts |= {"orders": {"item_note": email}, "web": {"user_agent": phone}}
        one = {c: split_house.register(c, root=root, **texts[c]) for c in texts}
        for compartment, person in one.items():
            if number < GONE:
                person.subject.erase(compartment)
            elif number < GONE + WITHDRAWN:
                asked = split_house.consents(compartment)
                person.subject.withdraw(compartment, [c.purpose for c in asked])
        people.append(one)
    return Known(split_house, people)


def seen_by(known: Known, spy: Spy) -> list[Row]:
    """Reveal everybody, one by one, in no order that piivault gave; the value comes last."""
    channel = known.house.channel_to(f"worker-{spy.compartment}", spy.service)
    asked = sorted(known.people, key=lambda p: p[spy.compartment].pseudonym)
    rows = []
    for place, person in enumerate(asked):
        mine = person[spy.compartment]
        *told, value = _told(channel, spy, mine.pseudonym)
        rows.append((raw(mine), *told, place, value))
    return rows


def _told(channel: grpc.Channel, spy: Spy, pseudonym: str) -> tuple[Any, ...]:
    request = _request(spy, pseudonym)
    call: Any = channel.unary_unary("/piivault.v1.RecordService/Reveal")
    try:
        body, rpc = call.with_call(request.SerializeToString(), timeout=PATIENCE)
    except grpc.RpcError as e:
        refusal = refusal_of(e)
        return (b"", 0, "", refusal.reason, refusal.message, refusal.request_id, "")
    answer = pb.RevealResponse.FromString(body)
    request_id = dict(rpc.trailing_metadata())[REQUEST_ID]
    beside = (from_base64url(answer.etag), answer.edition, str(answer.withheld), "", "")
    return (*beside, request_id, answer.fields[-1].value)


def _request(spy: Spy, pseudonym: str) -> pb.RevealRequest:
    return pb.RevealRequest(
        compartment=spy.compartment,
        purpose=spy.purpose,
        pseudonym=pseudonym,
        fields=spy.fields,
    )


def side(rows: Sequence[Row], *, values: bool = False) -> Side:
    columns = (*COLUMNS, VALUE) if values else COLUMNS
    dump = Dump({"seen": Table(columns, [row[: len(columns)] for row in rows])}, ())
    pseudonyms = frozenset(row[0] for row in rows)
    return Side(look(dump, pseudonyms), sorted(pseudonyms))


@pytest.mark.parametrize(
    ("a", "b", "named"), COALITIONS, ids=[f"{a.service}-{b.service}" for a, b, _ in COALITIONS]
)
def test_what_two_services_saw_links_nothing_but_by_values(
    known: Known, attempts: Attempts, a: Spy, b: Spy, named: bool
) -> None:
    """Nor do refusals: who is gone from both is one of all who are gone from both."""
    chance = random.Random(1)
    truth = known.truth(a, b)
    seen = {spy: seen_by(known, spy) for spy in (a, b)}
    assert {row[COLUMNS.index("reason")] for row in seen[a]} == {"", "ERASED", "CONSENT_REQUIRED"}
    found = link(side(seen[a]), side(seen[b]), truth, chance)
    assert {name: right for name, right in found.items() if right >= CHANCE_ENDS} == {}
    attack, target = "link by all that two services saw", f"{a.service} and {b.service}"
    attempts.record(Wall.API, attack, target, linked(found[EVERYTHING], len(truth)))

    with_values = (side(seen[a], values=True), side(seen[b], values=True))
    right = link(*with_values, truth, chance, each=False)[Family.SAME]
    if named:
        assert right >= len(truth) - GONE - WITHDRAWN
        attempts.record(Wall.API, attack, target, linked(right, len(truth), CONTROL))
        attempts.record(Wall.API, "link by names once revealed", target, RESIDUAL)
    else:
        assert right < CHANCE_ENDS
        attempts.record(Wall.API, "link by masked values", target, linked(right, len(truth)))


@pytest.mark.parametrize("spy", [NEWSLETTER, ANALYTICS], ids=lambda spy: spy.service)
def test_a_batch_answers_in_the_order_asked_and_tells_no_more(
    known: Known, attempts: Attempts, spy: Spy
) -> None:
    """Not in an order of the server's, that another service could meet again."""
    channel = known.house.channel_to(f"worker-{spy.compartment}", spy.service)
    asked = [p[spy.compartment] for p in known.people[GONE + WITHDRAWN :]]
    random.Random(2).shuffle(asked)
    call: Any = channel.unary_unary("/piivault.v1.RecordService/BatchReveal")
    request = pb.BatchRevealRequest(
        compartment=spy.compartment,
        purpose=spy.purpose,
        pseudonyms=[person.pseudonym for person in asked],
        fields=spy.fields,
    )
    answer = pb.BatchRevealResponse.FromString(call(request.SerializeToString(), timeout=PATIENCE))
    given = [r.record.fields[-1].value for r in answer.results]
    assert given == [person.values[spy.fields[-1]] for person in asked]
    assert len({r.record.SerializeToString() for r in map(_bare, answer.results)}) == 1
    attempts.record(Wall.API, "tell subjects apart in a batch", spy.service, linked(0, len(asked)))


def _bare(result: Any) -> Any:
    del result.record.fields[:]
    return result


@pytest.mark.parametrize("erases", [False, True], ids=["what it isn't shown", "erasures"])
def test_who_looks_again_and_again_sees_what_changes_at_one_time(
    split_house: SplitHouse, attempts: Attempts, erases: bool
) -> None:
    """Two services that may read and no more: a change of what they don't see shows nowhere.

    Who erases everywhere is gone from both at once, and no wall hides that from who looks often.
    """
    spies, right = (NEWSLETTER, ANALYTICS), 0
    people = []
    for _ in range(WATCHED):
        root = piivault.new_root()
        registered = {s.compartment: split_house.register(s.compartment, root=root) for s in spies}
        people.append(registered)
    before = [_look(split_house, spy, people) for spy in spies]
    for person in people:
        for compartment, mine in person.items():
            if erases:
                mine.subject.erase(compartment)
            else:  # of another field than is asked for
                unseen = {"accounts": "city", "web": "cookie_id"}[compartment]
                mine.subject.put(compartment, {unseen: "Ош"})
        after = [_look(split_house, spy, people) for spy in spies]
        changed = [
            {p for p in now if now[p] != was[p]} for was, now in zip(before, after, strict=True)
        ]
        right += changed == [{person[spy.compartment].pseudonym} for spy in spies]
        before = after
    attack = "link by what changes at one time"
    if erases:
        assert right == WATCHED
        attempts.record(Wall.API, attack, "erasures", RESIDUAL)
    else:
        assert right == 0
        attempts.record(Wall.API, attack, "what isn't asked for", linked(right, WATCHED))


def _look(house: SplitHouse, spy: Spy, people: Sequence[dict[str, Registered]]) -> dict[str, bytes]:
    """Return all that a spy is told of each of them now, by pseudonym."""
    channel = house.channel_to(f"worker-{spy.compartment}", spy.service)
    asked = sorted(person[spy.compartment].pseudonym for person in people)
    request = pb.BatchRevealRequest(
        compartment=spy.compartment, purpose=spy.purpose, pseudonyms=asked, fields=spy.fields[-1:]
    )
    results = send(channel, request).results
    return {p: r.SerializeToString() for p, r in zip(asked, results, strict=True)}


def test_etags_and_request_ids_are_drawn_anew(known: Known, attempts: Attempts) -> None:
    """None comes twice, none begins or ends like another, in two compartments or in one."""
    drawn: list[bytes] = []
    for spy in (NEWSLETTER, ORDERS, ANALYTICS):
        for row in seen_by(known, spy):
            drawn += [row[0], bytes.fromhex(row[COLUMNS.index("request_id")].replace("-", ""))]
            if etag := row[COLUMNS.index("etag")]:
                drawn.append(etag)
    cuts: dict[str, Callable[[bytes], bytes]] = {"begin": lambda r: r[:5], "end": lambda r: r[-5:]}
    for what, cut in cuts.items():
        assert len({cut(each) for each in drawn}) == len(drawn)
        attempts.record(Wall.API, "find what ids have in common", what, linked(0, len(drawn)))
