"""Wall 3, history: what an owner once touched counts with what it is granted next.

Owners of our own making begin in `web`, touch it or don't, and are moved to `accounts`, which isn't
joinable with it. Whoever touched is refused; whoever didn't is moved.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import grpc
import pytest
from google.protobuf.message import Message
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import types_pb2

from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.office import FIELD, PURPOSE, Office, adding, at_once, grant, owner, service
from tests.split import SplitHouse
from tests.wire import PATIENCE
from vault.errors import Reason, VaultError
from vault.policy import Service, compile_successor
from vault.service.call import Call
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.ledger import BLOCK, EDITION, RESET, reset_body, sign_off, statement
from vault.store.control import ControlChain
from vault.store.engine import connect

SAW = "what was seen isn't forgotten"
NOBODY = f"psn_{'A' * 43}"
ROUNDS = 30  # of the race at the lock itself
RIVALS = 10  # owners that race through two workers at the moment when an edition comes into force
PUBLISHED = 6  # owners that race with their own move


@dataclass(frozen=True, slots=True)
class Mover:
    """An owner with one service, which may reveal in web; and how that stands in the edition."""

    name: str
    ident: str

    @property
    def service(self) -> str:
        return f"{self.name}-one"

    @property
    def second(self) -> str:
        return f"{self.name}-two"

    @property
    def owned(self) -> str:
        return owner(self.name, self.ident)

    @property
    def served(self) -> str:
        return service(self.service, self.name)

    @property
    def granted(self) -> str:
        return grant(self.service, "web", "reveal", "put")


def _mover(name: str) -> Mover:
    return Mover(name, str(uuid4()))


Change = tuple[str, str]
How = Callable[[Mover], Sequence[Change]]
HOW: dict[str, How] = {
    "the same service": lambda m: [(m.granted, grant(m.service, "accounts"))],
    "the same service, by put alone": lambda m: [(m.granted, grant(m.service, "accounts", "put"))],
    "the same service, by find alone": lambda m: [
        (m.granted, grant(m.service, "accounts", "find"))],
    "the same service, for another purpose": lambda m: [
        (m.granted, grant(m.service, "accounts", purpose="newsletter"))],
    "a renamed service": lambda m: [
        (m.served, m.served.replace(f"{m.service}:", f"{m.second}:")),
        (m.granted, grant(m.second, "accounts"))],
    "a new SPIFFE id": lambda m: [
        (m.served, service(m.service, m.name, spiffe="spiffe://oshto.kg/changed/" + m.name)),
        (m.granted, grant(m.service, "accounts"))],
    "a renamed service with a new SPIFFE id": lambda m: [
        (m.served, service(m.second, m.name)), (m.granted, grant(m.second, "accounts"))],
    "another service of the owner": lambda m: [
        (m.served, m.served + service(m.second, m.name)),
        (m.granted, grant(m.second, "accounts"))],
    "a renamed owner": lambda m: [
        (m.owned, owner(f"{m.name}-new", m.ident)),
        (m.served, service(m.service, f"{m.name}-new")),
        (m.granted, grant(m.service, "accounts"))],
    "a renamed owner, with another service": lambda m: [
        (m.owned, owner(f"{m.name}-new", m.ident)),
        (m.served, service(m.second, f"{m.name}-new")),
        (m.granted, grant(m.second, "accounts"))],
    "an owner that is spelled otherwise": lambda m: [
        (m.owned, owner(m.name, m.ident.upper())), (m.granted, grant(m.service, "accounts"))],
}  # fmt: skip


@pytest.fixture(scope="module")
def touched() -> Mover:
    """Has asked for a record in web, whatever came of it."""
    return _mover("toucher")


@pytest.fixture(scope="module")
def untouched() -> Mover:
    """Had the same grant, and never used it."""
    return _mover("idler")


@pytest.fixture(scope="module")
def resetter() -> Mover:
    return _mover("resetter")


@pytest.fixture(scope="module")
def movers(touched: Mover, untouched: Mover, resetter: Mover) -> dict[str, Mover]:
    """All that begin in web, and have done something there."""
    by_put, by_absence, by_description = _mover("putter"), _mover("misser"), _mover("describer")
    racing = [_mover(f"racer-{i}") for i in range(RIVALS)]
    moving = [_mover(f"publishee-{i}") for i in range(PUBLISHED)]
    known = (touched, untouched, resetter, by_put, by_absence, by_description, *racing, *moving)
    return {m.name: m for m in known}


@pytest.fixture(scope="module")
def office(split_house: SplitHouse, movers: dict[str, Mover]) -> Iterator[Office]:
    """Officers who let all of them begin in web."""
    made = Office(split_house)
    made.settle()
    everybody = movers.values()
    made.publish(
        made.draft(
            *adding(
                owners=[m.owned for m in everybody],
                services=[m.served for m in everybody],
                grants=[m.granted for m in everybody],
            )
        )
    )
    made.wait()
    visitor = split_house.register("web").pseudonym
    for name, pseudonym in (("toucher", visitor), ("resetter", visitor), ("misser", NOBODY)):
        told = made.told("worker-web", movers[name].service, _reveal("web", pseudonym))
        assert told == ("" if pseudonym == visitor else Reason.NOT_FOUND)
    agent = types_pb2.FieldValue(name="user_agent", value="curl")
    put = records.RecordServicePutRequest(
        compartment="web", purpose="statistics", pseudonym=visitor, fields=[agent]
    )
    assert made.told("worker-web", movers["putter"].service, put) == ""
    described = records.DescribeRequest(compartment="web", purpose="statistics")
    assert made.told("worker-web", movers["describer"].service, described) == ""
    yield made
    made.close()


def _reveal(compartment: str, pseudonym: str = NOBODY) -> Message:
    return records.RevealRequest(
        compartment=compartment, purpose=PURPOSE[compartment], pseudonym=pseudonym,
        fields=[FIELD[compartment]])  # fmt: skip


def _taken(office: Office, changes: Sequence[Change], *, forgetting: bool = False) -> bool:
    """Tell whether control would take an edition; with its history, or as if it had none."""
    ledger = office.ledger()
    touched = {} if forgetting else ledger.touched
    return bool(compile_successor(office.draft(*changes), ledger.editions, touched))


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_who_saw_the_one_is_not_given_the_other(
    office: Office,
    touched: Mover,
    untouched: Mover,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    how: How,
) -> None:
    """Whatever it is called, whatever it shows, whatever it would do there."""
    assert SAW in office.refusal(office.draft(*how(touched)))
    attempts.record(Wall.HISTORY, "read A, then be granted B", request.node.name, REFUSED)
    assert _taken(office, how(untouched))
    attempts.record(Wall.HISTORY, "read A, then be granted B", "who never touched", CONTROL)
    assert _taken(office, how(touched), forgetting=True)
    attempts.record(Wall.HISTORY, "read A, then be granted B", "without a history", CONTROL)


@pytest.mark.parametrize("name", ["putter", "misser"])
def test_whatever_was_done_there_was_a_touch(
    office: Office, movers: dict[str, Mover], attempts: Attempts, name: str
) -> None:
    """A write, and a question that found nobody; but not a look at one's own grants."""
    how = HOW["the same service"]
    assert SAW in office.refusal(office.draft(*how(movers[name])))
    attempts.record(Wall.HISTORY, "touch without reading", name, REFUSED)
    assert _taken(office, how(movers["describer"]))
    attempts.record(Wall.HISTORY, "touch without reading", "Describe", CONTROL)


def test_an_edition_in_between_does_not_make_it_forgotten(
    office: Office, movers: dict[str, Mover], attempts: Attempts
) -> None:
    """Granted nothing for an edition, or gone from one, or under an edition of the future."""
    mover = movers["putter"]
    office.publish(office.draft((mover.granted, "")))
    back = grant(mover.service, "accounts")
    assert SAW in office.refusal(office.draft(*adding(grants=[back])))
    attempts.record(Wall.HISTORY, "wait an edition", "without grants", REFUSED)
    office.publish(office.draft((mover.served, ""), (mover.owned, "")))
    returning = adding(owners=[mover.owned], services=[mover.served], grants=[back])
    assert SAW in office.refusal(office.draft(*returning))
    attempts.record(Wall.HISTORY, "wait an edition", "gone", REFUSED)
    future = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    before = office.newest().split("\nin_force: ")[1].split("\n")[0]
    later = (f"\nin_force: {before}\n", f"\nin_force: {future}\n")
    assert SAW in office.refusal(office.draft(*returning, later))
    attempts.record(Wall.HISTORY, "wait an edition", "of the future", REFUSED)
    assert _taken(office, returning, forgetting=True)
    attempts.record(Wall.HISTORY, "wait an edition", "without a history", CONTROL)


# Races.


@pytest.fixture
def histories(office: Office) -> Iterator[tuple[asyncio.AbstractEventLoop, list[Editions]]]:
    """The control chain as two workers hold it, each under its own role."""
    loop = asyncio.new_event_loop()
    urls = [office.house.urls[f"piivault_control_{name}"] for name in ("accounts", "web")]
    databases = [connect(url) for url in urls]
    held = [Editions(ControlChain(database), office.officers()) for database in databases]
    for editions in held:
        loop.run_until_complete(editions.refresh())
    yield loop, held
    for database in databases:
        loop.run_until_complete(database.close())
    loop.close()


async def _touch(editions: Editions, who: Service, compartment: bytes) -> bool:
    call = Call(editions.state(), who, str(uuid4()), repeatable=False)
    try:
        return await History(editions).touch(call, compartment)
    except VaultError as error:
        if error.reason is not Reason.NOT_GRANTED:
            raise
        return False


def test_of_two_first_touches_one_wins(
    office: Office,
    histories: tuple[asyncio.AbstractEventLoop, list[Editions]],
    attempts: Attempts,
) -> None:
    """Two workers at one lock, each about to let the same owner in, many times over."""
    loop, (one, other) = histories
    compartments = office.house.edition.compartments

    async def race(first: str, second: str) -> list[bool]:
        who = Service("racer", "racers", str(uuid4()), "spiffe://oshto.kg/racer", False)
        touches = [
            _touch(one, who, compartments[first].uuid),
            _touch(other, who, compartments[second].uuid),
        ]
        random.shuffle(touches)
        return await asyncio.gather(*touches)

    for _ in range(ROUNDS):
        assert sum(loop.run_until_complete(race("accounts", "web"))) == 1
        attempts.record(Wall.HISTORY, "touch A and B at once", "at the lock", REFUSED)
    for _ in range(3):
        assert all(loop.run_until_complete(race("accounts", "orders")))
        attempts.record(Wall.HISTORY, "touch A and B at once", "a joinable pair", CONTROL)


def _until_told(office: Office, compartment: str, who: str) -> bool:
    """Ask until it is answered, as to one who may ask, or refused for good."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        told = office.told(f"worker-{compartment}", who, _reveal(compartment))
        if told in (Reason.NOT_FOUND, Reason.NOT_GRANTED):
            return told == Reason.NOT_FOUND
    raise AssertionError("it never comes into force")


def test_an_edition_that_comes_into_force_lets_nobody_have_both(
    office: Office, movers: dict[str, Mover], attempts: Attempts
) -> None:
    """Published before either was touched; from one moment on the one, from then on the other.

    Two processes, each with its own clock and its own view of the chain.
    """
    racing = [movers[f"racer-{i}"] for i in range(RIVALS)]
    for mover in racing:  # TLS and certificates, before it counts
        office.told("worker-web", mover.service, records.DescribeRequest(compartment="web"))
        office.tls(mover.second)
    moment = datetime.now(UTC) + timedelta(seconds=2.5)
    before = office.newest().split("\nin_force: ")[1].split("\n")[0]
    changes = [change for m in racing for change in HOW["another service of the owner"](m)]
    text = office.draft(
        *changes, (f"\nin_force: {before}\n", f"\nin_force: {moment.isoformat()}\n")
    )
    office.publish(text)
    at, barrier = moment.timestamp(), threading.Barrier(2 * RIVALS)

    def old(mover: Mover, offset: float) -> bool:
        barrier.wait(PATIENCE)
        time.sleep(max(0.0, at + offset - time.time()))
        return _until_told(office, "web", mover.service)

    def new(mover: Mover) -> bool:
        barrier.wait(PATIENCE)
        time.sleep(max(0.0, at - 0.05 - time.time()))
        return _until_told(office, "accounts", mover.second)

    calls: list[Callable[[], bool]] = []
    for i, mover in enumerate(racing):
        calls += [partial(old, mover, 0.03 * (i / RIVALS - 0.7)), partial(new, mover)]
    answers = at_once(calls, threads=2 * RIVALS)
    touched = office.ledger().touched
    uuids = {c.uuid: c.name for c in office.house.edition.compartments.values()}
    for mover, had_web, had_accounts in zip(racing, answers[::2], answers[1::2], strict=True):
        seen = {uuids[uuid] for uuid in touched[mover.ident]}
        assert seen in ({"web"}, {"accounts"})
        assert had_web + had_accounts == 1
        attempts.record(Wall.HISTORY, "touch A and B as editions change", mover.name, REFUSED)
        attempts.record(Wall.HISTORY, "touch A and B as editions change", "one of them", CONTROL)


def test_of_a_touch_and_a_publication_one_sees_the_other(
    office: Office, movers: dict[str, Mover], attempts: Attempts
) -> None:
    """Raced, again and again, between the worker of the one and control."""
    web = office.house.edition.compartments["web"].uuid
    for i in range(PUBLISHED):
        mover = movers[f"publishee-{i}"]
        body = office.draft(*HOW["the same service"](mover)).encode()
        office.told("worker-web", mover.service, records.DescribeRequest(compartment="web"))
        touching = partial(_touch_late, office, mover, i * 0.04)
        published, touched = at_once([partial(_publishes, office, body), touching])
        on_record = web in office.ledger().touched.get(mover.ident, frozenset())
        assert touched == on_record
        assert published != touched
        result = "publication" if published else "touch"
        attempts.record(Wall.HISTORY, "touch A as B is published", f"{result} won", REFUSED)
    alone = _mover("alone")
    office.publish(office.draft(*adding(
        owners=[alone.owned], services=[alone.served], grants=[alone.granted])))  # fmt: skip
    office.publish(office.draft(*HOW["the same service"](alone)))
    attempts.record(Wall.HISTORY, "touch A as B is published", "nobody touches", CONTROL)


def _publishes(office: Office, body: bytes) -> bool:
    try:
        return office.approve(EDITION, body, "aida").effective
    except grpc.RpcError:
        return False


def _touch_late(office: Office, mover: Mover, delay: float) -> bool:
    time.sleep(delay)
    return office.told("worker-web", mover.service, _reveal("web")) == Reason.NOT_FOUND


# A reset.


def test_one_officer_makes_nothing_forgotten(
    office: Office, resetter: Mover, attempts: Attempts
) -> None:
    """Nor two for one compartment in another, nor twice by the same signatures."""
    how, web = HOW["the same service"](resetter), office.house.edition.compartments["web"].uuid
    body = reset_body(resetter.ident, web, "moved to another team", "1")
    for _ in range(2):
        assert not office.approve(RESET, body, "aida").effective
        attempts.record(Wall.HISTORY, "have history forgotten", "one officer", REFUSED)
    mine = office.approval(RESET, body, "aida")
    for officer, kind, what in (
        ("bakyt", RESET, "in another's name"), ("bakyt", BLOCK, "a signature of another kind"),
    ):  # fmt: skip
        mine.officer = officer
        if kind is BLOCK:
            mine.signature = office.sign(kind, body, officer)[officer]
        assert office.house.refused("officer-aida", mine).reason == Reason.MALFORMED_REQUEST
        attempts.record(Wall.HISTORY, "have history forgotten", what, REFUSED)
    assert SAW in office.refusal(office.draft(*how))
    wrong = office.house.edition.compartments["accounts"].uuid
    for other in (
        reset_body(resetter.ident, wrong, "r", "1"),
        reset_body("piivault", web, "r", "1"),
    ):
        mine = office.approval(RESET, other, "aida")
        assert office.house.refused("officer-aida", mine).reason == Reason.MALFORMED_REQUEST
        attempts.record(Wall.HISTORY, "have history forgotten", "what was never touched", REFUSED)
    assert office.approve(RESET, body, "bakyt").effective
    assert _taken(office, how)
    attempts.record(Wall.HISTORY, "have history forgotten", "two officers", CONTROL)
    attempts.record(Wall.HISTORY, "remember what was reset", "people do", RESIDUAL)
    visitor = office.house.register("web").pseudonym
    deadline = time.monotonic() + PATIENCE
    while web not in office.ledger().touched.get(resetter.ident, frozenset()):
        assert office.told("worker-web", resetter.service, _reveal("web", visitor)) == ""
        assert time.monotonic() < deadline
    ledger = office.ledger()
    signed = office.sign(RESET, body, "aida", "bakyt")
    office.append((RESET, body, sign_off(signed)))
    assert office.ledger().touched[resetter.ident] == ledger.touched[resetter.ident]
    assert statement(RESET, body) in ledger.applied
    attempts.record(Wall.HISTORY, "have history forgotten", "the same signatures again", REFUSED)
    assert SAW in office.refusal(office.draft(*how))
