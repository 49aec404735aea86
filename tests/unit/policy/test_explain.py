"""Explaining: rule by rule, and always with the verdict of `decide`."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.policy import Allowed, Edition, Operation, compile_edition, decide, explain

from .checked_in import CLINIC, OSH
from .conftest import Variant

EDITIONS = [compile_edition(path.read_text(encoding="utf-8")) for path in (OSH, CLINIC)]


@st.composite
def requests(draw: st.DrawFn) -> tuple[Edition, Any, str, str, Operation, list[str]]:
    """Anything that could be asked: mostly of what there is, sometimes of what there isn't."""
    edition = draw(st.sampled_from(EDITIONS))
    compartment = draw(st.sampled_from([*edition.compartments, "x"]))
    held = edition.compartments.get(compartment)
    return (
        edition,
        draw(st.sampled_from(list(edition.services.values()))),
        draw(st.sampled_from([*edition.purposes, "x"])),
        compartment,
        draw(st.sampled_from(Operation)),
        draw(st.lists(st.sampled_from([*(held.fields if held else ()), "x"]), max_size=4)),
    )


@given(requests())
def test_all_rules_hold_just_where_it_is_allowed(request: Any) -> None:
    steps = explain(*request)
    assert all(step.holds for step in steps) == isinstance(decide(*request), Allowed)
    assert all(step.sentence.endswith(".") for step in steps)


def _rules(edition: Edition, service: str, *asked: Any) -> list[tuple[str, bool]]:
    steps = explain(edition, edition.services[service], *asked)
    return [(step.rule, step.holds) for step in steps]


NAMED = [("fields", True), ("compartment", True), ("purpose", True)]
CASES: dict[str, tuple[Path, tuple[Any, ...], list[tuple[str, bool]]]] = {
    "allowed": (
        OSH, ("support", "account", "accounts", Operation.REVEAL, ["email", "city"]),
        [*NAMED, ("forbid", True), ("grant", True), ("form", True), ("form", True),
         ("record", True)],
    ),
    "not granted": (
        OSH, ("newsletter", "services", "accounts", Operation.REVEAL, ["phone"]),
        [*NAMED, ("forbid", True), ("grant", False), ("form", True)],
    ),
    "subject-facing": (
        OSH, ("portal", "services", "accounts", Operation.REVEAL, ["phone"]),
        [*NAMED, ("forbid", True), ("grant", False), ("form", True)],
    ),
    "beyond its purpose": (
        OSH, ("newsletter", "newsletter", "accounts", Operation.REVEAL, ["email", "phone"]),
        [*NAMED, ("forbid", True), ("grant", True), ("form", True), ("form", False)],
    ),
    "in another compartment": (
        OSH, ("newsletter", "newsletter", "web", Operation.REVEAL, ["user_agent"]),
        [*NAMED, ("forbid", True), ("grant", False), ("form", False)],
    ),
    "not to be written": (
        CLINIC, ("cashier", "billing", "invoices", Operation.PUT, ["address", "bank_account"]),
        [*NAMED, ("forbid", True), ("grant", True), ("form", True), ("form", False)],
    ),
    "not to be found by": (
        CLINIC, ("ward", "treatment", "patients", Operation.FIND, ["last_name"]),
        [*NAMED, ("forbid", True), ("grant", True), ("form", False)],
    ),
    "forbidden": (
        CLINIC, ("ward", "treatment", "patients", Operation.FIND, ["insurance_number"]),
        [*NAMED, ("forbid", False), ("grant", True), ("form", True)],
    ),
    "nothing named": (OSH, ("orders", "services", "accounts", Operation.REVEAL, []),
                      [("fields", False), *NAMED[1:]]),
    "nothing that there is": (OSH, ("orders", "x", "x", Operation.REVEAL, ["x"]),
                              [("fields", True), ("compartment", False), ("purpose", False)]),
    "no such field": (OSH, ("orders", "services", "accounts", Operation.REVEAL, ["x"]),
                      [*NAMED, ("field", False)]),
}  # fmt: skip


@pytest.mark.parametrize(("example", "asked", "rules"), CASES.values(), ids=CASES.keys())
def test_rule_by_rule(example: Path, asked: tuple[Any, ...], rules: list[tuple[str, bool]]) -> None:
    edition = EDITIONS[[OSH, CLINIC].index(example)]
    assert _rules(edition, *asked) == rules


def test_a_value_in_the_place_of_a_name_is_not_repeated(edition: Edition) -> None:
    value, orders = "aigul@example.kg", edition.services["orders"]
    for asked in [(value, "accounts", "phone"), ("services", value, "phone"),
                  ("services", "accounts", value)]:  # fmt: skip
        steps = explain(edition, orders, *asked[:2], Operation.REVEAL, [asked[2]])
        assert not any(value in step.sentence for step in steps)


@pytest.mark.parametrize("asks", [False, True])
def test_says_whom_a_subject_facing_service_acts_for(variant: Variant, asks: bool) -> None:
    def change(tree: Any) -> None:
        tree["services"]["portal"]["require_subject_assertion"] = asks

    edition = compile_edition(variant(change))
    portal = edition.services["portal"]
    steps = explain(edition, portal, "services", "orders", Operation.REVEAL, ["address"])
    (said,) = (step.sentence for step in steps if step.rule == "grant")
    assert ("for subjects who are there, and" in said) == asks
    assert ("for subjects, and" in said) != asks


def test_says_what_the_record_decides(variant: Variant) -> None:
    def by_contract(tree: Any) -> None:
        tree["purposes"]["services"]["basis"] = "contract"

    asked = ("services", "orders", Operation.REVEAL, ["address"])
    consent, contract = EDITIONS[0], compile_edition(variant(by_contract))
    assert "have consented" in explain(consent, consent.services["orders"], *asked)[-1].sentence
    last = explain(contract, contract.services["orders"], *asked)[-1].sentence
    assert "been told when they registered" in last
    assert "1 year" in last
