"""Wall 2, a block: it holds by every name, one officer lifts none, and nothing counts twice."""

import pytest

from tests.attack.actors import Actors, adding, grant, owner, reveal, service, spiffe_of
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.forging import nonce
from tests.wire import wait_for
from vault.errors import Reason
from vault.policy import compile_successor
from vault.service.bodies import block_body, unblock_body
from vault.service.ledger import BLOCK, EDITION, TOUCH, UNBLOCK, sign_off, statement

TARGET, SECOND, THIRD = "target", "target-two", "target-three"
OWNER = "targets"


@pytest.fixture(scope="module")
def actors(actors: Actors) -> Actors:
    """And services of which nobody else makes use."""
    names = (TARGET, SECOND, THIRD)
    served = [service(name, OWNER) for name in names]
    granted = [grant(name, "web") for name in names]
    actors.publish(actors.draft(*adding(owners=[owner(OWNER)], services=served, grants=granted)))
    actors.wait()
    return actors


def _told(actors: Actors, who: str) -> str:
    return actors.told("worker-web", who, reveal("web"))


def _until(actors: Actors, who: str, expected: str) -> None:
    """Wait until the worker says so: it looks at the chain each second."""
    wait_for(lambda: _told(actors, who) == expected, what=f"{who} is told {expected}")


def _block(actors: Actors, who: str) -> bytes:
    _until(actors, who, Reason.NOT_FOUND)
    body = block_body(who, "a stolen certificate", nonce())
    assert actors.approve(BLOCK, body, "aida").effective
    _until(actors, who, Reason.SERVICE_BLOCKED)
    return body


def _lift(actors: Actors, who: str, body: bytes) -> None:
    lifting = unblock_body(statement(BLOCK, body), "a new certificate")
    assert actors.approve(UNBLOCK, lifting, "aida", "bakyt").effective
    _until(actors, who, Reason.NOT_FOUND)


@pytest.fixture(scope="module")
def blocked(actors: Actors) -> bytes:
    """Block a service for good; return the body of the block."""
    return _block(actors, TARGET)


def test_a_block_holds_by_every_name(actors: Actors, blocked: bytes, attempts: Attempts) -> None:
    """In an edition that renames the service, and in one that gives its name another identity."""
    for what, line, who in (
        ("a new name", service("target-new", OWNER, spiffe=spiffe_of(TARGET)), "target-new"),
        ("a new SPIFFE id", service(TARGET, OWNER, spiffe=spiffe_of("target/new")), TARGET),
    ):
        text = actors.draft((service(TARGET, OWNER), line),
                            (grant(TARGET, "web"), grant(who, "web")))  # fmt: skip
        ledger = actors.chain.ledger()
        edition = compile_successor(text, ledger.editions, ledger.touched)
        assert ledger.is_blocked(edition.services[who])
        attempts.record(Wall.EDITION, "go around a block", what, REFUSED)
    assert _told(actors, SECOND) == Reason.NOT_FOUND
    attempts.record(Wall.EDITION, "go around a block", "who isn't blocked", CONTROL)


def test_a_block_ends_with_both_name_and_identity(
    actors: Actors, blocked: bytes, attempts: Attempts
) -> None:
    """An edition with both new brings the same program back, by one officer and the CA."""
    text = actors.draft((service(TARGET, OWNER), service("fresh", OWNER)),
                        (grant(TARGET, "web"), grant("fresh", "web")))  # fmt: skip
    ledger = actors.chain.ledger()
    edition = compile_successor(text, ledger.editions, ledger.touched)
    assert ledger.needed(EDITION, text.encode()) == 1
    assert not ledger.is_blocked(edition.services["fresh"])
    attempts.record(Wall.EDITION, "go around a block", "new name and SPIFFE id", RESIDUAL)


@pytest.fixture
def stolen(actors: Actors) -> bytes:
    """Block a service that no other test has blocked by now; return the body of the block."""
    return _block(actors, THIRD)


def test_one_officer_lifts_no_block(actors: Actors, stolen: bytes, attempts: Attempts) -> None:
    """Nor by signing twice, nor in another's name."""
    lifting = unblock_body(statement(BLOCK, stolen), "it was nothing")
    for _ in range(2):
        assert not actors.approve(UNBLOCK, lifting, "aida").effective
        attempts.record(Wall.EDITION, "lift a block alone", "aida, again and again", REFUSED)
    hers = actors.sign(UNBLOCK, lifting, "aida")["aida"]
    for signatures in (
        {"aida": hers},
        {"aida": hers, "aida2": hers},
        {"aida": hers, "bakyt": hers},
    ):
        actors.chain.append((UNBLOCK, lifting, sign_off(signatures)))
    assert statement(BLOCK, stolen) in actors.chain.ledger().blocks
    attempts.record(Wall.EDITION, "lift a block alone", "in the database", REFUSED)
    assert actors.approve(UNBLOCK, lifting, "bakyt").effective
    _until(actors, THIRD, Reason.NOT_FOUND)
    attempts.record(Wall.EDITION, "lift a block alone", "with a second officer", CONTROL)


def test_what_took_effect_once_takes_effect_no_more(
    actors: Actors, stolen: bytes, attempts: Attempts
) -> None:
    """Entries copied to a later place, well linked: signatures hold, and count once."""
    _lift(actors, THIRD, stolen)
    of_kind = {entry.kind: entry for entry in actors.chain.read() if entry.kind != TOUCH}
    assert {EDITION, BLOCK, UNBLOCK} <= of_kind.keys()
    newest, blocks = actors.newest(), set(actors.chain.ledger().blocks)
    actors.chain.append(*((kind, entry.body, entry.signatures) for kind, entry in of_kind.items()))
    assert (set(actors.chain.ledger().blocks), actors.newest()) == (blocks, newest)
    for kind in of_kind:
        attempts.record(Wall.EDITION, "replay an entry", kind, REFUSED)
    again = _block(actors, THIRD)
    attempts.record(Wall.EDITION, "replay an entry", "a new one", CONTROL)
    actors.chain.append((UNBLOCK, of_kind[UNBLOCK].body, of_kind[UNBLOCK].signatures))
    assert statement(BLOCK, again) in actors.chain.ledger().blocks
    attempts.record(Wall.EDITION, "replay an entry", "an unblock, for a later block", REFUSED)
    _lift(actors, THIRD, again)
