"""When data falls due for erasure: with its last purpose, and not before."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from vault.policy import ConsentGiven, Edition, compile_edition, due

from .conftest import Change, Variant

REGISTERED = datetime(2026, 2, 1, tzinfo=UTC)
GIVEN = datetime(2026, 3, 1, tzinfo=UTC)
SECOND_IN_FORCE = datetime(2026, 6, 1, tzinfo=UTC)
ACCOUNT = ConsentGiven("account", 1, "ky", bytes(32), GIVEN)
NEWSLETTER = replace(ACCOUNT, purpose="newsletter")
EMAIL, CITY = 4, 7  # account and newsletter see the one, account alone the other


def _same(tree: Any) -> None:
    """Change nothing."""


def _retention(purpose: str, period: str) -> Change:
    def change(tree: Any) -> None:
        tree["purposes"][purpose]["uses"]["accounts"]["retention"] = period

    return change


def _no_city(tree: Any) -> None:
    del tree["purposes"]["account"]["uses"]["accounts"]["fields"]["city"]


def _no_account(tree: Any) -> None:
    del tree["purposes"]["account"]["uses"]["accounts"]
    tree["grants"] = [its for its in tree["grants"] if its["service"] != "support"]


def _no_field_city(tree: Any) -> None:
    _no_city(tree)
    del tree["compartments"]["accounts"]["fields"]["city"]


def _day(year: int, month: int, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


CASES: dict[str, tuple[Change, Change, tuple[ConsentGiven, ...], dict[int, datetime]]] = {
    "the longest purpose counts": (
        _same, _same, (ACCOUNT, NEWSLETTER), {EMAIL: _day(2029, 3), CITY: _day(2029, 3)}
    ),
    "without consent, from the registration": (
        _same, _same, (), {EMAIL: _day(2029, 2), CITY: _day(2029, 2)}
    ),
    "withdrawn, it may be given again": (
        _same, _same, (replace(ACCOUNT, withdrawn_at=GIVEN),), {CITY: _day(2029, 3)}
    ),
    "given again, it runs anew": (
        _same, _same, (ACCOUNT, replace(ACCOUNT, edition=2, given_at=_day(2026, 7))),
        {CITY: _day(2029, 7)},
    ),
    "now kept for less": (
        _same, _retention("account", "1 year"), (ACCOUNT,), {CITY: _day(2027, 3)}
    ),
    "now kept for longer than was told": (
        _retention("account", "1 year"), _same, (ACCOUNT,), {CITY: _day(2027, 3)}
    ),
    "now kept for longer than was told when registered": (
        _retention("account", "1 year"), _same, (), {CITY: _day(2027, 2)}
    ),
    "one purpose less": (_same, _no_account, (NEWSLETTER,), {EMAIL: _day(2027, 3)}),
    "no purpose sees it any more": (_same, _no_city, (ACCOUNT,), {CITY: SECOND_IN_FORCE}),
    "no such field any more": (_same, _no_field_city, (ACCOUNT,), {CITY: SECOND_IN_FORCE}),
    "nothing is held": (_same, _same, (ACCOUNT,), {}),
    "told by an edition that nobody knows": (
        _same, _same, (replace(ACCOUNT, edition=9),), {CITY: _day(2029, 3)}
    ),
}  # fmt: skip


@pytest.mark.parametrize(("first", "second", "consents", "ends"), CASES.values(), ids=CASES.keys())
def test_due(
    variant: Variant,
    first: Change,
    second: Change,
    consents: tuple[ConsentGiven, ...],
    ends: dict[int, datetime],
) -> None:
    """Edition 1 was told; edition 2 is in force."""
    editions = _editions(variant, first, second)
    assert due(editions, editions[2], "accounts", consents, REGISTERED, ends.keys()) == ends


def _editions(variant: Variant, first: Change, second: Change) -> dict[int, Edition]:
    one = compile_edition(variant(first))

    def later(tree: Any) -> None:
        second(tree)
        tree.update(edition=2, predecessor=one.digest.hex(), in_force=SECOND_IN_FORCE.isoformat())

    return {1: one, 2: compile_edition(variant(later))}
