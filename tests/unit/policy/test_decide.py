"""Deciding: what is granted is allowed in its form, all else is denied, each with its reason."""

from itertools import combinations, product
from pathlib import Path
from typing import Any

import pytest
import yaml

from vault.errors import Reason
from vault.policy import (
    Allowed,
    Denied,
    Description,
    Edition,
    Form,
    Operation,
    compile_edition,
    decide,
    describe,
)

from .checked_in import CLINIC, OSH
from .conftest import Variant

REVEAL, PUT, FIND = Operation.REVEAL, Operation.PUT, Operation.FIND


def test_allows_fields_in_the_order_asked_each_in_its_form(edition: Edition) -> None:
    support = edition.services["support"]
    decision = decide(
        edition, support, "account", "accounts", REVEAL, ["phone", "city", "last_name"]
    )
    assert isinstance(decision, Allowed)
    assert [(use.field.name, use.form) for use in decision.uses] == [
        ("phone", Form.MASKED),
        ("city", Form.PRESENT),
        ("last_name", Form.PLAIN),
    ]


DENIED = {
    "no field": ("orders", "services", "accounts", REVEAL, [], Reason.MALFORMED_REQUEST),
    "a field twice": ("orders", "services", "accounts", REVEAL, ["phone", "phone"],
                      Reason.MALFORMED_REQUEST),
    "no such compartment": ("orders", "x", "x", REVEAL, ["x"], Reason.UNKNOWN_COMPARTMENT),
    "no such purpose": ("orders", "x", "accounts", REVEAL, ["x"], Reason.UNKNOWN_PURPOSE),
    "no such field": ("orders", "statistics", "accounts", REVEAL, ["x"], Reason.UNKNOWN_FIELD),
    "another's purpose": ("orders", "newsletter", "accounts", REVEAL, ["email"],
                          Reason.NOT_GRANTED),
    "another's compartment": ("orders", "statistics", "web", REVEAL, ["user_agent"],
                              Reason.NOT_GRANTED),
    "a purpose that doesn't use it": ("orders", "services", "web", REVEAL, ["user_agent"],
                                      Reason.NOT_GRANTED),
    "another operation": ("orders", "services", "accounts", PUT, ["phone"], Reason.NOT_GRANTED),
    "not granted comes before beyond": ("orders", "services", "accounts", PUT, ["email"],
                                        Reason.NOT_GRANTED),
    "subject-facing": ("portal", "account", "accounts", REVEAL, ["email"], Reason.NOT_GRANTED),
    "a field beyond": ("orders", "services", "accounts", REVEAL, ["phone", "email"],
                       Reason.FIELD_BEYOND_PURPOSE),
    "find without index": ("support", "account", "accounts", FIND, ["last_name"],
                           Reason.FIELD_BEYOND_PURPOSE),
}  # fmt: skip


@pytest.mark.parametrize(
    ("service", "purpose", "compartment", "operation", "fields", "reason"),
    DENIED.values(),
    ids=DENIED,
)
def test_denies(
    edition: Edition,
    service: str,
    purpose: str,
    compartment: str,
    operation: Operation,
    fields: list[str],
    reason: Reason,
) -> None:
    """Each refusal has its reason, in the fixed order, and a sentence with the remedy."""
    caller = edition.services[service]
    decision = decide(edition, caller, purpose, compartment, operation, fields)
    assert isinstance(decision, Denied)
    assert decision.reason is reason
    assert decision.message.endswith(".")
    assert decision.error().reason is reason


FORBIDDEN: dict[str, dict[str, Any]] = {
    "the service": {"service": "support"},
    "the owner": {"owner": "helpdesk"},
    "the purpose": {"purpose": "account"},
    "the compartment": {"compartment": "accounts"},
    "the field": {"compartment": "accounts", "fields": ["city", "email"]},
    "the operation": {"service": "support", "operations": ["reveal"]},
    "all of it": {"owner": "helpdesk", "service": "support", "purpose": "account",
                  "compartment": "accounts", "fields": ["email"], "operations": ["reveal"]},
}  # fmt: skip
ALLOWED: dict[str, dict[str, Any]] = {
    "another service": {"service": "orders"},
    "another owner": {"owner": "press_office"},
    "another purpose": {"purpose": "services"},
    "another compartment": {"compartment": "web"},
    "another field": {"compartment": "accounts", "fields": ["city"]},
    "another operation": {"service": "support", "operations": ["find"]},
    "all but one": {**FORBIDDEN["all of it"], "purpose": "services"},
}


class TestForbid:
    @pytest.mark.parametrize("forbid", FORBIDDEN.values(), ids=FORBIDDEN)
    def test_wins_over_the_grant_and_says_why(
        self, variant: Variant, forbid: dict[str, Any]
    ) -> None:
        decision = _email_to_support(variant, forbid)
        assert isinstance(decision, Denied)
        assert decision.reason is Reason.NOT_GRANTED
        assert "forbids support to reveal email of accounts" in decision.message
        assert "Nobody needs it." in decision.message

    @pytest.mark.parametrize("forbid", ALLOWED.values(), ids=ALLOWED)
    def test_leaves_all_else_alone(self, variant: Variant, forbid: dict[str, Any]) -> None:
        assert isinstance(_email_to_support(variant, forbid), Allowed)

    def test_speaks_where_nothing_is_granted_anyway(self, variant: Variant) -> None:
        """Else the answer would be to ask for a grant."""
        edition = _forbidding(variant, {"owner": "press_office", "compartment": "web"})
        newsletter = edition.services["newsletter"]
        decision = decide(edition, newsletter, "statistics", "web", REVEAL, ["user_agent"])
        assert isinstance(decision, Denied)
        assert "forbids newsletter" in decision.message

    def test_is_in_the_first_language_where_there_is_no_english(self, variant: Variant) -> None:
        def change(tree: Any) -> None:
            _kyrgyz_alone(tree)
            tree["forbid"] = [{"service": "support", "reason": {"ky": "Кереги жок"}}]

        edition = compile_edition(variant(change))
        support = edition.services["support"]
        decision = decide(edition, support, "account", "accounts", REVEAL, ["email"])
        assert isinstance(decision, Denied)
        assert "Кереги жок" in decision.message

    def test_is_seen_by_whoever_asks_what_they_may(self, variant: Variant) -> None:
        """What may neither be revealed nor found isn't described."""
        edition = _forbidding(variant, {"compartment": "accounts", "fields": ["email"]})
        description = describe(edition, edition.services["support"], "account", "accounts")
        assert isinstance(description, Description)
        names = [its.field.name for its in description.fields]
        assert "email" not in names
        assert "phone" in names

    def test_takes_an_operation_away_altogether(self, variant: Variant) -> None:
        edition = _forbidding(variant, {"service": "support", "operations": ["find"]})
        description = describe(edition, edition.services["support"], "account", "accounts")
        assert isinstance(description, Description)
        assert description.operations == (REVEAL,)


def _forbidding(variant: Variant, forbid: dict[str, Any]) -> Edition:
    reason = {"ky": "Кереги жок", "ru": "Не нужно", "en": "Nobody needs it."}
    return compile_edition(variant(lambda tree: tree.update(forbid=[{**forbid, "reason": reason}])))


def _email_to_support(variant: Variant, forbid: dict[str, Any]) -> Allowed | Denied:
    edition = _forbidding(variant, forbid)
    support = edition.services["support"]
    return decide(edition, support, "account", "accounts", REVEAL, ["email", "last_name"])


def _kyrgyz_alone(tree: Any) -> None:
    """Take every other language out."""
    if isinstance(tree, dict):
        for language in ("ru", "en"):
            if "ky" in tree:
                tree.pop(language)
        if "languages" in tree:
            tree["languages"] = ["ky"]
    for child in tree.values() if isinstance(tree, dict) else tree:
        if isinstance(child, dict | list):
            _kyrgyz_alone(child)


def test_a_value_in_the_place_of_a_name_is_not_repeated(edition: Edition) -> None:
    value, orders = "aigul@example.kg", edition.services["orders"]
    for purpose, compartment, field in [
        (value, "accounts", "phone"),
        ("services", value, "phone"),
        ("services", "accounts", value),
    ]:
        decision = decide(edition, orders, purpose, compartment, REVEAL, [field])
        assert isinstance(decision, Denied)
        assert value not in decision.message


def test_put_takes_plain_fields_alone(edition: Edition) -> None:
    orders = edition.services["orders"]
    allowed = decide(edition, orders, "services", "orders", PUT, ["item_note"])
    assert isinstance(allowed, Allowed)


def test_find_takes_indexed_fields_in_whatever_form(edition: Edition) -> None:
    support = edition.services["support"]
    allowed = decide(edition, support, "account", "accounts", FIND, ["email"])
    assert isinstance(allowed, Allowed)
    assert allowed.uses[0].form is Form.MASKED


def _declared(tree: Any) -> set[tuple[str, str, str, str, str]]:
    """Read from the text alone which service may do what to which field."""
    allowed = set()
    for grant in tree["grants"]:
        purpose, compartment = grant["purpose"], grant["compartment"]
        declared = tree["compartments"][compartment]["fields"]
        for field, form in tree["purposes"][purpose]["uses"][compartment]["fields"].items():
            for operation in grant["operations"]:
                asked = {
                    "service": grant["service"],
                    "owner": tree["services"][grant["service"]]["owner"],
                    "purpose": purpose,
                    "compartment": compartment,
                    "fields": field,
                    "operations": operation,
                }
                if any(_matches(forbid, asked) for forbid in tree.get("forbid", [])):
                    continue
                if operation == "put" and form != "plain":
                    continue
                if operation == "find" and "index" not in declared[field]:
                    continue
                allowed.add((grant["service"], purpose, compartment, operation, field))
    return allowed


def _matches(forbid: Any, asked: dict[str, str]) -> bool:
    """Every key that stands there has this value, or has it among others."""
    return all(
        asked[key] in value if isinstance(value, list) else asked[key] == value
        for key, value in forbid.items()
        if key != "reason"
    )


@pytest.mark.parametrize("example", [OSH, CLINIC], ids=lambda path: path.parent.name)
def test_the_whole_matrix_allows_what_the_text_grants_and_denies_all_else(example: Path) -> None:
    """Every service, purpose, compartment, operation and field of an example."""
    text = example.read_text(encoding="utf-8")
    edition, declared = compile_edition(text), _declared(yaml.safe_load(text))
    everything = product(edition.services.values(), edition.purposes, Operation)
    found = {
        (service.name, purpose, name, operation.value, field)
        for service, purpose, operation in everything
        for name, compartment in edition.compartments.items()
        for field in compartment.fields
        if isinstance(decide(edition, service, purpose, name, operation, [field]), Allowed)
    }
    assert found == declared
    assert len(declared) > 10


def test_a_pair_of_fields_is_allowed_just_if_both_are(edition: Edition) -> None:
    """All or none: no decision leaves fields out."""
    orders = edition.services["orders"]

    def allowed(*fields: str) -> bool:
        decision = decide(edition, orders, "services", "accounts", REVEAL, fields)
        return isinstance(decision, Allowed)

    for first, second in combinations(edition.compartment("accounts").fields, 2):
        assert allowed(first, second) == (allowed(first) and allowed(second))


class TestDescribe:
    def test_says_what_a_service_may(self, edition: Edition) -> None:
        description = describe(edition, edition.services["support"], "account", "accounts")
        assert isinstance(description, Description)
        assert description.operations == (REVEAL, FIND)
        assert [its.field.name for its in description.fields if its.findable] == ["email", "phone"]
        forms = {its.field.name: its.form for its in description.fields}
        assert forms["email"] is Form.MASKED
        assert forms["city"] is Form.PRESENT

    def test_finds_by_nothing_where_find_is_not_granted(self, edition: Edition) -> None:
        description = describe(edition, edition.services["orders"], "services", "accounts")
        assert isinstance(description, Description)
        assert not any(its.findable for its in description.fields)

    @pytest.mark.parametrize(
        ("purpose", "compartment", "reason"),
        [
            pytest.param("services", "x", Reason.UNKNOWN_COMPARTMENT, id="no such compartment"),
            pytest.param("x", "accounts", Reason.UNKNOWN_PURPOSE, id="no such purpose"),
            pytest.param("newsletter", "accounts", Reason.NOT_GRANTED, id="no grant"),
        ],
    )
    def test_is_denied_what_is_not_the_callers(
        self, edition: Edition, purpose: str, compartment: str, reason: Reason
    ) -> None:
        description = describe(edition, edition.services["orders"], purpose, compartment)
        assert isinstance(description, Denied)
        assert description.reason is reason
