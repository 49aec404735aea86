"""An edition after others: what keeps its id, what is refused, and what nobody forgets."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.policy import (
    Edition,
    EditionError,
    check_succession,
    compile_edition,
    compile_successor,
    needs_officers,
)
from vault.policy.clique import rejoined

from .conftest import Change, Variant

NEW_ID = "11111111-2222-4333-8444-555555555555"


def _same(tree: Any) -> None:
    """Change nothing."""


def _both(*changes: Change) -> Change:
    def change(tree: Any) -> None:
        for one in changes:
            one(tree)

    return change


def _row(variant: Variant, *changes: Change) -> dict[int, Edition]:
    """Publish editions one after the other, each with its change to the example."""
    row: dict[int, Edition] = {}
    for change in changes:
        edition = compile_edition(_next(variant, row, change))
        row[edition.number] = edition
    return row


def _next(variant: Variant, row: Mapping[int, Edition], change: Change) -> str:
    def numbered(tree: Any) -> None:
        last = row[max(row)].digest.hex() if row else None
        tree.update(edition=len(row) + 1, predecessor=last)
        change(tree)

    return variant(numbered)


def _rename(section: str, old: str, new: str) -> Change:
    return lambda tree: tree[section].update({new: tree[section].pop(old)})


def _set(*path: str, to: Any) -> Change:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        tree[path[-1]] = to

    return change


def _drop(*path: str) -> Change:
    def change(tree: Any) -> None:
        for key in path[:-1]:
            tree = tree[key]
        del tree[path[-1]]

    return change


def _no_web(tree: Any) -> None:
    del tree["compartments"]["web"], tree["purposes"]["statistics"]
    tree["grants"].pop()


def _web_is_site(tree: Any) -> None:
    _rename("compartments", "web", "site")(tree)
    tree["purposes"]["statistics"]["uses"] = {"site": tree["purposes"]["statistics"]["uses"]["web"]}
    tree["grants"][-1]["compartment"] = "site"


def _no_press(tree: Any) -> None:
    del tree["owners"]["press_office"], tree["services"]["newsletter"]
    tree["grants"] = [its for its in tree["grants"] if its["service"] != "newsletter"]


def _press_is(name: str) -> Change:
    return _both(
        _rename("owners", "press_office", name), _set("services", "newsletter", "owner", to=name)
    )


def _other(compartment: str, field: str, **changes: Any) -> Change:
    return lambda tree: tree["compartments"][compartment]["fields"][field].update(changes)


FOLLOWS: dict[str, tuple[Change, ...]] = {
    "nothing changed": (_same, _same),
    "a compartment renamed": (_same, _web_is_site),
    "a compartment gone, and back": (_same, _no_web, _same),
    "a field renamed": (
        _set("purposes", "statistics", "uses", "web", "fields", to={"cookie_id": "present"}),
        _both(
            _set("purposes", "statistics", "uses", "web", "fields", to={"cookie_id": "present"}),
            lambda tree: tree["compartments"]["web"].update(
                fields={"cookie_id": tree["compartments"]["web"]["fields"]["cookie_id"],
                        "browser": tree["compartments"]["web"]["fields"]["user_agent"]}
            ),
        ),
    ),
    "a field indexed": (_same, _other("web", "cookie_id", index="unique")),
    "a field no longer indexed": (_same, _other("accounts", "phone", index=None)),
    "a field no longer voluntary": (_same, _other("accounts", "city", voluntary=False)),
    "an owner renamed": (_same, _press_is("newsroom")),
    "an owner gone, and back": (_same, _no_press, _same),
    "an owner renamed, gone, and back as last known": (
        _same, _press_is("newsroom"), _no_press, _press_is("newsroom")
    ),
    "a service renamed": (_same, _both(
        _rename("services", "analytics", "counter"),
        lambda tree: tree["grants"][-1].update(service="counter"),
    )),
    "posted at the same moment": (_same, _same),
}  # fmt: skip


@pytest.mark.parametrize("changes", FOLLOWS.values(), ids=FOLLOWS)
def test_follows(variant: Variant, changes: tuple[Change, ...]) -> None:
    """Names may change; ids stay with what was written and seen under them."""
    row = _row(variant, *changes)
    last = row.pop(len(row))
    check_succession(row, last, {})


def _orders_moves(tree: Any) -> None:
    tree["services"]["orders"]["owner"] = "site_statistics"
    tree["grants"] = [its for its in tree["grants"] if its["service"] != "analytics"]


def _analytics_is_of_the_press(tree: Any) -> None:
    tree["services"]["analytics"].update(owner="press_office", spiffe="spiffe://oshto.kg/anew")
    tree["grants"].pop()


def _no_analytics(tree: Any) -> None:
    del tree["services"]["analytics"]
    tree["grants"].pop()


def _portal_works(tree: Any) -> None:
    tree["services"]["portal"].update(subject_facing=False, spiffe="spiffe://oshto.kg/inside")


def _analytics_faces(tree: Any) -> None:
    tree["services"]["analytics"].update(subject_facing=True, spiffe="spiffe://oshto.kg/face")
    tree["grants"].pop()


def _analytics_reaches(*compartments: str) -> Change:
    purposes = {"web": "statistics", "orders": "services", "accounts": "services"}

    def change(tree: Any) -> None:
        tree["grants"] = [its for its in tree["grants"] if its["service"] != "analytics"]
        for name in compartments:
            grant = {"service": "analytics", "purpose": purposes[name], "compartment": name}
            tree["grants"].append({**grant, "operations": ["reveal"]})

    return change


@dataclass(frozen=True, slots=True)
class Case:
    """Editions, of which the last is refused at a path, with a sentence."""

    changes: tuple[Change, ...]
    path: str
    sentence: str


REFUSED = {
    "a number skipped": Case((_same, _set("edition", to=3)), "edition", "should be 2"),
    "a number again": Case((_same, _same, _set("edition", to=2)), "edition", "should be 3"),
    "another predecessor": Case((_same, _set("predecessor", to="0" * 64)), "predecessor",
                                "the digest of the last edition"),
    "posted before the last": Case((_same, _set("posted", to="2025-12-31T00:00:00+06:00")),
                                   "posted", "lies before"),
    "another region": Case((_same, _set("region", to="KZ")), "region", "was KG and never changes"),
    "a region out of nothing": Case((_drop("region"), _same), "region", "was left out"),
    "a compartment's name for another": Case(
        (_same, _set("compartments", "web", "uuid", to=NEW_ID)), "compartments.web.uuid",
        "was another in edition 1",
    ),
    "a compartment's name for another, after a while": Case(
        (_same, _no_web, _set("compartments", "web", "uuid", to=NEW_ID)), "compartments.web.uuid",
        "was another in edition 1",
    ),
    "a field of another type": Case((_same, _other("web", "user_agent", type="name")),
                                    "compartments.web.fields.user_agent.uid",
                                    "was user_agent of type text in edition 1"),
    "a field's uid for another, after a while": Case(
        (_same, _no_web, _both(_web_is_site, _other("site", "user_agent", type="date"))),
        "compartments.site.fields.user_agent.uid", "of type text in edition 1",
    ),
    "an index from unique to shared": Case(
        (_same, _other("accounts", "email", index="shared")),
        "compartments.accounts.fields.email.index", "make a new field",
    ),
    "an index from unique to shared by way of none": Case(
        (_same, _other("accounts", "email", index=None),
         _other("accounts", "email", index="shared")),
        "compartments.accounts.fields.email.index", "was unique in edition 1",
    ),
    "a team that sheds its id": Case((_same, _set("owners", "press_office", "id", to=NEW_ID)),
                                     "owners.press_office.id", "what the team saw counts"),
    "an id for another team, after a while": Case(
        (_same, _no_press, _press_is("newsroom")), "owners.newsroom.id", "the id of press_office",
    ),
    "a service that changes hands": Case((_same, _orders_moves), "services.orders.spiffe",
                                         "was a service of municipal_services"),
    "a service's name for another team's": Case(
        (_same, _analytics_is_of_the_press), "services.analytics.owner",
        "was a service of site_statistics",
    ),
    "a service's name for another team's, after a while": Case(
        (_same, _no_analytics, _analytics_is_of_the_press), "services.analytics.owner",
        "give this service another name",
    ),
    "a subject-facing team that would hold data": Case(
        (_same, _portal_works), "services.portal.owner", "acted for subjects",
    ),
    "a team with data that would face subjects": Case(
        (_same, _analytics_faces), "services.analytics.owner", "holds data",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_is_refused(variant: Variant, case: Case) -> None:
    """Each rule refuses at the right place, with a sentence that says what to change."""
    row = _row(variant, *case.changes[:-1])
    text = _next(variant, row, case.changes[-1])
    with pytest.raises(EditionError) as refused:
        compile_successor(text, row, {})
    places = [fault for fault in refused.value.faults if fault.path == case.path]
    assert [fault for fault in places if case.sentence in fault.message], str(refused.value)
    assert all(fault.line and fault.line >= 1 for fault in refused.value.faults)
    with pytest.raises(EditionError) as unplaced:
        check_succession(row, compile_edition(text), {})
    assert {its.message for its in unplaced.value.faults} == {
        its.message for its in refused.value.faults
    }
    assert "line" not in str(unplaced.value).splitlines()[1]


def test_all_refusals_come_at_once(variant: Variant) -> None:
    several = ["a number skipped", "another region", "a field of another type",
               "posted before the last", "a service that changes hands"]  # fmt: skip
    row = _row(variant, _same)
    spoilt = _both(*(REFUSED[name].changes[-1] for name in several))
    with pytest.raises(EditionError) as refused:
        check_succession(row, compile_edition(_next(variant, row, spoilt)), {})
    assert {fault.path for fault in refused.value.faults} == {
        REFUSED[name].path for name in several
    }


def test_what_an_edition_lacks_by_itself_comes_first(variant: Variant) -> None:
    row = _row(variant, _same)
    spoilt = _both(_set("edition", to=3), _set("services", "orders", "owner", to="mayor"))
    with pytest.raises(EditionError) as refused:
        compile_successor(_next(variant, row, spoilt), row, {})
    assert [fault.path for fault in refused.value.faults] == ["services.orders.owner"]


TOUCHED_WEB = ("web",)
WALLS: dict[str, tuple[tuple[Change, ...], tuple[str, ...], str]] = {
    "kept what is held": ((_same, _same), TOUCHED_WEB, ""),
    "web before, accounts now": ((_same, _analytics_reaches("accounts")), TOUCHED_WEB,
                                 "touched web before and would now hold accounts"),
    "web before, nothing between, accounts now": (
        (_same, _analytics_reaches(), _analytics_reaches("accounts")), TOUCHED_WEB,
        "touched web before and would now hold accounts",
    ),
    "web granted but never touched, accounts now": (
        (_same, _analytics_reaches("accounts")), (), "",
    ),
    "accounts before, orders now, joinable": (
        (_analytics_reaches("accounts"), _analytics_reaches("orders")), ("accounts",), "",
    ),
    "accounts before, orders now, no longer joinable": (
        (_analytics_reaches("accounts"),
         _both(_analytics_reaches("orders"), _set("joinable", to=[]),
               lambda tree: tree["grants"].pop(0))),
        ("accounts",), "touched accounts before and would now hold orders",
    ),
    "web before under another name": (
        (_same, _both(_web_is_site, _analytics_reaches("accounts"))), TOUCHED_WEB,
        "touched site before",
    ),
    "web before, which is gone": (
        (_same, _both(_no_web, _analytics_reaches("accounts"))), TOUCHED_WEB,
        "touched web before it was removed and would now hold accounts",
    ),
    "web again": ((_same, _analytics_reaches(), _same), TOUCHED_WEB, ""),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "touched", "sentence"), WALLS.values(), ids=WALLS)
def test_history(
    variant: Variant, changes: tuple[Change, ...], touched: tuple[str, ...], sentence: str
) -> None:
    """What an owner once touched counts with what it is newly granted (clause 2.4 d)."""
    row = _row(variant, *changes)
    last, first = row.pop(len(row)), row[1]
    owner = first.owners["site_statistics"]
    seen = {owner: frozenset(first.compartment(name).uuid for name in touched)}
    if not sentence:
        check_succession(row, last, seen)
        return
    with pytest.raises(EditionError) as refused:
        check_succession(row, last, seen)
    [fault] = refused.value.faults
    assert fault.path.startswith("grants[")
    assert sentence in fault.message
    assert "what was seen isn't forgotten" in fault.message


def test_history_follows_an_owner_under_another_name(variant: Variant) -> None:
    renamed = _both(
        _rename("owners", "site_statistics", "counting"),
        _set("services", "analytics", "owner", to="counting"),
        _analytics_reaches("accounts"),
    )
    row = _row(variant, _same, renamed)
    touched = {row[1].owners["site_statistics"]: frozenset({row[1].compartment("web").uuid})}
    with pytest.raises(EditionError) as refused:
        check_succession({1: row[1]}, row[2], touched)
    assert "the owner counting touched web" in str(refused.value)


OWNERS, UUIDS = ("red", "blue"), tuple(bytes([i]) for i in range(5))
reached = st.sets(st.tuples(st.sampled_from(OWNERS), st.sampled_from(UUIDS)))
pairs = st.sets(st.sets(st.sampled_from(UUIDS), min_size=2, max_size=2).map(frozenset))


@given(reached, reached, reached, pairs)
def test_history_finds_just_what_trying_everything_finds(
    held: set[tuple[str, bytes]],
    granted: set[tuple[str, bytes]],
    touched: set[tuple[str, bytes]],
    joinable: set[frozenset[bytes]],
) -> None:
    oracle = {
        (owner, new, old)
        for owner, new, old in product(OWNERS, UUIDS, UUIDS)
        if (owner, new) in granted and (owner, new) not in held and (owner, old) in touched
        if new != old and {new, old} not in joinable
    }
    by_owner = {owner: {uuid for name, uuid in touched if name == owner} for owner in OWNERS}
    found = list(rejoined(held, sorted(granted), by_owner, joinable))
    assert set(found) == oracle
    assert len(found) == len(oracle)


def _join(*names: str) -> Change:
    reason = {"ky": "a", "ru": "b", "en": "c"}
    return lambda tree: tree["joinable"].append({"between": list(names), "reason": reason})


def _swapped(tree: Any) -> None:
    tree["joinable"][0]["between"].reverse()


def _faces(*, asked: bool = False, spiffe: str = "spiffe://oshto.kg/portal") -> Change:
    return lambda tree: tree["services"]["portal"].update(
        require_subject_assertion=asked, spiffe=spiffe
    )


def _second_portal(tree: Any) -> None:
    title = {"ky": "a", "ru": "b", "en": "c"}
    tree["owners"]["kiosks"] = {"id": NEW_ID, "title": title}
    kiosk = {"owner": "kiosks", "spiffe": "spiffe://oshto.kg/kiosk", "subject_facing": True}
    tree["services"]["kiosk"] = {**kiosk, "require_subject_assertion": True}


def _no_portal(tree: Any) -> None:
    del tree["services"]["portal"]


OFFICERS: dict[str, tuple[Change, Change, int]] = {
    "the same pairs": (_same, _same, 1),
    "a pair the other way round": (_same, _swapped, 1),
    "a new reason": (_same, _set("law", to={"ky": "a", "ru": "b", "en": "c"}), 1),
    "a new pair": (_same, _join("orders", "web"), 2),
    "a pair less": (_join("orders", "web"), _same, 1),
    "a pair between renamed compartments": (_join("orders", "web"), _both(
        _web_is_site, _join("orders", "site")), 1),
    "a new service that acts for subjects": (_same, _second_portal, 2),
    "one less": (_second_portal, _same, 1),
    "one back": (_no_portal, _same, 2),
    "one renamed": (_same, _rename("services", "portal", "front"), 1),
    "one under another SPIFFE id": (_same, _faces(spiffe="spiffe://oshto.kg/front"), 2),
    "subjects must be there": (_same, _faces(asked=True), 1),
    "subjects needn't be there any more": (_faces(asked=True), _same, 2),
}  # fmt: skip


class TestOfficers:
    @pytest.mark.parametrize(("first", "second", "needed"), OFFICERS.values(), ids=OFFICERS.keys())
    def test_are_two_for_a_new_pair_and_for_who_newly_acts_for_subjects(
        self, variant: Variant, first: Change, second: Change, needed: int
    ) -> None:
        row = _row(variant, first, second)
        assert needs_officers(row[1], row[2]) == needed

    def test_are_one_for_the_first_edition(self, edition: Edition) -> None:
        """Nothing was collected apart before it."""
        assert edition.joinable
        assert needs_officers(None, edition) == 1


def test_the_first_edition_follows_nothing(edition: Edition) -> None:
    check_succession({}, edition, {})
