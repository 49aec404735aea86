"""Wall 2, editions: none may give anybody what must not be joined, whoever signs it.

What is tried is handed in to control, signed by an officer as every edition is. The neighbour of
each attempt, an edition that is allowed and as near to it as can be, is held against the same
rules and the same past, and taken.
"""

from uuid import uuid4

import pytest

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
from tests.attack.attempts import CONTROL, REFUSED, Attempts, Wall
from tests.attack.edition_changes import (
    PEOPLE,
    TreeChange,
    changed,
    compartment_is,
    copied,
    drop,
    granted,
    id_of,
    new_web,
    owns,
    put,
    serves,
    swapped,
    taken,
    ungranted,
)
from tests.people import COMPARTMENTS
from vault.errors import Reason
from vault.policy import Edition, compile_edition, compile_successor
from vault.service.ledger import EDITION, Entry, sign_off


@pytest.fixture(scope="module")
def actors(actors: Actors) -> Actors:
    """Clerks that have a past, each in its compartment."""
    for name in COMPARTMENTS:
        assert actors.told(f"worker-{name}", f"clerk-{name}", reveal(name)) == Reason.NOT_FOUND
    return actors


BOTH, SAW = "would hold both", "what was seen isn't forgotten"
# What is tried, what is said of it, and the neighbour that is allowed.
TRIED: dict[str, tuple[tuple[TreeChange, ...], str, tuple[TreeChange, ...]]] = {
    "a service": (
        (granted("clerk-web", "accounts"),), BOTH, (granted("clerk-orders", "accounts"),)),
    "an owner, by two services": (
        (serves("second", "clerks-web"), granted("second", "accounts")), BOTH,
        (serves("second", "clerks-orders"), granted("second", "accounts"))),
    "an owner, by three services of which no two clash": (
        (serves("s2", "clerks-orders"), granted("s2", "accounts"),
         serves("s3", "clerks-orders"), granted("s3", "enterprises")), BOTH,
        (serves("s2", "clerks-orders"), granted("s2", "accounts"))),
    "put alone": (
        (granted("clerk-web", "accounts", "put"),), BOTH,
        (granted("clerk-orders", "accounts", "put"),)),
    "find alone": (
        (granted("clerk-web", "accounts", "find"),), BOTH,
        (granted("clerk-orders", "accounts", "find"),)),
    "a grant that is forbidden in the same edition": (
        (granted("clerk-web", "accounts"),
         put("forbid", [{"service": "clerk-web", "compartment": "accounts", "reason": PEOPLE}])),
        BOTH,
        (put("forbid", [{"service": "clerk-web", "compartment": "web", "reason": PEOPLE}]),)),
    "one purpose that uses both": (
        (granted("clerk-accounts", "accounts", purpose="account"),
         granted("clerk-accounts", "enterprises", purpose="account")), BOTH,
        (granted("clerk-accounts", "accounts", purpose="account"),)),
    "a compartment under another name": (
        (compartment_is("web", "site"), granted("clerk-web", "accounts")), BOTH,
        (compartment_is("web", "site"),)),
    "a compartment under another name, and moved away from": (
        (compartment_is("web", "site"), ungranted("clerk-web"),
         granted("clerk-web", "accounts")), SAW,
        (compartment_is("web", "site"), ungranted("clerk-web"))),
    "names of compartments swapped": (
        (swapped("accounts", "web"),), "was another in edition", ()),
    "the uuid of one for another": (
        (copied("web", "site"),), "is another compartment's uuid", ()),
    "a new uuid for an old name": ((new_web,), "was another in edition", ()),
    "a compartment that is nowhere": (
        (copied("web", "site", str(uuid4())),), "isn't provisioned", ()),
    "a service moved to another owner": (
        (owns("others"), put("services/clerk-web/owner", "others")), "was a service of",
        (owns("others"), serves("third", "others"))),
    "a service's SPIFFE id for another owner's": (
        (owns("others"), drop("services/clerk-web"), ungranted("clerk-web"),
         serves("third", "others"), put("services/third/spiffe", spiffe_of("clerk-web"))),
        "was a service of", (drop("services/clerk-web"), ungranted("clerk-web"))),
    "another id for an owner's name": (
        (owns("clerks-web"),), "was another in edition", ()),
    "an owner's id for another's name, beside it": (
        (lambda tree: owns("others", tree["owners"]["clerks-web"]["id"])(tree),),
        "is another owner's id", ()),
    "an owner's id in capitals, and moved": (
        (id_of("clerks-web"), ungranted("clerk-web"), granted("clerk-web", "accounts")), SAW,
        (id_of("clerks-web"),)),
    "moved from one to the other": (
        (ungranted("clerk-web"), granted("clerk-web", "accounts")), SAW,
        (ungranted("clerk-web"),)),
    "a subject-facing service made internal": (
        (put(f"services/{KIOSK}/subject_facing", False), granted(KIOSK, "web")),
        "acted for subjects", ()),
    "a subject-facing owner's second service": (
        (serves("back", "kiosks"), granted("back", "web")), "belongs to an owner of",
        (owns("others"), serves("back", "others"), granted("back", "web"))),
    "a subject-facing owner's next service": (
        (drop(f"services/{KIOSK}"), serves("back", "kiosks"), granted("back", "web")),
        "acted for subjects", (drop(f"services/{KIOSK}"),)),
    "an internal service made subject-facing": (
        (ungranted("clerk-web"), put("services/clerk-web/subject_facing", True)),
        "holds data as", (owns("others"), serves("new", "others", subject_facing=True))),
    "an internal owner's next service made subject-facing": (
        (ungranted("clerk-web"), drop("services/clerk-web"),
         serves("new", "clerks-web", subject_facing=True)), "holds data as", ()),
    "a grant to a subject-facing service": (
        (granted(KIOSK, "web"),), "is subject-facing", ()),
    "a pair with itself": (
        (put("joinable", [{"between": ["web", "web"], "reason": PEOPLE}]),),
        "names one compartment twice", ()),
    "a pair with three": (
        (put("joinable", [{"between": ["web", "accounts", "orders"], "reason": PEOPLE}]),),
        "joinable", ()),
    "a pair without a reason": (
        (put("joinable", [{"between": ["accounts", "orders"]}]),), "is missing", ()),
    "an edition before the last": ((put("edition", 1),), "predecessor", ()),
    "an edition beside the last": ((put("predecessor", "0" * 64),), "should be", ()),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "says", "neighbour"), TRIED.values(), ids=TRIED)
def test_no_edition_completes_what_must_not_be_joined(
    actors: Actors,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    changes: tuple[TreeChange, ...],
    says: str,
    neighbour: tuple[TreeChange, ...],
) -> None:
    assert says in actors.refusal(changed(actors, *changes))
    wall = Wall.HISTORY if says == SAW else Wall.EDITION
    attempts.record(wall, "publish what must not be joined", request.node.name, REFUSED)
    ledger = actors.chain.ledger()
    assert compile_successor(changed(actors, *neighbour), ledger.editions, ledger.touched)
    attempts.record(wall, "publish what must not be joined", "its neighbour", CONTROL)


def test_no_bridge_leads_over_a_joinable_middle(actors: Actors, attempts: Attempts) -> None:
    """A with B and B with C, both declared by two officers: nobody gets A with C, in no way."""
    bridge = pair("enterprises", "orders")
    actors.publish(
        actors.draft(
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
    actors.wait()
    assert actors.told("worker-accounts", "walker", reveal("accounts")) == Reason.NOT_FOUND
    legs = [("accounts", "orders"), ("orders", "enterprises")]
    for leg in legs:
        assert taken(actors, *(granted("bridger", name) for name in leg))
        attempts.record(Wall.EDITION, "bridge over a joinable middle", " and ".join(leg), CONTROL)
    ends = ("accounts", "orders", "enterprises")
    for where in (ends, ("accounts", "enterprises")):
        one = [granted("bridger", name) for name in where]
        several = [
            change
            for i, name in enumerate(where)
            for change in (serves(f"b{i}", "bridgers"), granted(f"b{i}", name))
        ]
        for how, changes in (("one service", one), ("a service each", several)):
            said = actors.refusal(changed(actors, *changes))
            assert "would hold both accounts and enterprises" in said
            attempts.record(Wall.EDITION, "bridge over a joinable middle", how, REFUSED)
    # Step by step: the walker saw accounts, and steps to orders, and from there to enterprises.
    walker = grant("walker", "accounts")
    actors.publish(actors.draft((walker, grant("walker", "orders"))))
    said = actors.refusal(actors.draft((grant("walker", "orders"), grant("walker", "enterprises"))))
    assert SAW in said
    attempts.record(Wall.HISTORY, "bridge step by step", "accounts>orders>enterprises", REFUSED)
    unseen = compile_successor(
        actors.draft((grant("walker", "orders"), grant("walker", "enterprises"))),
        actors.chain.ledger().editions,
        {},
    )
    assert unseen.number
    attempts.record(Wall.HISTORY, "bridge step by step", "without a history", CONTROL)


def test_what_nobody_signed_is_not_even_read(
    actors: Actors, attempts: Attempts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To read some megabytes takes seconds, in every process, whoever wrote them into the chain."""
    ledger, read = actors.chain.ledger(), []

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
    body = actors.draft().encode()
    ledger.next(EDITION, body, actors.sign(EDITION, body, "aida"))
    assert read
    attempts.record(Wall.EDITION, "keep processes busy with an edition", "signed", CONTROL)
