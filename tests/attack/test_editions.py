"""Wall 2, editions: none may give anybody what must not be joined, whoever signs it.

What is tried is handed in to control, signed by an officer as every edition is. The neighbour of
each attempt, an edition that is allowed and as near to it as can be, is held against the same
rules and the same past, and taken.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from piivault.v1 import record_service_pb2 as records

from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.attack.office import (
    COMPARTMENTS,
    KIOSK,
    PURPOSE,
    Office,
    adding,
    grant,
    owner,
    pair,
    service,
    spiffe_of,
)
from tests.split import SplitHouse
from vault.errors import Reason
from vault.policy import Edition, compile_edition, compile_successor
from vault.service.ledger import EDITION, Entry, sign_off, statement

Change = Callable[[Any], object]


@pytest.fixture(scope="module")
def office(split_house: SplitHouse) -> Iterator[Office]:
    made = Office(split_house)
    made.settle()
    for name in COMPARTMENTS:  # so that every clerk has a past
        request = records.RevealRequest(
            compartment=name, purpose=PURPOSE[name], pseudonym=f"psn_{'A' * 43}",
            fields=[next(iter(made.house.edition.purposes[PURPOSE[name]].uses[name].fields))],
        )  # fmt: skip
        assert made.told(f"worker-{name}", f"clerk-{name}", request) == Reason.NOT_FOUND
    yield made
    made.close()


def _changed(office: Office, *changes: Change) -> str:
    """Write an edition that follows the newest, changed as a tree: JSON is YAML."""
    tree = yaml.safe_load(office.newest())
    newest = office.ledger().newest
    assert newest is not None
    tree.update(edition=newest.number + 1, predecessor=newest.digest.hex())
    for change in changes:
        change(tree)
    return json.dumps(tree, default=lambda moment: moment.isoformat(), ensure_ascii=False)


def _put(path: str, value: Any) -> Change:
    """Set what stands at a path, such as services/kiosk/owner."""

    def change(tree: Any) -> None:
        *way, last = path.split("/")
        for key in way:
            tree = tree[key]
        tree[last] = value

    return change


def _drop(path: str) -> Change:
    def change(tree: Any) -> None:
        *way, last = path.split("/")
        for key in way:
            tree = tree[key]
        del tree[last]

    return change


def _granted(name: str, compartment: str, *operations: str, purpose: str = "") -> Change:
    """Grant something more."""
    given = {
        "service": name, "purpose": purpose or PURPOSE[compartment], "compartment": compartment,
        "operations": list(operations or ("reveal",)),
    }  # fmt: skip
    return lambda tree: tree["grants"].append(given)


def _ungranted(name: str) -> Change:
    """Take all grants of a service away."""

    def change(tree: Any) -> None:
        tree["grants"] = [its for its in tree["grants"] if its["service"] != name]

    return change


def _serves(name: str, of: str, **more: Any) -> Change:
    return _put(f"services/{name}", {"owner": of, "spiffe": spiffe_of(name), **more})


def _owns(name: str, ident: str = "") -> Change:
    title = {"ky": name, "ru": name, "en": name}
    return _put(f"owners/{name}", {"id": ident or str(uuid4()), "title": title})


def _compartment_is(name: str, now: str) -> Change:
    """Rename a compartment, everywhere."""

    def change(tree: Any) -> None:
        tree["compartments"][now] = tree["compartments"].pop(name)
        for purpose in tree["purposes"].values():
            if name in purpose["uses"]:
                purpose["uses"][now] = purpose["uses"].pop(name)
        for its in tree["grants"]:
            its["compartment"] = now if its["compartment"] == name else its["compartment"]
        for its in tree["joinable"]:
            its["between"] = [now if c == name else c for c in its["between"]]

    return change


def _swapped(one: str, other: str) -> Change:
    def change(tree: Any) -> None:
        first, second = tree["compartments"][one], tree["compartments"][other]
        first["uuid"], second["uuid"] = second["uuid"], first["uuid"]

    return change


def _copied(name: str, new: str, ident: str = "") -> Change:
    """Declare a compartment like another, under another name."""

    def change(tree: Any) -> None:
        like = dict(tree["compartments"][name])
        like["uuid"] = ident or like["uuid"]
        tree["compartments"][new] = like

    return change


def _new_web(tree: Any) -> None:
    """Give the compartment web another uuid: the data stays, its history doesn't know it."""
    tree["compartments"]["web"]["uuid"] = str(uuid4())


def _id_of(name: str) -> Change:
    """Spell an owner's id in capitals: the same id, another text."""

    def change(tree: Any) -> None:
        tree["owners"][name]["id"] = tree["owners"][name]["id"].upper()

    return change


BOTH, SAW = "would hold both", "what was seen isn't forgotten"
PEOPLE = {"ky": "x", "ru": "x", "en": "x"}
# What is tried, what is said of it, and the neighbour that is allowed.
TRIED: dict[str, tuple[tuple[Change, ...], str, tuple[Change, ...]]] = {
    "a service": (
        (_granted("clerk-web", "accounts"),), BOTH, (_granted("clerk-orders", "accounts"),)),
    "an owner, by two services": (
        (_serves("second", "clerks-web"), _granted("second", "accounts")), BOTH,
        (_serves("second", "clerks-orders"), _granted("second", "accounts"))),
    "an owner, by three services of which no two clash": (
        (_serves("s2", "clerks-orders"), _granted("s2", "accounts"),
         _serves("s3", "clerks-orders"), _granted("s3", "enterprises")), BOTH,
        (_serves("s2", "clerks-orders"), _granted("s2", "accounts"))),
    "put alone": (
        (_granted("clerk-web", "accounts", "put"),), BOTH,
        (_granted("clerk-orders", "accounts", "put"),)),
    "find alone": (
        (_granted("clerk-web", "accounts", "find"),), BOTH,
        (_granted("clerk-orders", "accounts", "find"),)),
    "a grant that is forbidden in the same edition": (
        (_granted("clerk-web", "accounts"),
         _put("forbid", [{"service": "clerk-web", "compartment": "accounts", "reason": PEOPLE}])),
        BOTH,
        (_put("forbid", [{"service": "clerk-web", "compartment": "web", "reason": PEOPLE}]),)),
    "one purpose that uses both": (
        (_granted("clerk-accounts", "accounts", purpose="account"),
         _granted("clerk-accounts", "enterprises", purpose="account")), BOTH,
        (_granted("clerk-accounts", "accounts", purpose="account"),)),
    "a compartment under another name": (
        (_compartment_is("web", "site"), _granted("clerk-web", "accounts")), BOTH,
        (_compartment_is("web", "site"),)),
    "a compartment under another name, and moved away from": (
        (_compartment_is("web", "site"), _ungranted("clerk-web"),
         _granted("clerk-web", "accounts")), SAW,
        (_compartment_is("web", "site"), _ungranted("clerk-web"))),
    "names of compartments swapped": (
        (_swapped("accounts", "web"),), "was another in edition", ()),
    "the uuid of one for another": (
        (_copied("web", "site"),), "is another compartment's uuid", ()),
    "a new uuid for an old name": ((_new_web,), "was another in edition", ()),
    "a compartment that is nowhere": (
        (_copied("web", "site", str(uuid4())),), "isn't provisioned", ()),
    "a service moved to another owner": (
        (_owns("others"), _put("services/clerk-web/owner", "others")), "was a service of",
        (_owns("others"), _serves("third", "others"))),
    "a service's SPIFFE id for another owner's": (
        (_owns("others"), _drop("services/clerk-web"), _ungranted("clerk-web"),
         _serves("third", "others"), _put("services/third/spiffe", spiffe_of("clerk-web"))),
        "was a service of", (_drop("services/clerk-web"), _ungranted("clerk-web"))),
    "another id for an owner's name": (
        (_owns("clerks-web"),), "was another in edition", ()),
    "an owner's id for another's name, beside it": (
        (lambda tree: _owns("others", tree["owners"]["clerks-web"]["id"])(tree),),
        "is another owner's id", ()),
    "an owner's id in capitals, and moved": (
        (_id_of("clerks-web"), _ungranted("clerk-web"), _granted("clerk-web", "accounts")), SAW,
        (_id_of("clerks-web"),)),
    "moved from one to the other": (
        (_ungranted("clerk-web"), _granted("clerk-web", "accounts")), SAW,
        (_ungranted("clerk-web"),)),
    "a subject-facing service made internal": (
        (_put(f"services/{KIOSK}/subject_facing", False), _granted(KIOSK, "web")),
        "acted for subjects", ()),
    "a subject-facing owner's second service": (
        (_serves("back", "kiosks"), _granted("back", "web")), "belongs to an owner of",
        (_owns("others"), _serves("back", "others"), _granted("back", "web"))),
    "a subject-facing owner's next service": (
        (_drop(f"services/{KIOSK}"), _serves("back", "kiosks"), _granted("back", "web")),
        "acted for subjects", (_drop(f"services/{KIOSK}"),)),
    "an internal service made subject-facing": (
        (_ungranted("clerk-web"), _put("services/clerk-web/subject_facing", True)),
        "holds data as", (_owns("others"), _serves("new", "others", subject_facing=True))),
    "an internal owner's next service made subject-facing": (
        (_ungranted("clerk-web"), _drop("services/clerk-web"),
         _serves("new", "clerks-web", subject_facing=True)), "holds data as", ()),
    "a grant to a subject-facing service": (
        (_granted(KIOSK, "web"),), "is subject-facing", ()),
    "a pair with itself": (
        (_put("joinable", [{"between": ["web", "web"], "reason": PEOPLE}]),),
        "names one compartment twice", ()),
    "a pair with three": (
        (_put("joinable", [{"between": ["web", "accounts", "orders"], "reason": PEOPLE}]),),
        "joinable", ()),
    "a pair without a reason": (
        (_put("joinable", [{"between": ["accounts", "orders"]}]),), "is missing", ()),
    "an edition before the last": ((_put("edition", 1),), "predecessor", ()),
    "an edition beside the last": ((_put("predecessor", "0" * 64),), "should be", ()),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "says", "neighbour"), TRIED.values(), ids=TRIED)
def test_no_edition_completes_what_must_not_be_joined(
    office: Office,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    changes: tuple[Change, ...],
    says: str,
    neighbour: tuple[Change, ...],
) -> None:
    assert says in office.refusal(_changed(office, *changes))
    wall = Wall.HISTORY if says == SAW else Wall.EDITION
    attempts.record(wall, "publish what must not be joined", request.node.name, REFUSED)
    ledger = office.ledger()
    assert compile_successor(_changed(office, *neighbour), ledger.editions, ledger.touched)
    attempts.record(wall, "publish what must not be joined", "its neighbour", CONTROL)


# Two officers for a new pair.


def _pairing(office: Office, one: str, other: str) -> bytes:
    return office.draft(*adding(joinable=[pair(one, other)])).encode()


def test_one_officer_declares_no_new_pair(office: Office, attempts: Attempts) -> None:
    """Not by signing twice, not by signing for another, not by a signature of another edition."""
    body = _pairing(office, "accounts", "web")
    for _ in range(2):
        answer = office.approve(EDITION, body, "aida")
        assert (answer.effective, list(answer.approved_by), answer.needed) == (False, ["aida"], 2)
        attempts.record(Wall.EDITION, "declare a pair alone", "aida, again and again", REFUSED)
    mine = office.approval(EDITION, body, "aida")
    other = office.sign(EDITION, _pairing(office, "enterprises", "web"), "bakyt")["bakyt"]
    key = Ed25519PrivateKey.generate()
    forged = {
        "her own, in his name": ("bakyt", mine.signature),
        "in his name, in capitals": ("BAKYT", mine.signature),
        "his, of another edition": ("bakyt", other),
        "his, of another kind": ("bakyt", office.sign("block", body, "bakyt")["bakyt"]),
        "by a key of her own": ("bakyt", key.sign(statement(EDITION, body))),
        "by an officer of her own": ("mallory", key.sign(statement(EDITION, body))),
        "nothing": ("bakyt", b""),
        "zeros": ("bakyt", bytes(64)),
        "too much": ("bakyt", office.sign(EDITION, body, "bakyt")["bakyt"] + b"\0"),
    }
    for what, (name, signature) in forged.items():
        mine.officer, mine.signature = name, signature
        refusal = office.house.refused("officer-aida", mine)
        assert "doesn't hold for this officer" in refusal.message
        attempts.record(Wall.EDITION, "declare a pair alone", what, REFUSED)
    assert frozenset(("accounts", "web")) not in office.ledger().editions[1].joinable
    # The signature counts, not who hands it in: so his own would have been enough.
    ledger = office.ledger()
    both = office.sign(EDITION, body, "aida", "bakyt")
    assert ledger.follow([ledger.next(EDITION, body, both)]).newest is not ledger.newest
    attempts.record(Wall.EDITION, "declare a pair alone", "with a second officer", CONTROL)


def test_no_bridge_leads_over_a_joinable_middle(office: Office, attempts: Attempts) -> None:
    """A with B and B with C, both declared by two officers: nobody gets A with C, in no way."""
    bridge = pair("enterprises", "orders")
    office.publish(
        office.draft(
            *adding(
                joinable=[bridge],
                owners=[owner("bridgers"), owner("walkers")],
                services=[service("bridger", "bridgers"), service("walker", "walkers")],
                grants=[grant("walker", "accounts")],
            )
        ),
        "aida",
        "bakyt",
    )
    office.wait()
    touched = records.RevealRequest(
        compartment="accounts", purpose="services", pseudonym=f"psn_{'A' * 43}", fields=["phone"]
    )
    assert office.told("worker-accounts", "walker", touched) == Reason.NOT_FOUND
    legs = [("accounts", "orders"), ("orders", "enterprises")]
    for leg in legs:
        assert _taken(office, *(_granted("bridger", name) for name in leg))
        attempts.record(Wall.EDITION, "bridge over a joinable middle", " and ".join(leg), CONTROL)
    ends = ("accounts", "orders", "enterprises")
    for where in (ends, ("accounts", "enterprises")):
        one = [_granted("bridger", name) for name in where]
        several = [
            change
            for i, name in enumerate(where)
            for change in (_serves(f"b{i}", "bridgers"), _granted(f"b{i}", name))
        ]
        for how, changes in (("one service", one), ("a service each", several)):
            said = office.refusal(_changed(office, *changes))
            assert "would hold both accounts and enterprises" in said
            attempts.record(Wall.EDITION, "bridge over a joinable middle", how, REFUSED)
    # Step by step: the walker saw accounts, and steps to orders, and from there to enterprises.
    walker = grant("walker", "accounts")
    office.publish(office.draft((walker, grant("walker", "orders"))))
    said = office.refusal(office.draft((grant("walker", "orders"), grant("walker", "enterprises"))))
    assert SAW in said
    attempts.record(Wall.HISTORY, "bridge step by step", "accounts>orders>enterprises", REFUSED)
    unseen = compile_successor(
        office.draft((grant("walker", "orders"), grant("walker", "enterprises"))),
        office.ledger().editions,
        {},
    )
    assert unseen.number
    attempts.record(Wall.HISTORY, "bridge step by step", "without a history", CONTROL)


def _taken(office: Office, *changes: Change) -> bool:
    ledger = office.ledger()
    return bool(compile_successor(_changed(office, *changes), ledger.editions, ledger.touched))


# What an officer can't make of themselves.


def test_an_officer_makes_no_service_of_herself(office: Office, attempts: Attempts) -> None:
    """She may publish that she is one: her certificate stays an officer's."""
    herself = "spiffe://oshto.kg/officer/aida"
    office.publish(
        office.draft(
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
    office.wait()
    person = office.house.register()
    request = records.RevealRequest(
        compartment="accounts", purpose="services", pseudonym=person.pseudonym, fields=["phone"]
    )
    told = office.told("worker-accounts", "officer-aida", request)
    assert told == Reason.METHOD_NOT_ALLOWED
    attempts.record(Wall.EDITION, "make oneself a service", "an officer", REFUSED)
    assert office.told("worker-accounts", "aidas-own", request) == ""
    attempts.record(Wall.EDITION, "make oneself a service", "a certificate of its own", CONTROL)
    assert office.approve(EDITION, office.draft().encode(), "aida").effective  # and she still signs


def test_what_nobody_signed_is_not_even_read(
    office: Office, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read some megabytes takes seconds, in every process, whoever wrote them into the chain."""
    ledger, read = office.ledger(), []

    def reading(text: str) -> Edition:
        read.append(len(text))
        return compile_edition(text)

    monkeypatch.setattr("vault.service.ledger.compile_edition", reading)
    large = b"a: [" + b"{a: b}," * 500_000 + b"]"
    for signatures in (b"{}", sign_off({"aida": bytes(64)}), sign_off({"mallory": bytes(64)})):
        unsigned = Entry(ledger.sequence + 1, ledger.head, EDITION, large, signatures)
        assert ledger.follow([unsigned]).newest is ledger.newest
        assert not read
        attempts.record(Wall.EDITION, "keep processes busy with an edition", "unsigned", REFUSED)
    body = office.draft().encode()
    ledger.next(EDITION, body, office.sign(EDITION, body, "aida"))
    assert read
    attempts.record(Wall.EDITION, "keep processes busy with an edition", "signed", CONTROL)


# What remains.


def _orders_alone(tree: Any) -> None:
    """Withdraw every pair; who held both of one keeps the second."""
    tree["joinable"] = []
    second = {"orders": "orders", "clerk-orders": "orders"}
    kept = [its for its in tree["grants"] if second.get(its["service"]) == its["compartment"]]
    others = [its for its in tree["grants"] if its["service"] not in second]
    tree["grants"] = kept + others


REMAINS: dict[str, tuple[Change, ...]] = {
    "a new owner for the same people": (
        _owns("others"), _serves("third", "others"), _granted("third", "accounts")),
    "a recipient of two compartments": (
        _put("recipients", {"post": {"title": PEOPLE}}),
        _put("purposes/services/recipients", ["post"]),
        _put("purposes/statistics/recipients", ["post"])),
    "a basis that asks nobody": (_put("purposes/newsletter/basis", "legal_obligation"),),
    "a field more": (_put("purposes/newsletter/uses/accounts/fields/last_name", "plain"),),
    "a longer retention": (_put("purposes/newsletter/uses/accounts/retention", "99 years"),),
    "a pair withdrawn, what was seen kept": (_orders_alone,),
}  # fmt: skip


@pytest.mark.parametrize("changes", REMAINS.values(), ids=REMAINS)
def test_what_one_officer_may_publish(
    office: Office,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    changes: tuple[Change, ...],
) -> None:
    """Each is taken with one signature: the threat model names them."""
    body = _changed(office, *changes)
    assert office.ledger().needed(EDITION, body.encode()) == 1
    assert _taken(office, *changes)
    attempts.record(Wall.EDITION, "publish as one officer", request.node.name, RESIDUAL)
