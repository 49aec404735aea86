"""Consent: what the subject was told binds, whatever a later edition says."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from vault.errors import Reason
from vault.policy import (
    Allowed,
    ConsentGiven,
    Covered,
    Denied,
    Edition,
    FieldUse,
    Form,
    Operation,
    ask_again,
    check_consent,
    check_recipient,
    compile_edition,
    decide,
    terms,
)

from .conftest import Change, Variant

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
    withheld: tuple[str, ...] = ()
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


def _contract_without_email(tree: Any) -> None:
    _basis("contract")(tree)
    _fields(email=None)(tree)


def _renamed(tree: Any) -> None:
    """Call both a compartment and a field otherwise; the ids stay."""
    compartments, purposes = tree["compartments"], tree["purposes"]
    compartments["people"] = compartments.pop("accounts")
    fields = compartments["people"]["fields"]
    fields["family_name"] = fields.pop("patronymic")
    for purpose in purposes.values():
        if "accounts" in purpose["uses"]:
            purpose["uses"]["people"] = purpose["uses"].pop("accounts")
    used = purposes["account"]["uses"]["people"]["fields"]
    used["family_name"] = used.pop("patronymic")
    for grant in tree["grants"]:
        grant["compartment"] = grant["compartment"].replace("accounts", "people")
    tree["joinable"][0]["between"] = ["people", "orders"]


AS_NOW = {"last_name": Form.PLAIN, "email": Form.MASKED}
WITHDRAWN = replace(GIVEN, withdrawn_at=REGISTERED + timedelta(days=1))
AGAIN = replace(GIVEN, edition=2, given_at=SECOND_IN_FORCE + timedelta(days=1))

# Row by row what consent means.
CASES = {
    "none": Case(consents=()),
    "none, given for another purpose": Case(consents=(replace(GIVEN, purpose="services"),)),
    "edition not yet in force": Case(
        consents=(replace(GIVEN, edition=2),), now=SECOND_IN_FORCE - timedelta(seconds=1)
    ),
    "edition that nobody knows": Case(consents=(replace(GIVEN, edition=3),)),
    "given, same digest": Case(expect=AS_NOW),
    "given, same digest under other names": Case(_renamed, expect=AS_NOW),
    "given, current edition narrower": Case(
        _fields(email="present"), expect={"last_name": Form.PLAIN, "email": Form.PRESENT}
    ),
    "given, current edition wider by a form": Case(_fields(email="plain"), expect=AS_NOW),
    "given, current edition wider from present to masked": Case(
        _fields(city="masked"), fields=("city",), expect={"city": Form.PRESENT}
    ),
    "given, current edition wider by a field": Case(
        first=_fields(email=None), expect={"last_name": Form.PLAIN}, withheld=("email",)
    ),
    "given, current edition wider by all that is asked": Case(
        first=_fields(email=None), fields=("email",), names="wasn't told of email"
    ),
    "given, current edition wider by what isn't asked": Case(
        first=_fields(email=None), fields=("last_name",), expect={"last_name": Form.PLAIN}
    ),
    "given, current edition wider by recipients": Case(_courier, expect=AS_NOW),
    "given, current edition wider by a pair to join": Case(_account_reaches_orders, names="join"),
    "given, current edition narrower by a pair": Case(first=_account_reaches_orders, expect=AS_NOW),
    "given, current edition both wider and narrower": Case(
        _fields(email="plain", last_name="masked"), first=_fields(phone=None),
        fields=("phone", "last_name", "email"),
        expect={"last_name": Form.MASKED, "email": Form.MASKED}, withheld=("phone",),
    ),
    "purpose new in the edition": Case(first=_no_uses_of_accounts, names="told the subject"),
    "purpose gone from the edition": Case(_no_uses_of_accounts, names="no longer"),
    "withdrawn": Case(consents=(WITHDRAWN,), names="withdrew"),
    "withdrawn as soon as given": Case(consents=(replace(GIVEN, withdrawn_at=REGISTERED), GIVEN)),
    "given again": Case(_fields(email="plain"), consents=(WITHDRAWN, AGAIN),
                        expect={"last_name": Form.PLAIN, "email": Form.PLAIN}),
    "expired, on its last moment": Case(
        _retention("5 months"), now=datetime(2026, 6, 30, 23, 59, 59, tzinfo=UTC), expect=AS_NOW
    ),
    "expired": Case(_retention("5 months"), expect=Reason.RETENTION_EXPIRED),
    "expired, as the subject was told": Case(
        first=_retention("5 months"), expect=Reason.RETENTION_EXPIRED
    ),
    "basis other than consent, declared at collection": Case(
        _basis("contract"), first=_basis("contract"), consents=(), expect=AS_NOW
    ),
    "basis other than consent, wider than at collection": Case(
        _basis("contract"), first=_contract_without_email, consents=(),
        expect={"last_name": Form.PLAIN}, withheld=("email",),
    ),
    "basis other than consent, not declared at collection": Case(_basis("contract"), consents=()),
    "basis other than the one consented to": Case(_basis("contract"), names="lawful basis"),
    "basis switched after a withdrawal": Case(
        _basis("contract"), first=_basis("contract"), consents=(WITHDRAWN,), names="withdrew"
    ),
    "basis other than consent, registered before any edition": Case(
        _basis("contract"), first=_basis("contract"), consents=(),
        registered=datetime(2025, 1, 1, tzinfo=UTC),
    ),
    "basis other than consent, expired since the registration": Case(
        _week_by_contract, first=_week_by_contract, consents=(), expect=Reason.RETENTION_EXPIRED
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_consent(variant: Variant, case: Case) -> None:
    """Edition 1 was told; edition 2 is in force; the answer is what both allow."""
    editions = _editions(variant, case.first, case.change)
    second = editions[2]
    [name] = [its.name for its in second.compartments.values() if "first_name" in its.fields]
    answer = check_consent(
        editions,
        second,
        "account",
        name,
        _uses(second, name, case.fields),
        case.consents,
        case.registered,
        case.now,
    )
    if isinstance(case.expect, Reason):
        assert isinstance(answer, Denied)
        assert answer.reason is case.expect
        assert case.names in answer.message
    else:
        assert isinstance(answer, Covered), answer
        assert {use.field.name: use.form for use in answer.uses} == case.expect
        assert tuple(field.name for field in answer.withheld) == case.withheld


def _editions(variant: Variant, first: Change, second: Change) -> dict[int, Edition]:
    one = compile_edition(variant(first))

    def later(tree: Any) -> None:
        second(tree)
        tree.update(edition=2, predecessor=one.digest.hex(), in_force=SECOND_IN_FORCE.isoformat())

    return {1: one, 2: compile_edition(variant(later))}


def _uses(edition: Edition, compartment: str, fields: tuple[str, ...]) -> tuple[FieldUse, ...]:
    support = edition.services["support"]
    decision = decide(edition, support, "account", compartment, Operation.REVEAL, fields)
    return decision.uses if isinstance(decision, Allowed) else ()


def _same(tree: Any) -> None:
    """Change nothing."""


ASKED_AGAIN: dict[str, tuple[Change, Change, bool]] = {
    "nothing changed": (_same, _same, False),
    "other names": (_same, _renamed, False),
    "one more field": (_fields(email=None), _same, True),
    "one field less": (_same, _fields(email=None), False),
    "a form that shows more": (_same, _fields(city="masked"), True),
    "a form that shows less": (_same, _fields(last_name="masked"), False),
    "one more recipient": (_same, _courier, True),
    "one recipient less": (_courier, _same, False),
    "a pair to join": (_same, _account_reaches_orders, True),
    "a pair less to join": (_account_reaches_orders, _same, False),
    "kept for longer": (_same, _retention("4 years"), True),
    "kept for less": (_same, _retention("2 years"), False),
    "kept as long, in other units": (_same, _retention("36 months"), False),
    "another basis": (_same, _basis("contract"), True),
    "told nothing of it": (_no_uses_of_accounts, _same, True),
    "no longer done": (_same, _no_uses_of_accounts, False),
}


class TestAskAgain:
    @pytest.mark.parametrize(
        ("first", "second", "asked"), ASKED_AGAIN.values(), ids=ASKED_AGAIN.keys()
    )
    def test_is_for_purposes_that_do_more_than_was_consented_to(
        self, variant: Variant, first: Change, second: Change, asked: bool
    ) -> None:
        editions = _editions(variant, first, second)
        [name] = [c.name for c in editions[2].compartments.values() if "first_name" in c.fields]
        found = ask_again(editions, editions[2], name, [GIVEN])
        assert found == ({"account"} if asked else set())

    def test_is_not_for_what_was_withdrawn_or_never_given(self, variant: Variant) -> None:
        editions = _editions(variant, _same, _fields(email="plain"))
        assert ask_again(editions, editions[2], "accounts", [WITHDRAWN]) == set()
        assert ask_again(editions, editions[2], "accounts", []) == set()
        assert ask_again(editions, editions[2], "accounts", [WITHDRAWN, AGAIN]) == set()

    def test_is_for_each_purpose_apart(self, variant: Variant) -> None:
        editions = _editions(variant, _same, _fields(email="plain"))
        both = [GIVEN, replace(GIVEN, purpose="services")]
        assert ask_again(editions, editions[2], "accounts", both) == {"account"}

    def test_is_for_an_edition_that_nobody_knows(self, variant: Variant) -> None:
        editions = _editions(variant, _same, _same)
        lost = [replace(GIVEN, edition=9)]
        assert ask_again(editions, editions[2], "accounts", lost) == {"account"}


RECIPIENTS: dict[str, tuple[Change, Change, tuple[ConsentGiven, ...], Reason | None]] = {
    "told, and still there": (_courier, _courier, (GIVEN,), None),
    "not in the edition": (_same, _same, (GIVEN,), Reason.RECIPIENT_NOT_ALLOWED),
    "no longer in the edition": (_courier, _same, (GIVEN,), Reason.RECIPIENT_NOT_ALLOWED),
    "not told": (_same, _courier, (GIVEN,), Reason.RECIPIENT_NOT_ALLOWED),
    "told later, by consenting again": (_same, _courier, (GIVEN, AGAIN), None),
    "not consented": (_courier, _courier, (), Reason.CONSENT_REQUIRED),
    "withdrawn": (_courier, _courier, (WITHDRAWN,), Reason.CONSENT_REQUIRED),
    "purpose gone": (_courier, _no_uses_of_accounts, (GIVEN,), Reason.CONSENT_REQUIRED),
}


@pytest.mark.parametrize(
    ("first", "second", "consents", "reason"), RECIPIENTS.values(), ids=RECIPIENTS.keys()
)
def test_recipient(
    variant: Variant,
    first: Change,
    second: Change,
    consents: tuple[ConsentGiven, ...],
    reason: Reason | None,
) -> None:
    """Clause 1.2: a third party is in the edition and in what was told, or gets nothing."""
    editions = _editions(variant, first, second)
    answer = check_recipient(
        editions, editions[2], "account", "accounts", consents, REGISTERED, NOW, "courier"
    )
    assert (answer.reason if answer else None) is reason


def test_an_unlisted_recipient_is_not_repeated(variant: Variant) -> None:
    """A caller may have put a value where a name belongs."""
    editions, value = _editions(variant, _courier, _courier), "aigul@example.kg"
    answer = check_recipient(
        editions, editions[2], "account", "accounts", [GIVEN], REGISTERED, NOW, value
    )
    assert answer is not None
    assert value not in answer.message
    assert "it may go to courier" in answer.message


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
        self, edition: Edition, variant: Variant, change: Change, same: bool
    ) -> None:
        before = terms(edition, "account", "accounts")
        after = terms(compile_edition(variant(change)), "account", "accounts")
        assert before is not None
        assert after is not None
        assert (before.digest == after.digest) is same
