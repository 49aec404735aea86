"""Walls 2 and 3, the control chain edited by its administrator.

Hashes have no key: an administrator may link a whole chain anew, and is found by what each
compartment's own database remembers. Whoever has no database remembers nothing.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest
from piivault.v1 import pseudonym_service_pb2 as pseudonyms

from tests.attack.actors import KIOSK, Actors
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.chain import relinked
from tests.attack.forging import by_forgers, nonce
from tests.people import COMPARTMENTS
from tests.wire import wait_for
from vault.dev.local import serving
from vault.errors import Reason
from vault.opening import StartError
from vault.service.bodies import block_body, touch_body, unblock_body
from vault.service.editions import Editions
from vault.service.ledger import (
    BLOCK,
    EDITION,
    TOUCH,
    UNBLOCK,
    ControlChainError,
    Entry,
    signatures_in,
    statement,
)
from vault.store.control import ControlChain
from vault.store.engine import connect


@pytest.fixture(scope="module")
def actors(actors: Actors) -> Actors:
    """And one more edition."""
    actors.publish(actors.draft())
    return actors


# What is done to the chain, given its entries as they are.
Tampering = Callable[[Actors, list[Entry]], Sequence[Entry]]


def _place(entries: Sequence[Entry], kind: str) -> int:
    """Return where the last entry of a kind is that isn't the chain's last."""
    return max(i for i, entry in enumerate(entries[:-1]) if entry.kind == kind)


def _without(kind: str) -> Tampering:
    def tamper(actors: Actors, entries: list[Entry]) -> list[Entry]:
        del entries[_place(entries, kind)]
        return entries

    return tamper


def _wider(actors: Actors, entries: list[Entry]) -> list[Entry]:
    """Give a service more than officers signed, in the newest edition."""
    at = _place(entries, EDITION)
    body = entries[at].body.replace(
        b"purpose: newsletter, compartment: accounts, operations: [rev",
        b"purpose: account, compartment: accounts, operations: [rev",
    )
    assert body != entries[at].body
    entries[at] = replace(entries[at], body=body)
    return entries


def _unsigned(actors: Actors, entries: list[Entry]) -> list[Entry]:
    at = _place(entries, EDITION)
    entries[at] = replace(entries[at], signatures=b"{}")
    return entries


def _swapped(actors: Actors, entries: list[Entry]) -> list[Entry]:
    at = _place(entries, TOUCH)
    one, other = entries[at - 1], entries[at]
    entries[at - 1 : at + 1] = [
        replace(other, sequence=one.sequence), replace(one, sequence=other.sequence)
    ]  # fmt: skip
    return entries


def _inserted(actors: Actors, entries: list[Entry]) -> list[Entry]:
    entries.insert(2, replace(entries[1], body=touch_body("somebody", bytes(16))))
    return entries


def _renewed(actors: Actors, entries: list[Entry]) -> list[Entry]:
    """Build the same chain anew, with officers of one's own."""
    kept = [e for e in entries if e.kind in (EDITION, TOUCH)]
    return [
        replace(e, signatures=by_forgers(e.kind, e.body, *signatures_in(e.signatures)))
        for e in kept
    ]


def _linked(tamper: Tampering) -> Tampering:
    """Link everything anew afterwards."""
    return lambda actors, entries: relinked(tamper(actors, entries))


def _cut(count: int) -> Tampering:
    return lambda actors, entries: entries[:-count]


ALTERED, GONE = "altered", "cut off or replaced"
TAMPERED: dict[str, tuple[Tampering, str]] = {
    "an edition widened": (_wider, ALTERED),
    "an edition widened, linked anew": (_linked(_wider), GONE),
    "a signature taken off": (_unsigned, ALTERED),
    "a signature taken off, linked anew": (_linked(_unsigned), GONE),
    "a touch taken out": (_without(TOUCH), ALTERED),
    "a touch taken out, linked anew": (_linked(_without(TOUCH)), GONE),
    "an edition taken out, linked anew": (_linked(_without(EDITION)), GONE),
    "two touches swapped": (_swapped, ALTERED),
    "two touches swapped, linked anew": (_linked(_swapped), GONE),
    "a touch put in, linked anew": (_linked(_inserted), GONE),
    "its beginning cut off": (lambda actors, entries: entries[1:], ALTERED),
    "its end cut off": (_cut(1), GONE),
    "all but the first edition cut off": (lambda actors, entries: entries[:1], GONE),
    "built anew by other officers": (_linked(_renewed), "No edition"),
    "nothing left": (lambda actors, entries: [], "No edition"),
}  # fmt: skip


def _broker_says(actors: Actors, expected: str) -> None:
    request = pseudonyms.IssueRequest(compartment="web", root_id=bytes(16))
    what = f"the broker says {expected}"
    wait_for(lambda: actors.told("broker", KIOSK, request) == expected, what=what)


@pytest.fixture(scope="module")
def known(actors: Actors) -> None:
    """Have every running process see the chain's end, which nobody moves from now on.

    Else one of them could follow what is written here only for a moment, and would refuse what is
    written back: rightly so. The broker has no database that would tell: a block tells.
    """
    body = block_body(KIOSK, "stolen", nonce())
    assert actors.approve(BLOCK, body, "aida").effective
    _broker_says(actors, Reason.SERVICE_BLOCKED)
    lifting = unblock_body(statement(BLOCK, body), "the test is over")
    assert actors.approve(UNBLOCK, lifting, "aida", "bakyt").effective
    _broker_says(actors, "")
    end, query = actors.chain.read()[-1], "SELECT ledger_sequence, ledger_head FROM compartment"

    def noted() -> bool:
        seen = [actors.house.sql(name, query) for name in COMPARTMENTS]
        return all(rows == [(end.sequence, end.hash)] for rows in seen)

    wait_for(noted, what="each worker notes what it saw")


def test_a_block_holds_at_the_broker(actors: Actors, known: None, attempts: Attempts) -> None:
    """As the fixture saw: nothing is issued to who is blocked, and again when they aren't."""
    attempts.record(Wall.EDITION, "act while blocked", "kiosk at the broker", REFUSED)
    assert actors.issue(KIOSK, bytes(16), "web").pseudonym
    attempts.record(Wall.EDITION, "act while blocked", "unblocked", CONTROL)


@contextmanager
def _tampered(actors: Actors, tamper: Tampering) -> Iterator[list[Entry]]:
    """Write another chain, and write back what was there."""
    genuine = actors.chain.read()
    actors.chain.write(tamper(actors, list(genuine)))
    try:
        yield genuine
    finally:
        actors.chain.write(genuine)


def _start(actors: Actors, process: str) -> bool:
    with serving(actors.house.settings_of(process, SERVER__ADDRESS="127.0.0.1:0")) as port:
        return bool(port)


@pytest.mark.parametrize(("tamper", "says"), TAMPERED.values(), ids=TAMPERED)
def test_a_worker_refuses_a_chain_that_its_administrator_edited(
    actors: Actors,
    known: None,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    tamper: Tampering,
    says: str,
) -> None:
    """When it starts: it reads all of the chain, and knows how far it was before."""
    with _tampered(actors, tamper), pytest.raises(StartError, match=says):
        _start(actors, "worker-web")
    attempts.record(Wall.HISTORY, "edit the control chain", request.node.name, REFUSED)


def test_a_worker_starts_on_the_chain_that_it_knows(
    actors: Actors, known: None, attempts: Attempts
) -> None:
    assert _start(actors, "worker-web")
    attempts.record(Wall.HISTORY, "edit the control chain", "as it was", CONTROL)


def test_a_process_without_a_database_of_its_own_remembers_nothing(
    actors: Actors, known: None, attempts: Attempts
) -> None:
    """A broker that starts on a shortened chain believes it. Workers of that moment don't."""
    with _tampered(actors, _cut(1)):
        for process in ("broker", "control", "auditor"):
            assert _start(actors, process)
            attempts.record(Wall.HISTORY, "start on a shortened chain", process, RESIDUAL)
    with (
        _tampered(actors, _linked(_renewed)),
        pytest.raises(StartError, match="No edition"),
    ):
        _start(actors, "broker")
    attempts.record(Wall.HISTORY, "start on a chain of other officers", "broker", REFUSED)
    assert _start(actors, "broker")
    attempts.record(Wall.HISTORY, "start on a chain of other officers", "broker", CONTROL)


def test_the_end_that_nobody_saw_can_be_cut_off(
    actors: Actors, known: None, attempts: Attempts
) -> None:
    """What a process noted is missed; what came behind it isn't."""
    before, last = actors.chain.read()[-2:]

    async def look(at: Entry) -> None:
        database = connect(actors.house.urls["piivault_control_web"])
        try:
            editions = Editions(ControlChain(database), actors.chain.keys())
            await editions.check_seen(at.sequence, at.hash)
        finally:
            await database.close()

    with _tampered(actors, _cut(1)):
        asyncio.run(look(before))
        attempts.record(Wall.HISTORY, "cut the chain's end off", "unseen", RESIDUAL)
        with pytest.raises(ControlChainError, match=GONE):
            asyncio.run(look(last))
        attempts.record(Wall.HISTORY, "cut the chain's end off", "seen", REFUSED)
    asyncio.run(look(last))
    attempts.record(Wall.HISTORY, "cut the chain's end off", "not at all", CONTROL)
