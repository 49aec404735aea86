"""Walls 2 and 3, the control chain: forged signatures, and what is appended.

Officers sign; a process follows whoever's keys it pins. What somebody else writes behind the last
entry has no effect. What is written before it is tried in test_control_database.py, blocks in
test_control_blocks.py.
"""

from dataclasses import replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from piivault.v1 import policy_service_pb2 as policies

from tests.attack.actors import Actors, adding, at_once, grant, owner, reveal, service
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.forging import by_forgers, flipped, malleated, nonce
from tests.policies import successor
from tests.wire import wait_for
from vault.errors import Reason
from vault.policy import EditionError, compile_successor
from vault.service.bodies import block_body, reset_body, touch_body, unblock_body
from vault.service.ledger import (
    BLOCK,
    EDITION,
    RESET,
    TOUCH,
    UNBLOCK,
    Ledger,
    sign_off,
    signatures_in,
    statement,
)

TARGET = "analytics"


@pytest.fixture(scope="module")
def toucher(actors: Actors) -> str:
    """The id of an owner that touched web."""
    asked = partial(actors.told, "worker-web", "clerk-web", reveal("web"))
    wait_for(lambda: asked() == Reason.NOT_FOUND, what="the policy stands again")
    ledger = actors.chain.ledger()
    assert ledger.newest is not None
    return ledger.newest.owners["clerks-web"]


# Signatures that are none.


def _bodies(actors: Actors, toucher: str) -> dict[str, bytes]:
    """Return a body of each kind that officers sign, which two of them would put into effect."""
    web = actors.house.edition.compartments["web"].uuid
    ledger = actors.chain.ledger()
    block = next(iter(ledger.blocks), statement(BLOCK, b"{}"))
    return {
        EDITION: actors.draft().encode(),
        BLOCK: block_body(TARGET, "an attack", nonce()),
        UNBLOCK: unblock_body(block, "an attack"),
        RESET: reset_body(toucher, web, "an attack", nonce()),
    }


@pytest.mark.parametrize("kind", [EDITION, BLOCK, UNBLOCK, RESET])
def test_a_forged_signature_approves_nothing(
    actors: Actors, toucher: str, attempts: Attempts, kind: str
) -> None:
    """Whoever's certificate hands it in: of another officer, kind, body or key, or not quite."""
    body = _bodies(actors, toucher)[kind]
    ((name, good),) = actors.sign(kind, body, "bakyt").items()
    mallory = Ed25519PrivateKey.generate().sign(statement(kind, body))
    forged: dict[str, tuple[str, bytes]] = {
        "another officer's": (name, actors.sign(kind, body, "aida")["aida"]),
        "for another body": (name, actors.sign(kind, body + b" ", "bakyt")["bakyt"]),
        "by another key": (name, mallory),
        "by nobody we know": ("mallory", mallory),
        "malleated": (name, malleated(good)),
        "cut off": (name, good[:63]),
        "none": (name, b""),
        **{f"for {other}": (name, actors.sign(other, body, "bakyt")["bakyt"])
           for other in (EDITION, BLOCK, UNBLOCK, RESET) if other != kind},
        **{f"byte {at} changed": (name, flipped(good, at, 4)) for at in range(len(good))},
    }  # fmt: skip
    before = actors.chain.ledger().sequence

    def hand_in(who: str, signature: bytes) -> str:
        request = policies.ApproveRequest(kind=kind, body=body, officer=who, signature=signature)
        return actors.refused("control", "officer-aida", request).message

    told = at_once([partial(hand_in, who, signature) for who, signature in forged.values()])
    assert all("doesn't hold for this officer" in message for message in told)
    assert actors.chain.ledger().sequence == before
    for what in forged:
        attempts.record(Wall.EDITION, f"forge an approval: {kind}", what, REFUSED)
    assert actors.chain.ledger().signers(kind, body, {name: good}) == {name}
    attempts.record(Wall.EDITION, f"forge an approval: {kind}", "his own", CONTROL)


@pytest.mark.parametrize("who", ["portal", "clerk-web", "nobody"])
def test_a_good_signature_in_other_hands(actors: Actors, attempts: Attempts, who: str) -> None:
    """Only an officer's certificate hands signatures in."""
    request = actors.approval(BLOCK, block_body(TARGET, "an attack", nonce()), "aida")
    told = actors.told("control", who, request)
    assert told in (Reason.METHOD_NOT_ALLOWED, Reason.IDENTITY_UNKNOWN)
    attempts.record(Wall.EDITION, "hand in an officer's signature", who, REFUSED)
    assert actors.chain.ledger().next(request.kind, request.body, {"aida": request.signature})
    attempts.record(Wall.EDITION, "hand in an officer's signature", "officer-aida", CONTROL)


# The administrator of the control database.


def test_what_the_administrator_appends_has_no_effect(
    actors: Actors, toucher: str, attempts: Attempts
) -> None:
    """Well linked behind the last entry, where nothing contradicts it; and it stops nothing."""
    bodies = _bodies(actors, toucher) | {"permit": b"{}", "": b""}
    before, forged = actors.chain.ledger(), {}
    for kind, body in bodies.items():
        for what, signatures in (
            ("unsigned", b"{}"),
            ("by officers of his own", by_forgers(kind, body, "mallory", "trent")),
            ("in the officers' names", by_forgers(kind, body, "aida", "bakyt")),
            ("no JSON", b"\xff"),
        ):
            forged[f"{kind}: {what}"] = (kind, body, signatures)
    actors.chain.append(*forged.values())
    after = actors.chain.ledger()
    assert after.sequence > before.sequence
    assert (after.editions.keys(), after.blocks.keys()) == (before.editions.keys(),
                                                            before.blocks.keys())  # fmt: skip
    assert (after.touched, after.resets) == (before.touched, before.resets)
    for what in forged:
        attempts.record(Wall.EDITION, "append to the chain", what, REFUSED)
    actors.publish(actors.draft())
    actors.wait()
    attempts.record(Wall.EDITION, "append to the chain", "by officers", CONTROL)


def test_a_forged_touch_only_forbids(actors: Actors, attempts: Attempts) -> None:
    """It needs no signature, so that a worker can write it: nobody gets anything by one."""
    idle = actors.draft(*adding(
        owners=[owner("idles")], services=[service("idle", "idles")], grants=[grant("idle", "web")],
    ))  # fmt: skip
    actors.publish(idle)
    moved = actors.draft((grant("idle", "web"), grant("idle", "accounts")))
    ledger = actors.chain.ledger()
    assert compile_successor(moved, ledger.editions, ledger.touched)
    attempts.record(Wall.HISTORY, "forge a touch", "without it", CONTROL)
    ident = ledger.editions[max(ledger.editions)].owners["idles"]
    web = actors.house.edition.compartments["web"].uuid
    actors.chain.append((TOUCH, touch_body(ident, web), b"{}"))
    assert "what was seen isn't forgotten" in actors.refusal(moved)
    attempts.record(Wall.HISTORY, "forge a touch", "another's, which forbids", RESIDUAL)


def test_every_byte_of_a_signature_in_the_chain_counts(actors: Actors, attempts: Attempts) -> None:
    """Linked anew, so that nothing but the signature can tell; the edition then isn't one."""
    entries = actors.chain.read()
    at = max(i for i, entry in enumerate(entries) if entry.kind == EDITION)
    before = Ledger(actors.chain.keys()).follow(entries[:at])
    ((name, good),) = list(signatures_in(entries[at].signatures).items())[:1]
    for byte in range(len(good)):
        changed = replace(entries[at], signatures=sign_off({name: flipped(good, byte, 4)}))
        assert before.follow([changed]).editions.keys() == before.editions.keys()
        attempts.record(Wall.EDITION, "change a signature in the chain", f"byte {byte}", REFUSED)
    assert len(before.follow([entries[at]]).editions) == len(before.editions) + 1
    attempts.record(Wall.EDITION, "change a signature in the chain", "none", CONTROL)


def test_an_officers_key_can_not_be_taken_out(actors: Actors, attempts: Attempts) -> None:
    """Not even once another officer signed the newest edition: it rests on those before it."""
    actors.publish(actors.draft(), "bakyt")
    entries, officers = actors.chain.read(), actors.chain.keys()
    left = {name: key for name, key in officers.items() if name != "aida"}
    assert Ledger(left).follow(entries).newest is None
    attempts.record(Wall.EDITION, "go on signing with a lost key", "aida", RESIDUAL)


def test_a_signature_names_no_house(actors: Actors, attempts: Attempts) -> None:
    """Where the same officers have the same keys; an edition names the one before it, at least."""
    first = actors.chain.read()[0]
    assert first.kind == EDITION
    elsewhere = Ledger(actors.chain.keys()).follow([first])
    body = block_body("orders", "meant for another house", nonce())
    entry = elsewhere.next(BLOCK, body, actors.sign(BLOCK, body, "aida"))
    assert elsewhere.follow([entry]).blocks
    attempts.record(Wall.EDITION, "replay a signature in another house", "a block", RESIDUAL)
    foreign = actors.draft().encode()
    with pytest.raises(EditionError):
        elsewhere.next(EDITION, foreign, actors.sign(EDITION, foreign, "aida", "bakyt"))
    attempts.record(Wall.EDITION, "replay a signature in another house", "an edition", REFUSED)
    follows = successor(first.body.decode()).encode()
    assert elsewhere.next(EDITION, follows, actors.sign(EDITION, follows, "aida"))
    attempts.record(Wall.EDITION, "replay a signature in another house", "its own", CONTROL)
