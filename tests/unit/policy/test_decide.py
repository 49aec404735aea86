"""Deciding: what is granted is allowed in its form, all else is denied, each with its reason."""

from itertools import combinations, product
from typing import Any

import pytest
import yaml

from vault.errors import Reason
from vault.policy import Allowed, Denied, Description, Edition, Form, Operation, decide, describe

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
                if operation == "put" and form != "plain":
                    continue
                if operation == "find" and "index" not in declared[field]:
                    continue
                allowed.add((grant["service"], purpose, compartment, operation, field))
    return allowed


def test_the_whole_matrix_allows_what_the_text_grants_and_denies_all_else(
    edition: Edition, text: str
) -> None:
    """Every service, purpose, compartment, operation and field of the example."""
    declared = _declared(yaml.safe_load(text))
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
