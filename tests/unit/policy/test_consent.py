"""Consent: what the subject was told binds, whatever a later edition says."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vault.errors import Reason
from vault.policy import (
    Allowed,
    ConsentGiven,
    Denied,
    Edition,
    FieldUse,
    Form,
    Operation,
    check_consent,
    compile_edition,
    decide,
    terms,
)

Change = Callable[[Any], object]

REGISTERED = datetime(2026, 2, 1, tzinfo=UTC)
SECOND_IN_FORCE = datetime(2026, 6, 1, tzinfo=UTC)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
GIVEN = ConsentGiven("account", 1, "ky", bytes(32), REGISTERED)


@dataclass(frozen=True, slots=True)
class Case:
    """A second edition, consents, and what support then gets of `fields`."""

    change: Change = lambda tree: None
    first: Change = lambda tree: None
    consents: tuple[ConsentGiven, ...] = (GIVEN,)
    fields: tuple[str, ...] = ("last_name", "email")
    registered: datetime = REGISTERED
    now: datetime = NOW
    expect: dict[str, Form] | Reason = Reason.CONSENT_REQUIRED
    names: str = ""  # what the refusal speaks of


def _fields(**forms: str | None) -> Change:
    def change(tree: Any) -> None:
        fields = tree["purposes"]["account"]["uses"]["accounts"]["fields"]
        for name, form in forms.items():
            fields.pop(name)
            if form:
                fields[name] = form

    return change


def _retention(period: str) -> Change:
    def change(tree: Any) -> None:
        tree["purposes"]["account"]["uses"]["accounts"]["retention"] = period

    return change


def _basis(basis: str) -> Change:
    return lambda tree: tree["purposes"]["account"].update(basis=basis)


def _week_by_contract(tree: Any) -> None:
    _basis("contract")(tree)
    _retention("1 week")(tree)


def _account_reaches_orders(tree: Any) -> None:
    use = {"retention": "1 year", "fields": {"address": "plain"}}
    tree["purposes"]["account"]["uses"]["orders"] = use


def _no_uses_of_accounts(tree: Any) -> None:
    del tree["purposes"]["account"]["uses"]["accounts"]
    tree["grants"] = [grant for grant in tree["grants"] if grant["service"] != "support"]


def _courier(tree: Any) -> None:
    title = {"ky": "Курьер", "ru": "Курьер", "en": "Courier"}
    tree["recipients"] = {"courier": {"title": title}}
    tree["purposes"]["account"]["recipients"] = ["courier"]


AS_NOW = {"last_name": Form.PLAIN, "email": Form.MASKED}
WITHDRAWN = replace(GIVEN, withdrawn_at=REGISTERED + timedelta(days=1))
AGAIN = replace(GIVEN, edition=2, given_at=SECOND_IN_FORCE + timedelta(days=1))

CASES = {
    "none": Case(consents=()),
    "given for another purpose": Case(consents=(replace(GIVEN, purpose="services"),)),
    "given to an edition not yet in force": Case(
        consents=(replace(GIVEN, edition=2),), now=SECOND_IN_FORCE - timedelta(seconds=1)
    ),
    "given to an edition that nobody knows": Case(consents=(replace(GIVEN, edition=3),)),
    "given, same terms": Case(expect=AS_NOW),
    "given, now narrower": Case(
        _fields(email="present"), expect={"last_name": Form.PLAIN, "email": Form.PRESENT}
    ),
    "given, now a wider form": Case(_fields(email="plain"), expect=AS_NOW),
    "given, now from present to masked": Case(
        _fields(city="masked"), fields=("city",), expect={"city": Form.PRESENT}
    ),
    "given, now one more field": Case(first=_fields(email=None), names="email"),
    "given, now one more field, not asked for": Case(
        first=_fields(email=None), fields=("last_name",), expect={"last_name": Form.PLAIN}
    ),
    "given, now more recipients": Case(_courier, expect=AS_NOW),
    "given, now a new pair to join": Case(_account_reaches_orders, names="join"),
    "given, now a pair less to join": Case(first=_account_reaches_orders, expect=AS_NOW),
    "purpose new in the edition": Case(first=_no_uses_of_accounts, names="told the subject"),
    "purpose gone from the edition": Case(_no_uses_of_accounts, names="no longer"),
    "withdrawn": Case(consents=(WITHDRAWN,), names="withdrew"),
    "withdrawn as soon as given": Case(consents=(replace(GIVEN, withdrawn_at=REGISTERED), GIVEN)),
    "given again": Case(_fields(email="plain"), consents=(WITHDRAWN, AGAIN),
                        expect={"last_name": Form.PLAIN, "email": Form.PLAIN}),
    "retention on its last moment": Case(
        _retention("5 months"), now=datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), expect=AS_NOW
    ),
    "retention over": Case(_retention("5 months"), expect=Reason.RETENTION_EXPIRED),
    "retention over as the subject was told": Case(
        first=_retention("5 months"), expect=Reason.RETENTION_EXPIRED
    ),
    "another basis, declared at collection": Case(
        _basis("contract"), first=_basis("contract"), consents=(), expect=AS_NOW
    ),
    "another basis, not declared at collection": Case(_basis("contract"), consents=()),
    "another basis than was consented to": Case(_basis("contract"), names="lawful basis"),
    "another basis after a withdrawal": Case(
        _basis("contract"), first=_basis("contract"), consents=(WITHDRAWN,), names="withdrew"
    ),
    "another basis, registered before any edition": Case(
        _basis("contract"), first=_basis("contract"), consents=(),
        registered=datetime(2025, 1, 1, tzinfo=UTC),
    ),
    "another basis, retention counted from the registration": Case(
        _week_by_contract, first=_week_by_contract, consents=(), expect=Reason.RETENTION_EXPIRED
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_consent(variant: Callable[[Change], str], case: Case) -> None:
    """Edition 1 was told; edition 2 is in force; the answer is what both allow."""
    first = compile_edition(variant(case.first))

    def later(tree: Any) -> None:
        case.change(tree)
        tree.update(edition=2, predecessor=first.digest.hex(), in_force=SECOND_IN_FORCE.isoformat())

    second = compile_edition(variant(later))
    answer = check_consent(
        {1: first, 2: second},
        second,
        "account",
        "accounts",
        _uses(second, case.fields),
        case.consents,
        case.registered,
        case.now,
    )
    if isinstance(case.expect, Reason):
        assert isinstance(answer, Denied)
        assert answer.reason is case.expect
        assert case.names in answer.message
    else:
        assert not isinstance(answer, Denied), answer
        assert {use.field.name: use.form for use in answer} == case.expect


def _uses(edition: Edition, fields: tuple[str, ...]) -> tuple[FieldUse, ...]:
    support = edition.services["support"]
    decision = decide(edition, support, "account", "accounts", Operation.REVEAL, fields)
    return decision.uses if isinstance(decision, Allowed) else ()


class TestTerms:
    def test_are_what_binds(self, edition: Edition) -> None:
        told = terms(edition, "services", "accounts")
        assert told is not None
        assert told.fields == {1: Form.PLAIN, 2: Form.PLAIN, 5: Form.PLAIN}
        assert told.joins == {edition.compartment("orders").uuid}

    def test_are_none_where_a_purpose_uses_nothing(self, edition: Edition) -> None:
        assert terms(edition, "newsletter", "web") is None

    @pytest.mark.parametrize(
        ("change", "same"),
        [
            pytest.param(lambda tree: None, True, id="nothing"),
            pytest.param(lambda tree: tree["grants"].pop(), True, id="a grant"),
            pytest.param(lambda tree: tree["law"].update(en="Law"), True, id="the law's name"),
            pytest.param(_fields(email="plain"), False, id="a form"),
            pytest.param(_fields(email=None), False, id="a field"),
            pytest.param(_retention("2 years"), False, id="the retention"),
            pytest.param(_basis("contract"), False, id="the basis"),
            pytest.param(_courier, False, id="a recipient"),
            pytest.param(_account_reaches_orders, False, id="a pair to join"),
        ],
    )
    def test_have_another_digest_just_where_they_bind_otherwise(
        self, edition: Edition, variant: Callable[[Change], str], change: Change, same: bool
    ) -> None:
        before = terms(edition, "account", "accounts")
        after = terms(compile_edition(variant(change)), "account", "accounts")
        assert before is not None
        assert after is not None
        assert (before.digest == after.digest) is same
