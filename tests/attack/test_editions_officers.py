"""Wall 2, editions: what one officer can't do, and what remains that one can."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.attack.actors import (
    KIOSK,
    Actors,
    adding,
    grant,
    owner,
    pair,
    reveal,
    service,
    spiffe_of,
)
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.edition_changes import (
    PEOPLE,
    TreeChange,
    changed,
    granted,
    owns,
    put,
    serves,
    taken,
)
from vault.errors import Reason
from vault.policy import compile_successor
from vault.service.ledger import EDITION, Ledger, statement

# Two officers for a new pair.


def _pairing(actors: Actors, one: str, other: str) -> bytes:
    return actors.draft(*adding(joinable=[pair(one, other)])).encode()


def test_one_officer_declares_no_new_pair(actors: Actors, attempts: Attempts) -> None:
    """Not by signing twice, not by signing for another, not by a signature of another edition."""
    body = _pairing(actors, "accounts", "web")
    for _ in range(2):
        answer = actors.approve(EDITION, body, "aida")
        assert (answer.effective, list(answer.approved_by), answer.needed) == (False, ["aida"], 2)
        attempts.record(Wall.EDITION, "declare a pair alone", "aida, again and again", REFUSED)
    mine = actors.approval(EDITION, body, "aida")
    other = actors.sign(EDITION, _pairing(actors, "enterprises", "web"), "bakyt")["bakyt"]
    key = Ed25519PrivateKey.generate()
    forged = {
        "her own, in his name": ("bakyt", mine.signature),
        "in his name, in capitals": ("BAKYT", mine.signature),
        "his, of another edition": ("bakyt", other),
        "his, of another kind": ("bakyt", actors.sign("block", body, "bakyt")["bakyt"]),
        "by a key of her own": ("bakyt", key.sign(statement(EDITION, body))),
        "by an officer of her own": ("mallory", key.sign(statement(EDITION, body))),
        "nothing": ("bakyt", b""),
        "zeros": ("bakyt", bytes(64)),
        "too much": ("bakyt", actors.sign(EDITION, body, "bakyt")["bakyt"] + b"\0"),
    }
    for what, (name, signature) in forged.items():
        mine.officer, mine.signature = name, signature
        refusal = actors.house.refused("officer-aida", mine)
        assert "doesn't hold for this officer" in refusal.message
        attempts.record(Wall.EDITION, "declare a pair alone", what, REFUSED)
    assert frozenset(("accounts", "web")) not in actors.chain.ledger().editions[1].joinable
    # The signature counts, not who hands it in: so his own would have been enough.
    ledger = actors.chain.ledger()
    both = actors.sign(EDITION, body, "aida", "bakyt")
    assert ledger.follow([ledger.next(EDITION, body, both)]).newest is not ledger.newest
    attempts.record(Wall.EDITION, "declare a pair alone", "with a second officer", CONTROL)


# As subject-facing, by its SPIFFE id: so an old name under a new certificate is a new one.
FACING: dict[str, tuple[TreeChange, ...]] = {
    "a new service": (owns("fronts"), serves("front", "fronts", subject_facing=True)),
    "another SPIFFE id": (put(f"services/{KIOSK}/spiffe", spiffe_of("front")),),
}


@pytest.mark.parametrize("changes", FACING.values(), ids=FACING)
def test_one_officer_lets_no_service_act_for_subjects(
    actors: Actors,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    changes: tuple[TreeChange, ...],
) -> None:
    """Whoever acts for subjects learns all their pseudonyms."""
    body, attack = changed(actors, *changes).encode(), "let a service act for subjects alone"
    answer = actors.approve(EDITION, body, "aida")
    assert (answer.effective, list(answer.approved_by), answer.needed) == (False, ["aida"], 2)
    attempts.record(Wall.EDITION, attack, request.node.name, REFUSED)
    ledger = actors.chain.ledger()
    both = actors.sign(EDITION, body, "aida", "bakyt")
    assert ledger.follow([ledger.next(EDITION, body, both)]).newest is not ledger.newest
    attempts.record(Wall.EDITION, attack, "with a second officer", CONTROL)


# What an officer can't make of themselves.


def test_an_officer_makes_no_service_of_herself(actors: Actors, attempts: Attempts) -> None:
    """She may publish that she is one: her certificate stays an officer's."""
    herself = "spiffe://oshto.kg/officer/aida"
    actors.publish(
        actors.draft(
            *adding(
                owners=[owner("aidas")],
                services=[
                    service("aida", "aidas", spiffe=herself),
                    service("aidas-own", "aidas"),
                ],
                grants=[grant("aida", "accounts"), grant("aidas-own", "accounts")],
            )
        )
    )
    actors.wait()
    request = reveal("accounts", actors.house.register().pseudonym)
    told = actors.told("worker-accounts", "officer-aida", request)
    assert told == Reason.METHOD_NOT_ALLOWED
    attempts.record(Wall.EDITION, "make oneself a service", "an officer", REFUSED)
    assert actors.told("worker-accounts", "aidas-own", request) == ""
    attempts.record(Wall.EDITION, "make oneself a service", "a certificate of its own", CONTROL)
    assert actors.approve(EDITION, actors.draft().encode(), "aida").effective  # and she still signs


# What remains.


def _orders_alone(tree: Any) -> None:
    """Withdraw every pair; who held both of one keeps the second."""
    tree["joinable"] = []
    second = {"orders": "orders", "clerk-orders": "orders"}
    kept = [its for its in tree["grants"] if second.get(its["service"]) == its["compartment"]]
    others = [its for its in tree["grants"] if its["service"] not in second]
    tree["grants"] = kept + others


REMAINS: dict[str, tuple[TreeChange, ...]] = {
    "a new owner for the same people": (
        owns("others"), serves("third", "others"), granted("third", "accounts")),
    "a recipient of two compartments": (
        put("recipients", {"post": {"title": PEOPLE}}),
        put("purposes/services/recipients", ["post"]),
        put("purposes/statistics/recipients", ["post"])),
    "a basis that asks nobody": (put("purposes/newsletter/basis", "legal_obligation"),),
    "a field more": (put("purposes/newsletter/uses/accounts/fields/last_name", "plain"),),
    "a longer retention": (put("purposes/newsletter/uses/accounts/retention", "99 years"),),
    "a pair withdrawn, what was seen kept": (_orders_alone,),
}  # fmt: skip


@pytest.mark.parametrize("changes", REMAINS.values(), ids=REMAINS)
def test_what_one_officer_may_publish(
    actors: Actors,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    changes: tuple[TreeChange, ...],
) -> None:
    """Each is taken with one signature: the threat model names them."""
    body = changed(actors, *changes)
    assert actors.chain.ledger().needed(EDITION, body.encode()) == 1
    assert taken(actors, *changes)
    attempts.record(Wall.EDITION, "publish as one officer", request.node.name, RESIDUAL)


def test_one_officer_drops_a_forbid(actors: Actors, attempts: Attempts) -> None:
    """One officer has said it, and one takes it back."""
    forbid = {"service": "clerk-web", "compartment": "web", "reason": PEOPLE}
    body = changed(actors, put("forbid", [forbid])).encode()
    ledger = actors.chain.ledger()
    ledger = ledger.follow([ledger.next(EDITION, body, actors.sign(EDITION, body, "aida"))])
    newest = ledger.newest
    assert newest is not None
    assert newest.forbids
    after = {"edition": newest.number + 1, "predecessor": newest.digest.hex(), "forbid": []}
    text = json.dumps({**json.loads(body), **after}, ensure_ascii=False)
    assert not compile_successor(text, ledger.editions, ledger.touched).forbids
    assert ledger.needed(EDITION, text.encode()) == 1
    attempts.record(Wall.EDITION, "publish as one officer", "a forbid dropped", RESIDUAL)


def test_one_officer_begins_with_any_pairs(actors: Actors, attempts: Attempts) -> None:
    """And with any subject-facing services: nothing was collected before the first edition."""
    ledger = actors.chain.ledger()
    assert ledger.editions[1].joinable
    empty = Ledger(ledger.officers)
    assert empty.needed(EDITION, ledger.documents[1].encode()) == 1
    attempts.record(Wall.EDITION, "publish as one officer", "the first edition", RESIDUAL)
