"""Wall 3, history: first touches and editions at once; of two that don't go together one wins."""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import uuid4

import grpc
import pytest
from piivault.v1 import record_service_pb2 as records

from tests.attack.actors import Actors, adding, at_once, reveal
from tests.attack.attempts import CONTROL, REFUSED, Attempts, Wall
from tests.attack.movers import HOW, Mover, let_in, mover
from tests.wire import PATIENCE, wait_for
from vault.errors import Reason, VaultError
from vault.policy import Service
from vault.service.call import Call
from vault.service.editions import Editions
from vault.service.history import History
from vault.service.ledger import EDITION
from vault.store.control import ControlChain
from vault.store.engine import connect

ROUNDS = 30  # of the race at the lock itself
RIVALS = 10  # owners that race through two workers at the moment when an edition comes into force
PUBLISHED = 6  # owners that race with their own move


@pytest.fixture
def histories(actors: Actors) -> Iterator[tuple[asyncio.AbstractEventLoop, list[Editions]]]:
    """The control chain as two workers hold it, each under its own role."""
    loop = asyncio.new_event_loop()
    urls = [actors.house.urls[f"piivault_control_{name}"] for name in ("accounts", "web")]
    databases = [connect(url) for url in urls]
    held = [Editions(ControlChain(database), actors.chain.keys()) for database in databases]
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
    actors: Actors,
    histories: tuple[asyncio.AbstractEventLoop, list[Editions]],
    attempts: Attempts,
) -> None:
    """Two workers at one lock, each about to let the same owner in, many times over."""
    loop, (one, other) = histories
    compartments = actors.house.edition.compartments

    async def race(first: str, second: str) -> list[bool]:
        who = Service("racer", "racers", str(uuid4()), "spiffe://oshto.kg/racer", False, False)
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


def _until_told(actors: Actors, compartment: str, who: str) -> bool:
    """Ask until it is answered, as to one who may ask, or refused for good."""
    answers = (Reason.NOT_FOUND, Reason.NOT_GRANTED)
    told: list[str] = []

    def decided() -> bool:
        told.append(actors.told(f"worker-{compartment}", who, reveal(compartment)))
        return told[-1] in answers

    wait_for(decided, what="it comes into force", pause=0)
    return told[-1] == Reason.NOT_FOUND


def test_an_edition_that_comes_into_force_lets_nobody_have_both(
    actors: Actors, attempts: Attempts
) -> None:
    """Published before either was touched; from one moment on the one, from then on the other.

    Two processes, each with its own clock and its own view of the chain.
    """
    racing = [mover(f"racer-{i}") for i in range(RIVALS)]
    let_in(actors, racing)
    for each in racing:  # TLS and certificates, before it counts
        actors.told("worker-web", each.service, records.DescribeRequest(compartment="web"))
        actors.tls(each.second)
    moment = datetime.now(UTC) + timedelta(seconds=2.5)
    before = actors.newest().split("\nin_force: ")[1].split("\n")[0]
    changes = [change for m in racing for change in HOW["another service of the owner"](m)]
    text = actors.draft(
        *changes, (f"\nin_force: {before}\n", f"\nin_force: {moment.isoformat()}\n")
    )
    actors.publish(text)
    at, barrier = moment.timestamp(), threading.Barrier(2 * RIVALS)

    def old(each: Mover, offset: float) -> bool:
        barrier.wait(PATIENCE)
        time.sleep(max(0.0, at + offset - time.time()))
        return _until_told(actors, "web", each.service)

    def new(each: Mover) -> bool:
        barrier.wait(PATIENCE)
        time.sleep(max(0.0, at - 0.05 - time.time()))
        return _until_told(actors, "accounts", each.second)

    calls: list[Callable[[], bool]] = []
    for i, each in enumerate(racing):
        calls += [partial(old, each, 0.03 * (i / RIVALS - 0.7)), partial(new, each)]
    answers = at_once(calls, threads=2 * RIVALS)
    touched = actors.chain.ledger().touched
    uuids = {c.uuid: c.name for c in actors.house.edition.compartments.values()}
    for each, had_web, had_accounts in zip(racing, answers[::2], answers[1::2], strict=True):
        seen = {uuids[uuid] for uuid in touched[each.ident]}
        assert seen in ({"web"}, {"accounts"})
        assert had_web + had_accounts == 1
        attempts.record(Wall.HISTORY, "touch A and B as editions change", each.name, REFUSED)
        attempts.record(Wall.HISTORY, "touch A and B as editions change", "one of them", CONTROL)


def test_of_a_touch_and_a_publication_one_sees_the_other(
    actors: Actors, attempts: Attempts
) -> None:
    """Raced, again and again, between the worker of the one and control."""
    web = actors.house.edition.compartments["web"].uuid
    moving = [mover(f"publishee-{i}") for i in range(PUBLISHED)]
    let_in(actors, moving)
    for i, moved in enumerate(moving):
        body = actors.draft(*HOW["the same service"](moved)).encode()
        actors.told("worker-web", moved.service, records.DescribeRequest(compartment="web"))
        touching = partial(_touch_late, actors, moved, i * 0.04)
        published, touched = at_once([partial(_publishes, actors, body), touching])
        on_record = web in actors.chain.ledger().touched.get(moved.ident, frozenset())
        assert touched == on_record
        assert published != touched
        result = "publication" if published else "touch"
        attempts.record(Wall.HISTORY, "touch A as B is published", f"{result} won", REFUSED)
    alone = mover("alone")
    actors.publish(actors.draft(*adding(
        owners=[alone.owned], services=[alone.served], grants=[alone.granted])))  # fmt: skip
    actors.publish(actors.draft(*HOW["the same service"](alone)))
    attempts.record(Wall.HISTORY, "touch A as B is published", "nobody touches", CONTROL)


def _publishes(actors: Actors, body: bytes) -> bool:
    approval = actors.approval(EDITION, body, "aida")
    try:
        return bool(actors.house.ask("officer-aida", approval).effective)
    except grpc.RpcError:
        return False


def _touch_late(actors: Actors, who: Mover, delay: float) -> bool:
    time.sleep(delay)
    return actors.told("worker-web", who.service, reveal("web")) == Reason.NOT_FOUND
