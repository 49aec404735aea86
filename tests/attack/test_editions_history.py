"""Wall 3, history: what an owner once touched counts with what it is granted next.

Owners of our own making begin in `web`, touch it or don't, and are moved to `accounts`, which isn't
joinable with it. Whoever touched is refused; whoever didn't is moved. Races are in
test_editions_races.py.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from piivault.v1 import record_service_pb2 as records
from piivault.v1 import types_pb2

from tests.attack.actors import Actors, adding, grant, reveal
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.movers import HOW, How, Mover, TextChange, let_in, mover
from tests.people import NOBODY
from tests.wire import wait_for
from vault.errors import Reason
from vault.policy import WORKERS, compile_successor
from vault.service.bodies import reset_body
from vault.service.ledger import BLOCK, RESET, sign_off, statement

SAW = "what was seen isn't forgotten"


@pytest.fixture(scope="module")
def touched() -> Mover:
    """Has asked for a record in web, whatever came of it."""
    return mover("toucher")


@pytest.fixture(scope="module")
def untouched() -> Mover:
    """Had the same grant, and never used it."""
    return mover("idler")


@pytest.fixture(scope="module")
def resetter() -> Mover:
    return mover("resetter")


@pytest.fixture(scope="module")
def movers(touched: Mover, untouched: Mover, resetter: Mover) -> dict[str, Mover]:
    """All that begin in web, and have done something there."""
    others = map(mover, ("putter", "misser", "describer", "waiter"))
    known = (touched, untouched, resetter, *others)
    return {m.name: m for m in known}


@pytest.fixture(scope="module")
def actors(actors: Actors, movers: dict[str, Mover]) -> Actors:
    """Officers who let all of them begin in web."""
    let_in(actors, movers.values())
    visitor = actors.house.register("web").pseudonym
    readers = (("toucher", visitor), ("resetter", visitor), ("waiter", visitor), ("misser", NOBODY))
    for name, pseudonym in readers:
        told = actors.told("worker-web", movers[name].service, reveal("web", pseudonym))
        assert told == ("" if pseudonym == visitor else Reason.NOT_FOUND)
    agent = types_pb2.FieldValue(name="user_agent", value="curl")
    put = records.RecordServicePutRequest(
        compartment="web", purpose="statistics", pseudonym=visitor, fields=[agent]
    )
    assert actors.told("worker-web", movers["putter"].service, put) == ""
    described = records.DescribeRequest(compartment="web", purpose="statistics")
    assert actors.told("worker-web", movers["describer"].service, described) == ""
    return actors


def _taken(actors: Actors, changes: Sequence[TextChange], *, forgetting: bool = False) -> bool:
    """Tell whether control would take an edition; with its history, or as if it had none."""
    ledger = actors.chain.ledger()
    touched = {} if forgetting else ledger.touched
    return bool(compile_successor(actors.draft(*changes), ledger.editions, touched))


@pytest.mark.parametrize("how", HOW.values(), ids=HOW)
def test_who_saw_the_one_is_not_given_the_other(
    actors: Actors,
    touched: Mover,
    untouched: Mover,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    how: How,
) -> None:
    """Whatever it is called, whatever it shows, whatever it would do there."""
    assert SAW in actors.refusal(actors.draft(*how(touched)))
    attempts.record(Wall.HISTORY, "read A, then be granted B", request.node.name, REFUSED)
    assert _taken(actors, how(untouched))
    attempts.record(Wall.HISTORY, "read A, then be granted B", "who never touched", CONTROL)
    assert _taken(actors, how(touched), forgetting=True)
    attempts.record(Wall.HISTORY, "read A, then be granted B", "without a history", CONTROL)


@pytest.mark.parametrize("name", ["putter", "misser"])
def test_whatever_was_done_there_was_a_touch(
    actors: Actors, movers: dict[str, Mover], attempts: Attempts, name: str
) -> None:
    """A write, and a question that found nobody; but not a look at one's own grants."""
    how = HOW["the same service"]
    assert SAW in actors.refusal(actors.draft(*how(movers[name])))
    attempts.record(Wall.HISTORY, "touch without reading", name, REFUSED)
    assert _taken(actors, how(movers["describer"]))
    attempts.record(Wall.HISTORY, "touch without reading", "Describe", CONTROL)


def test_an_edition_in_between_does_not_make_it_forgotten(
    actors: Actors, movers: dict[str, Mover], attempts: Attempts
) -> None:
    """Granted nothing for an edition, or gone from one, or under an edition of the future."""
    waiter = movers["waiter"]
    actors.publish(actors.draft((waiter.granted, "")))
    back = grant(waiter.service, "accounts")
    assert SAW in actors.refusal(actors.draft(*adding(grants=[back])))
    attempts.record(Wall.HISTORY, "wait an edition", "without grants", REFUSED)
    actors.publish(actors.draft((waiter.served, ""), (waiter.owned, "")))
    returning = adding(owners=[waiter.owned], services=[waiter.served], grants=[back])
    assert SAW in actors.refusal(actors.draft(*returning))
    attempts.record(Wall.HISTORY, "wait an edition", "gone", REFUSED)
    future = (datetime.now(UTC) + timedelta(days=365)).isoformat()
    before = actors.newest().split("\nin_force: ")[1].split("\n")[0]
    later = (f"\nin_force: {before}\n", f"\nin_force: {future}\n")
    assert SAW in actors.refusal(actors.draft(*returning, later))
    attempts.record(Wall.HISTORY, "wait an edition", "of the future", REFUSED)
    assert _taken(actors, returning, forgetting=True)
    attempts.record(Wall.HISTORY, "wait an edition", "without a history", CONTROL)


# A reset.


def test_one_officer_makes_nothing_forgotten(
    actors: Actors, resetter: Mover, attempts: Attempts
) -> None:
    """Nor two for one compartment in another, nor twice by the same signatures."""
    how, web = HOW["the same service"](resetter), actors.house.edition.compartments["web"].uuid
    body = reset_body(resetter.ident, web, "moved to another team", "1")
    for _ in range(2):
        assert not actors.approve(RESET, body, "aida").effective
        attempts.record(Wall.HISTORY, "have history forgotten", "one officer", REFUSED)
    mine = actors.approval(RESET, body, "aida")
    for officer, kind, what in (
        ("bakyt", RESET, "in another's name"), ("bakyt", BLOCK, "a signature of another kind"),
    ):  # fmt: skip
        mine.officer = officer
        if kind is BLOCK:
            mine.signature = actors.sign(kind, body, officer)[officer]
        assert actors.house.refused("officer-aida", mine).reason == Reason.MALFORMED_REQUEST
        attempts.record(Wall.HISTORY, "have history forgotten", what, REFUSED)
    assert SAW in actors.refusal(actors.draft(*how))
    wrong = actors.house.edition.compartments["accounts"].uuid
    for other in (
        reset_body(resetter.ident, wrong, "r", "1"),
        reset_body(WORKERS, web, "r", "1"),
    ):
        mine = actors.approval(RESET, other, "aida")
        assert actors.house.refused("officer-aida", mine).reason == Reason.MALFORMED_REQUEST
        attempts.record(Wall.HISTORY, "have history forgotten", "what was never touched", REFUSED)
    assert actors.approve(RESET, body, "bakyt").effective
    assert _taken(actors, how)
    attempts.record(Wall.HISTORY, "have history forgotten", "two officers", CONTROL)
    attempts.record(Wall.HISTORY, "remember what was reset", "people do", RESIDUAL)
    visitor = actors.house.register("web").pseudonym

    def noted() -> bool:
        asked = reveal("web", visitor)
        assert actors.told("worker-web", resetter.service, asked) == ""
        return web in actors.chain.ledger().touched.get(resetter.ident, frozenset())

    wait_for(noted, what="a worker notes a touch again")
    ledger = actors.chain.ledger()
    signed = actors.sign(RESET, body, "aida", "bakyt")
    actors.chain.append((RESET, body, sign_off(signed)))
    assert actors.chain.ledger().touched[resetter.ident] == ledger.touched[resetter.ident]
    assert statement(RESET, body) in ledger.applied
    attempts.record(Wall.HISTORY, "have history forgotten", "the same signatures again", REFUSED)
    assert SAW in actors.refusal(actors.draft(*how))
