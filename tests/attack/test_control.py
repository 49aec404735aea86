"""Walls 2 and 3, the control chain: forged and replayed signatures, blocks, and what is appended.

Officers sign; a process follows whoever's keys it pins. What somebody else writes behind the last
entry has no effect. What is written before it is tried in test_control_database.py.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from piivault.v1 import policy_service_pb2 as policies
from piivault.v1 import record_service_pb2 as records

from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.office import (
    FIELD,
    PURPOSE,
    Office,
    adding,
    at_once,
    grant,
    owner,
    service,
    spiffe_of,
)
from tests.policies import successor
from tests.split import SplitHouse
from tests.wire import PATIENCE
from vault.errors import Reason
from vault.policy import EditionError, compile_successor
from vault.service.ledger import (
    BLOCK,
    EDITION,
    RESET,
    TOUCH,
    UNBLOCK,
    Ledger,
    block_body,
    reset_body,
    sign_off,
    signatures_in,
    statement,
    touch_body,
    unblock_body,
)

ORDER = 2**252 + 27742317777372353535851937790883648493  # of ed25519's group (RFC 8032)
TARGET, SECOND = "target", "target-two"
OWNER = "targets"


@pytest.fixture(scope="module")
def office(split_house: SplitHouse) -> Iterator[Office]:
    """Officers, and a service of which nobody else makes use."""
    made = Office(split_house)
    made.settle()
    made.publish(
        made.draft(
            *adding(
                owners=[owner(OWNER)],
                services=[service(TARGET, OWNER), service(SECOND, OWNER)],
                grants=[grant(TARGET, "web"), grant(SECOND, "web")],
            )
        )
    )
    made.wait()
    assert _told(made) == Reason.NOT_FOUND  # so that there is a touch to be taken back
    yield made
    made.close()


def _nonce() -> str:
    return os.urandom(16).hex()


def _told(office: Office, who: str = TARGET) -> str:
    request = records.RevealRequest(
        compartment="web", purpose=PURPOSE["web"], pseudonym=f"psn_{'A' * 43}",
        fields=[FIELD["web"]])  # fmt: skip
    return office.told("worker-web", who, request)


def _until(office: Office, expected: str, who: str = TARGET) -> None:
    """Wait until the worker says so: it looks at the chain each second."""
    deadline = time.monotonic() + PATIENCE
    while _told(office, who) != expected:
        assert time.monotonic() < deadline, f"never {expected}"
        time.sleep(0.05)


# Signatures that are none.


def _bodies(office: Office) -> dict[str, bytes]:
    """Return a body of each kind that officers sign, which two of them would put into effect."""
    web = office.house.edition.compartments["web"].uuid
    ledger = office.ledger()
    touched = next(o for o, uuids in ledger.touched.items() if web in uuids and len(o) == 36)
    block = next(iter(ledger.blocks), statement(BLOCK, b"{}"))
    return {
        EDITION: office.draft().encode(),
        BLOCK: block_body(TARGET, "an attack", _nonce()),
        UNBLOCK: unblock_body(block, "an attack"),
        RESET: reset_body(touched, web, "an attack", _nonce()),
    }


def _malleated(signature: bytes) -> bytes:
    other = int.from_bytes(signature[32:], "little") + ORDER
    return signature[:32] + other.to_bytes(32, "little")


def _flipped(signature: bytes, at: int) -> bytes:
    changed = bytearray(signature)
    changed[at] ^= 0x10
    return bytes(changed)


@pytest.mark.parametrize("kind", [EDITION, BLOCK, UNBLOCK, RESET])
def test_a_forged_signature_approves_nothing(office: Office, attempts: Attempts, kind: str) -> None:
    """Whoever's certificate hands it in: of another officer, kind, body or key, or not quite."""
    body = _bodies(office)[kind]
    ((name, good),) = office.sign(kind, body, "bakyt").items()
    mallory = Ed25519PrivateKey.generate().sign(statement(kind, body))
    forged: dict[str, tuple[str, bytes]] = {
        "another officer's": (name, office.sign(kind, body, "aida")["aida"]),
        "for another body": (name, office.sign(kind, body + b" ", "bakyt")["bakyt"]),
        "by another key": (name, mallory),
        "by nobody we know": ("mallory", mallory),
        "malleated": (name, _malleated(good)),
        "cut off": (name, good[:63]),
        "none": (name, b""),
        **{f"for {other}": (name, office.sign(other, body, "bakyt")["bakyt"])
           for other in (EDITION, BLOCK, UNBLOCK, RESET) if other != kind},
        **{f"byte {at} changed": (name, _flipped(good, at)) for at in range(len(good))},
    }  # fmt: skip
    before = office.ledger().sequence

    def hand_in(who: str, signature: bytes) -> str:
        request = policies.ApproveRequest(kind=kind, body=body, officer=who, signature=signature)
        return office.refused("control", "officer-aida", request).message

    told = at_once([partial(hand_in, who, signature) for who, signature in forged.values()])
    assert all("doesn't hold for this officer" in message for message in told)
    assert office.ledger().sequence == before
    for what in forged:
        attempts.record(Wall.EDITION, f"forge an approval: {kind}", what, REFUSED)
    assert office.ledger().signers(kind, body, {name: good}) == {name}
    attempts.record(Wall.EDITION, f"forge an approval: {kind}", "his own", CONTROL)


@pytest.mark.parametrize("who", ["portal", "clerk-web", "nobody"])
def test_a_good_signature_in_other_hands(office: Office, attempts: Attempts, who: str) -> None:
    """Only an officer's certificate hands signatures in."""
    request = office.approval(BLOCK, block_body(TARGET, "an attack", _nonce()), "aida")
    told = office.told("control", who, request)
    assert told in (Reason.METHOD_NOT_ALLOWED, Reason.IDENTITY_UNKNOWN)
    attempts.record(Wall.EDITION, "hand in an officer's signature", who, REFUSED)
    assert office.ledger().next(request.kind, request.body, {"aida": request.signature})
    attempts.record(Wall.EDITION, "hand in an officer's signature", "officer-aida", CONTROL)


# A block, and ways around it.


@pytest.fixture(scope="module")
def blocked(office: Office) -> bytes:
    """Block a service; return the body of the block."""
    _until(office, Reason.NOT_FOUND)
    body = block_body(TARGET, "a stolen certificate", _nonce())
    assert office.approve(BLOCK, body, "aida").effective
    _until(office, Reason.SERVICE_BLOCKED)
    return body


def test_a_block_holds_by_every_name(office: Office, blocked: bytes, attempts: Attempts) -> None:
    """In an edition that renames the service, and in one that gives its name another identity."""
    for what, line, who in (
        ("a new name", service("target-new", OWNER, spiffe=spiffe_of(TARGET)), "target-new"),
        ("a new SPIFFE id", service(TARGET, OWNER, spiffe=spiffe_of("target/new")), TARGET),
    ):
        text = office.draft((service(TARGET, OWNER), line),
                            (grant(TARGET, "web"), grant(who, "web")))  # fmt: skip
        ledger = office.ledger()
        edition = compile_successor(text, ledger.editions, ledger.touched)
        assert ledger.is_blocked(edition.services[who])
        attempts.record(Wall.EDITION, "go around a block", what, REFUSED)
    assert _told(office, SECOND) == Reason.NOT_FOUND
    attempts.record(Wall.EDITION, "go around a block", "who isn't blocked", CONTROL)


def test_a_block_ends_with_both_name_and_identity(
    office: Office, blocked: bytes, attempts: Attempts
) -> None:
    """An edition with both new brings the same program back, by one officer and the CA."""
    text = office.draft((service(TARGET, OWNER), service("fresh", OWNER)),
                        (grant(TARGET, "web"), grant("fresh", "web")))  # fmt: skip
    ledger = office.ledger()
    edition = compile_successor(text, ledger.editions, ledger.touched)
    assert ledger.needed(EDITION, text.encode()) == 1
    assert not ledger.is_blocked(edition.services["fresh"])
    attempts.record(Wall.EDITION, "go around a block", "new name and SPIFFE id", RESIDUAL)


def test_one_officer_lifts_no_block(office: Office, blocked: bytes, attempts: Attempts) -> None:
    """Nor by signing twice; what lifted one block doesn't lift the next."""
    lifting = unblock_body(statement(BLOCK, blocked), "it was nothing")
    for _ in range(2):
        assert not office.approve(UNBLOCK, lifting, "aida").effective
        attempts.record(Wall.EDITION, "lift a block alone", "aida, again and again", REFUSED)
    hers = office.sign(UNBLOCK, lifting, "aida")["aida"]
    for signatures in (
        {"aida": hers},
        {"aida": hers, "aida2": hers},
        {"aida": hers, "bakyt": hers},
    ):
        office.append((UNBLOCK, lifting, sign_off(signatures)))
    assert statement(BLOCK, blocked) in office.ledger().blocks
    attempts.record(Wall.EDITION, "lift a block alone", "in the database", REFUSED)
    assert office.approve(UNBLOCK, lifting, "bakyt").effective
    _until(office, Reason.NOT_FOUND)
    attempts.record(Wall.EDITION, "lift a block alone", "with a second officer", CONTROL)


def test_what_took_effect_once_takes_effect_no_more(
    office: Office, blocked: bytes, attempts: Attempts
) -> None:
    """Entries copied to a later place, well linked: signatures hold, and count once."""
    of_kind = {entry.kind: entry for entry in office.chain() if entry.kind != TOUCH}
    assert {EDITION, BLOCK, UNBLOCK} <= of_kind.keys()
    newest, blocks = office.newest(), set(office.ledger().blocks)
    office.append(*((kind, entry.body, entry.signatures) for kind, entry in of_kind.items()))
    assert (set(office.ledger().blocks), office.newest()) == (blocks, newest)
    for kind in of_kind:
        attempts.record(Wall.EDITION, "replay an entry", kind, REFUSED)
    again = block_body(TARGET, "stolen again", _nonce())
    assert office.approve(BLOCK, again, "aida").effective
    _until(office, Reason.SERVICE_BLOCKED)
    attempts.record(Wall.EDITION, "replay an entry", "a new one", CONTROL)
    office.append((UNBLOCK, of_kind[UNBLOCK].body, of_kind[UNBLOCK].signatures))
    assert statement(BLOCK, again) in office.ledger().blocks
    attempts.record(Wall.EDITION, "replay an entry", "an unblock, for a later block", REFUSED)
    lifting = unblock_body(statement(BLOCK, again), "the test is over")
    assert office.approve(UNBLOCK, lifting, "aida", "bakyt").effective
    _until(office, Reason.NOT_FOUND)


# The administrator of the control database.


def _by_forgers(kind: str, body: bytes, *names: str) -> bytes:
    signed = statement(kind, body)
    return sign_off({name: Ed25519PrivateKey.generate().sign(signed) for name in names})


def test_what_the_administrator_appends_has_no_effect(office: Office, attempts: Attempts) -> None:
    """Well linked behind the last entry, where nothing contradicts it; and it stops nothing."""
    bodies = _bodies(office) | {"permit": b"{}", "": b""}
    before, forged = office.ledger(), []
    for kind, body in bodies.items():
        for what, signatures in (
            ("unsigned", b"{}"),
            ("by officers of his own", _by_forgers(kind, body, "mallory", "trent")),
            ("in the officers' names", _by_forgers(kind, body, "aida", "bakyt")),
            ("no JSON", b"\xff"),
        ):
            forged.append((kind, body, signatures))
            attempts.record(Wall.EDITION, "append to the chain", f"{kind}: {what}", REFUSED)
    office.append(*forged)
    after = office.ledger()
    assert after.sequence > before.sequence
    assert (after.editions.keys(), after.blocks.keys()) == (before.editions.keys(),
                                                            before.blocks.keys())  # fmt: skip
    assert (after.touched, after.resets) == (before.touched, before.resets)
    office.publish(office.draft())
    office.wait()
    attempts.record(Wall.EDITION, "append to the chain", "by officers", CONTROL)


def test_a_forged_touch_only_forbids(office: Office, attempts: Attempts) -> None:
    """It needs no signature, so that a worker can write it: nobody gets anything by one."""
    idle = office.draft(*adding(
        owners=[owner("idles")], services=[service("idle", "idles")], grants=[grant("idle", "web")],
    ))  # fmt: skip
    office.publish(idle)
    moved = office.draft((grant("idle", "web"), grant("idle", "accounts")))
    ledger = office.ledger()
    assert compile_successor(moved, ledger.editions, ledger.touched)
    attempts.record(Wall.HISTORY, "forge a touch", "without it", CONTROL)
    ident = ledger.editions[max(ledger.editions)].owners["idles"]
    web = office.house.edition.compartments["web"].uuid
    office.append((TOUCH, touch_body(ident, web), b"{}"))
    assert "what was seen isn't forgotten" in office.refusal(moved)
    attempts.record(Wall.HISTORY, "forge a touch", "another's, which forbids", RESIDUAL)


def test_every_byte_of_a_signature_in_the_chain_counts(office: Office, attempts: Attempts) -> None:
    """Linked anew, so that nothing but the signature can tell; the edition then isn't one."""
    entries = office.chain()
    at = max(i for i, entry in enumerate(entries) if entry.kind == EDITION)
    before = Ledger(office.officers()).follow(entries[:at])
    ((name, good),) = list(signatures_in(entries[at].signatures).items())[:1]
    for byte in range(len(good)):
        changed = replace(entries[at], signatures=sign_off({name: _flipped(good, byte)}))
        assert before.follow([changed]).editions.keys() == before.editions.keys()
        attempts.record(Wall.EDITION, "change a signature in the chain", f"byte {byte}", REFUSED)
    assert len(before.follow([entries[at]]).editions) == len(before.editions) + 1
    attempts.record(Wall.EDITION, "change a signature in the chain", "none", CONTROL)


def test_an_officers_key_can_not_be_taken_out(office: Office, attempts: Attempts) -> None:
    """Not even once another officer signed the newest edition: it rests on those before it."""
    office.publish(office.draft(), "bakyt")
    entries, officers = office.chain(), office.officers()
    left = {name: key for name, key in officers.items() if name != "aida"}
    assert Ledger(left).follow(entries).newest is None
    attempts.record(Wall.EDITION, "go on signing with a lost key", "aida", RESIDUAL)


def test_a_signature_names_no_house(office: Office, attempts: Attempts) -> None:
    """Where the same officers have the same keys; an edition names the one before it, at least."""
    first = office.chain()[0]
    assert first.kind == EDITION
    elsewhere = Ledger(office.officers()).follow([first])
    body = block_body("orders", "meant for another house", _nonce())
    entry = elsewhere.next(BLOCK, body, office.sign(BLOCK, body, "aida"))
    assert elsewhere.follow([entry]).blocks
    attempts.record(Wall.EDITION, "replay a signature in another house", "a block", RESIDUAL)
    foreign = office.draft().encode()
    with pytest.raises(EditionError):
        elsewhere.next(EDITION, foreign, office.sign(EDITION, foreign, "aida"))
    attempts.record(Wall.EDITION, "replay a signature in another house", "an edition", REFUSED)
    follows = successor(first.body.decode()).encode()
    assert elsewhere.next(EDITION, follows, office.sign(EDITION, follows, "aida"))
    attempts.record(Wall.EDITION, "replay a signature in another house", "its own", CONTROL)
