"""The control chain as a state machine: what takes effect, what is passed over, what is refused."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.policies import successor
from vault.policy import WORKERS, EditionError
from vault.service.bodies import block_body, destroy_body, reset_body, touch_body, unblock_body
from vault.service.ledger import (
    BLOCK,
    DESTROY,
    EDITION,
    RESET,
    TOUCH,
    UNBLOCK,
    ControlChainError,
    Entry,
    Ledger,
    sign_off,
    statement,
)

POLICY = Path("examples/osh/policy.yaml").read_text(encoding="utf-8")
KEYS = {name: Ed25519PrivateKey.generate() for name in ("aida", "bakyt")}
OFFICERS = {name: key.public_key().public_bytes_raw() for name, key in KEYS.items()}
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def signed(kind: str, body: bytes, *officers: str) -> Mapping[str, bytes]:
    """Sign as these officers."""
    return {name: KEYS[name].sign(statement(kind, body)) for name in officers}


def after(ledger: Ledger, kind: str, body: bytes, *officers: str) -> Ledger:
    """Add an entry and follow it."""
    return ledger.follow([ledger.next(kind, body, signed(kind, body, *officers))])


@pytest.fixture
def first() -> Ledger:
    """A chain with one edition."""
    return after(Ledger(OFFICERS), EDITION, POLICY.encode(), "aida")


def test_an_edition_takes_effect_once_an_officer_signed_it(first: Ledger) -> None:
    """The newest edition is in force from its moment."""
    edition = first.in_force(NOW)
    assert edition is not None
    assert edition.number == 1
    assert first.in_force(datetime(2020, 1, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    "signatures",
    [
        {},
        {"mallory": b"x" * 64},
        {"aida": b"x" * 64},
        {"aida": KEYS["bakyt"].sign(statement(EDITION, POLICY.encode()))},
        {"aida": KEYS["aida"].sign(statement(BLOCK, POLICY.encode()))},
        {"aida": KEYS["aida"].sign(statement(EDITION, POLICY.encode() + b" "))},
    ],
    ids=["none", "nobody's", "no signature", "another's", "for another kind", "for another body"],
)
def test_an_edition_that_no_officer_signed_is_refused_and_passed_over(
    signatures: Mapping[str, bytes],
) -> None:
    """Nobody can add it; and if somebody writes it into the database, it has no effect."""
    start = Ledger(OFFICERS)
    with pytest.raises(ControlChainError, match="signatures of 1 officers"):
        start.next(EDITION, POLICY.encode(), signatures)
    forged = Entry(1, start.head, EDITION, POLICY.encode(), b"{}")
    ledger = start.follow([forged])
    assert ledger.newest is None
    assert after(ledger, EDITION, POLICY.encode(), "aida").newest is not None


def test_a_new_joinable_pair_takes_two_officers(first: Ledger) -> None:
    """One officer alone can't make two compartments joinable."""
    pair = (
        "joinable:\n  - between: [accounts, web]\n"
        "    reason: {ky: себеп, ru: причина, en: a reason}"
    )
    body = successor(POLICY, ("\njoinable:\n", f"\n{pair}\n")).encode()
    assert first.needed(EDITION, body) == 2
    with pytest.raises(ControlChainError, match="2 officers"):
        first.next(EDITION, body, signed(EDITION, body, "aida"))
    assert after(first, EDITION, body, "aida", "bakyt").editions.keys() == {1, 2}


def test_an_edition_must_follow_from_the_last_one(first: Ledger) -> None:
    """Neither a number left out nor another predecessor."""
    second = after(first, EDITION, successor(POLICY).encode(), "aida")
    for body in (
        successor(POLICY).encode(),
        POLICY.encode(),
        successor(POLICY).replace("edition: 2", "edition: 4").encode(),
    ):
        with pytest.raises((ControlChainError, EditionError)):
            second.next(EDITION, body, signed(EDITION, body, "aida"))


def test_a_block_refuses_a_service_by_name_and_by_identity(first: Ledger) -> None:
    """Renaming it, or giving its name another certificate, doesn't lift the block."""
    blocked = after(first, BLOCK, block_body("orders", "stolen", "1"), "aida")
    orders = first.editions[1].services["orders"]
    assert blocked.is_blocked(orders)
    assert blocked.is_blocked(replace(orders, name="orders2"))
    assert blocked.is_blocked(replace(orders, spiffe="spiffe://oshto.kg/new"))
    assert not blocked.is_blocked(first.editions[1].services["support"])


def test_a_service_that_the_next_edition_drops_can_be_blocked_until_then(first: Ledger) -> None:
    """And under every identity that its name has had."""
    support = "  support: {owner: helpdesk, spiffe: spiffe://oshto.kg/support}\n"
    moved = support.replace("kg/support", "kg/support2")
    ledger = after(first, EDITION, successor(POLICY, (support, moved)).encode(), "aida")
    second = ledger.editions[2]
    blocked = after(ledger, BLOCK, block_body("support", "stolen", "1"), "aida")
    for edition in (first.editions[1], second):
        assert blocked.is_blocked(replace(edition.services["support"], name="renamed"))


def test_lifting_a_block_takes_two_officers_and_counts_once(first: Ledger) -> None:
    """The signatures that lifted one block don't lift the next one of the same service."""
    block = block_body("orders", "stolen", "1")
    blocked = after(first, BLOCK, block, "aida")
    lifting = unblock_body(statement(BLOCK, block), "new certificate")
    with pytest.raises(ControlChainError, match="2 officers"):
        blocked.next(UNBLOCK, lifting, signed(UNBLOCK, lifting, "aida"))
    lifted = after(blocked, UNBLOCK, lifting, "aida", "bakyt")
    assert not lifted.is_blocked(first.editions[1].services["orders"])
    again = after(lifted, BLOCK, block_body("orders", "stolen", "2"), "aida")
    for kind, body in ((UNBLOCK, lifting), (BLOCK, block)):
        with pytest.raises(ControlChainError, match="once"):
            again.next(kind, body, signed(kind, body, "aida", "bakyt"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (BLOCK, b"{}"),
        (BLOCK, b"not json"),
        (BLOCK, block_body("nobody", "r", "1")),
        (BLOCK, b'{"nonce":"1","reason":"r","service":["orders"]}'),
        (BLOCK, b'{"nonce":"1","reason":"r","service":"support","service":"orders"}'),
        (BLOCK, b'{"nonce":"1","reason":"r", "service":"orders"}'),
        (BLOCK, b'{"nonce":"1","reason":"\\ud800","service":"orders"}'),
        (BLOCK, block_body("orders", "\x1b[2J", "1")),
        (UNBLOCK, b'{"block":"zz","reason":"r"}'),
        (UNBLOCK, unblock_body(bytes(32), "r")),
        (TOUCH, b'{"compartment":"zz","owner":"o"}'),
        (TOUCH, b"[" * 100_000),
        (TOUCH, touch_body("press_office", bytes(16))),
        (TOUCH, touch_body("5F6A1D0E-9B1C-4F55-8C0D-1B2A3C4D5E6F", bytes(16))),
        (EDITION, b"\xff\xfe"),
        ("forget", b"{}"),
    ],
    ids=[
        "empty",
        "no JSON",
        "no such service",
        "wrong type",
        "a key twice",
        "another spelling",
        "half a character",
        "a control character",
        "no hexadecimal",
        "no such block",
        "a touch in no hexadecimal",
        "a touch that is nested deep",
        "a touch by an owner's name",
        "a touch by an id in capitals",
        "no UTF-8",
        "no such kind",
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(first: Ledger, kind: str, body: bytes) -> None:
    """Whoever signed it; in the database it has no effect and stops nothing."""
    with pytest.raises((ControlChainError, EditionError)):
        first.next(kind, body, signed(kind, body, "aida", "bakyt"))
    stored = Entry(first.sequence + 1, first.head, kind, body, b"{}")
    ledger = first.follow([stored])
    assert ledger.sequence == first.sequence + 1
    assert after(ledger, BLOCK, block_body("orders", "r", "1"), "aida").blocks


def test_a_touch_needs_no_signature(first: Ledger) -> None:
    """History is what an owner's services touched."""
    owner, uuid = first.editions[1].owners["press_office"], bytes(16)
    touched = after(first, TOUCH, touch_body(owner, uuid))
    assert touched.touched == {owner: frozenset({uuid})}


ACCOUNTS = bytes.fromhex("6f1d3c52e2a54b0d8f6f0f2a6f0c1a01")
SEEN, ANOTHER = str(UUID(int=1)), str(UUID(int=2))  # owners


def test_one_officer_under_two_names_is_one_officer(first: Ledger) -> None:
    """What counts is the key."""
    twice = replace(first, officers={**OFFICERS, "aida2": OFFICERS["aida"]})
    lifted = after(twice, TOUCH, touch_body(SEEN, ACCOUNTS))
    body = reset_body(SEEN, ACCOUNTS, "moved", "1")
    signature = KEYS["aida"].sign(statement(RESET, body))
    with pytest.raises(ControlChainError, match="2 officers"):
        lifted.next(RESET, body, {"aida": signature, "aida2": signature})


def test_a_reset_takes_one_touch_back_until_the_next_one(first: Ledger) -> None:
    """That owner's touch of that compartment, and nothing beside it."""
    ledger = first
    for owner, uuid in ((SEEN, ACCOUNTS), (SEEN, bytes(16)), (ANOTHER, ACCOUNTS)):
        ledger = after(ledger, TOUCH, touch_body(owner, uuid))
    ledger = after(ledger, RESET, reset_body(SEEN, ACCOUNTS, "a new team", "1"), "aida", "bakyt")
    assert ledger.touched == {SEEN: {bytes(16)}, ANOTHER: {ACCOUNTS}}
    assert [(r.owner_id, r.compartment_uuid, r.reason) for r in ledger.resets] == [
        (SEEN, ACCOUNTS, "a new team")
    ]
    again = after(ledger, TOUCH, touch_body(SEEN, ACCOUNTS))
    assert again.touched[SEEN] == {bytes(16), ACCOUNTS}
    second = after(again, RESET, reset_body(SEEN, ACCOUNTS, "a new team", "2"), "aida", "bakyt")
    assert second.touched[SEEN] == {bytes(16)}


GOOD = reset_body(SEEN, ACCOUNTS, "r", "1")
BOTH = signed(RESET, GOOD, "aida", "bakyt")


@pytest.mark.parametrize(
    ("body", "signatures", "says"),
    [
        (GOOD, {}, "needs the signatures"),
        (GOOD, {"aida": BOTH["aida"]}, "needs the signatures"),
        (GOOD, {"aida": BOTH["aida"], "bakyt": BOTH["aida"]}, "needs the signatures"),
        (GOOD, {"aida": BOTH["aida"], "mallory": BOTH["bakyt"]}, "needs the signatures"),
        (GOOD, {**signed(UNBLOCK, GOOD, "aida", "bakyt")}, "needs the signatures"),
        (reset_body(SEEN, ACCOUNTS, "r", "2"), BOTH, "needs the signatures"),
        (reset_body(ANOTHER, ACCOUNTS, "r", "1"), BOTH, "needs the signatures"),
        (reset_body(SEEN, bytes(16), "r", "1"), None, "no touch"),
        (reset_body(ANOTHER, ACCOUNTS, "r", "1"), None, "no touch"),
        (reset_body(WORKERS, ACCOUNTS, "r", "1"), None, "no touch"),
        (reset_body(SEEN, ACCOUNTS, " ", "1"), None, "needs a reason"),
        (reset_body(SEEN, ACCOUNTS, "\x1b[2J", "1"), None, "control characters"),
        (GOOD.replace(b'","', b'", "', 1), None, "canonical"),
        (GOOD.replace(b'"nonce":"1",', b""), None, "canonical"),
        (GOOD.replace(ACCOUNTS.hex().encode(), b"zz"), None, "hexadecimal"),
    ],
    ids=[
        "nobody signed",
        "one officer",
        "one officer's signature twice",
        "an officer and nobody",
        "signatures for another kind",
        "signatures for another nonce",
        "signatures for another owner",
        "a compartment never touched",
        "an owner who touched nothing",
        "what workers opened",
        "no reason",
        "a reason with control characters",
        "another spelling",
        "a word left out",
        "no hexadecimal",
    ],
)
def test_a_reset_that_does_not_hold_takes_nothing_back(
    first: Ledger, body: bytes, signatures: Mapping[str, bytes] | None, says: str
) -> None:
    """None given: both officers signed it well. In the database it has no effect."""
    touched = after(first, TOUCH, touch_body(SEEN, ACCOUNTS))
    touched = after(touched, TOUCH, touch_body(WORKERS, ACCOUNTS))
    if signatures is None:
        signatures = signed(RESET, body, "aida", "bakyt")
    with pytest.raises(ControlChainError, match=says):
        touched.next(RESET, body, signatures)
    stored = Entry(touched.sequence + 1, touched.head, RESET, body, sign_off(signatures))
    followed = touched.follow([stored])
    assert followed.sequence == touched.sequence + 1
    assert followed.touched == touched.touched
    assert not followed.resets


def test_signatures_of_one_reset_take_no_later_touch_back(first: Ledger) -> None:
    """Handed in again, or written into the database once more."""
    touched = after(first, TOUCH, touch_body(SEEN, ACCOUNTS))
    reset = after(touched, RESET, GOOD, "aida", "bakyt")
    again = after(reset, TOUCH, touch_body(SEEN, ACCOUNTS))
    with pytest.raises(ControlChainError, match="counts once"):
        again.next(RESET, GOOD, BOTH)
    replayed = Entry(again.sequence + 1, again.head, RESET, GOOD, sign_off(BOTH))
    assert again.follow([replayed]).touched[SEEN] == {ACCOUNTS}


GRANTED = (
    "  - {service: analytics, purpose: newsletter, compartment: accounts, operations: [reveal]}\n"
)
MOVED = successor(
    POLICY,
    ("purpose: statistics, compartment: web,", "purpose: newsletter, compartment: accounts,"),
).encode()
"""Takes the web from the owner of statistics, and gives accounts instead."""


def seen(first: Ledger) -> tuple[Ledger, str, bytes]:
    """Have the owner of statistics touch the web."""
    owner = first.editions[1].services["analytics"].owner_id
    web = first.editions[1].compartments["web"].uuid
    return after(first, TOUCH, touch_body(owner, web)), owner, web


def test_an_edition_is_judged_by_what_counted_at_its_place(first: Ledger) -> None:
    """A reset brings back none that had no effect; what it allowed, a later touch doesn't undo."""
    touched, owner, web = seen(first)
    early = Entry(
        touched.sequence + 1,
        touched.head,
        EDITION,
        MOVED,
        sign_off(signed(EDITION, MOVED, "aida")),
    )
    refused = touched.follow([early])
    assert refused.editions.keys() == {1}

    reset = after(refused, RESET, reset_body(owner, web, "a new team", "1"), "aida", "bakyt")
    assert reset.editions.keys() == {1}
    published = after(reset, EDITION, MOVED, "aida")
    assert published.editions.keys() == {1, 2}
    late = after(published, TOUCH, touch_body(owner, web))
    assert late.editions.keys() == {1, 2}
    assert late.newest is published.newest


OWNER = (r"\bsite_statistics\b", "insights")
SERVICE = (r"(\n  |service: )analytics\b", r"\1counters")
CERTIFICATE = (r"kg/analytics\b", "kg/counters")
COMPARTMENT = (r"\bweb\b", "visits")
GRANT = (r"\n.*purpose: statistics, .*\}", "")


@pytest.mark.parametrize(
    "editions",
    [
        [[]],
        [[], [], []],
        [[OWNER]],
        [[SERVICE]],
        [[CERTIFICATE]],
        [[COMPARTMENT]],
        [[OWNER, SERVICE, CERTIFICATE, COMPARTMENT]],
        [[OWNER], [SERVICE], [CERTIFICATE], [COMPARTMENT]],
        [[GRANT]],
        [[GRANT], []],
    ],
    ids=[
        "a new edition",
        "several new editions",
        "a renamed owner",
        "a renamed service",
        "a new certificate",
        "a renamed compartment",
        "all of it at once",
        "one after the other",
        "the grant taken away",
        "the grant taken away long ago",
    ],
)
def test_nothing_but_a_reset_takes_a_touch_back(
    first: Ledger, editions: list[list[tuple[str, str]]]
) -> None:
    """Whatever is renamed or replaced, ids stay, and what was touched under them."""
    ledger, owner, web = seen(first)
    text = POLICY
    for changes in editions:
        text = successor(text)
        for pattern, repl in changes:
            text, times = re.subn(pattern, repl, text)
            assert times
        ledger = after(ledger, EDITION, text.encode(), "aida")
    text = successor(text)
    moved = re.sub(*GRANT, text).replace("\ngrants:\n", f"\ngrants:\n{GRANTED}")
    if "counters: {" in moved:
        moved = moved.replace("service: analytics,", "service: counters,")
    with pytest.raises(EditionError, match="isn't forgotten"):
        ledger.next(EDITION, moved.encode(), signed(EDITION, moved.encode(), "aida", "bakyt"))
    reset = after(ledger, RESET, reset_body(owner, web, "a new team", "1"), "aida", "bakyt")
    assert after(reset, EDITION, moved.encode(), "aida").newest is not ledger.newest


def entries(count: int) -> list[Entry]:
    """Make a chain with one edition and touches."""
    ledger, made = Ledger(OFFICERS), []
    body = POLICY.encode()
    for number in range(count):
        kind = TOUCH if number else EDITION
        text = touch_body(SEEN, bytes([number] * 16)) if number else body
        made.append(ledger.next(kind, text, {} if number else signed(EDITION, body, "aida")))
        ledger = ledger.follow(made[-1:])
    return made


@pytest.mark.parametrize(
    "altered",
    [
        lambda e: [e[0], *e[2:]],
        lambda e: [e[0], e[2], e[1], *e[3:]],
        lambda e: [e[0], replace(e[1], body=touch_body(ANOTHER, bytes(16))), *e[2:]],
        lambda e: [replace(e[0], signatures=b"{}"), *e[1:]],
        lambda e: [*e, replace(e[-1], sequence=e[-1].sequence + 1)],
        lambda e: e[1:],
    ],
    ids=[
        "one taken out",
        "two swapped",
        "one changed",
        "a signature taken off",
        "one twice",
        "its beginning cut off",
    ],
)
def test_an_altered_chain_is_refused(altered: Callable[[list[Entry]], list[Entry]]) -> None:
    """Whatever was done to it before its end."""
    with pytest.raises(ControlChainError, match="altered"):
        Ledger(OFFICERS).follow(altered(entries(5)))


def test_destroying_takes_two_officers_and_names_the_digest_of_a_dry_run(first: Ledger) -> None:
    """What is approved is that digest, and nothing else."""
    body = destroy_body("accounts", bytes(32), "compromised", "once")
    with pytest.raises(ControlChainError, match="2 officers"):
        after(first, DESTROY, body, "aida")
    approved = after(first, DESTROY, body, "aida", "bakyt")
    assert approved.destructions == {bytes(32)}
    short = destroy_body("accounts", bytes(31), "compromised", "once")
    with pytest.raises(ControlChainError, match="32 bytes"):
        after(first, DESTROY, short, "aida", "bakyt")
