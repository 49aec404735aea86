"""What is done with a record, said by the edition in force and by what the subject was told."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from vault.errors import Reason, VaultError
from vault.policy import (
    ConsentGiven,
    Edition,
    Form,
    Processing,
    RecordHeld,
    check_language,
    compile_edition,
    field_named,
    owner_title,
    processing,
    purpose_title,
    recipient_title,
)

from .conftest import Change, Variant

REGISTERED = datetime(2026, 2, 1, tzinfo=UTC)
NOW = datetime(2026, 7, 1, tzinfo=UTC)
ACCOUNT = ConsentGiven("account", 1, "ky", bytes(32), REGISTERED)
NEWSLETTER = replace(ACCOUNT, purpose="newsletter")
PHONE, CITY = 5, 7


def _held(consents: Sequence[ConsentGiven], *, restricted: bool = False) -> RecordHeld:
    return RecordHeld(
        REGISTERED, restricted, consents, [(uid, REGISTERED) for uid in (PHONE, CITY)]
    )


def _of(
    edition: Edition,
    consents: Sequence[ConsentGiven] = (ACCOUNT, NEWSLETTER),
    *,
    first: Edition | None = None,
    restricted: bool = False,
    now: datetime = NOW,
) -> Processing:
    editions = {its.number: its for its in (first or edition, edition)}
    held = _held(consents, restricted=restricted)
    return processing(editions, edition, "accounts", "en", held, now)


CLOSED: dict[str, tuple[Processing | Any, dict[str, Reason | None]]] = {
    "agreed to": (
        {"consents": (ACCOUNT,)},
        {"account": None, "newsletter": Reason.CONSENT_REQUIRED,
         "services": Reason.CONSENT_REQUIRED}),
    "withdrawn": (
        {"consents": (replace(ACCOUNT, withdrawn_at=NOW),)},
        dict.fromkeys(("account", "newsletter", "services"), Reason.CONSENT_REQUIRED)),
    "restricted": (
        {"consents": (ACCOUNT,), "restricted": True},
        dict.fromkeys(("account", "newsletter", "services"), Reason.RESTRICTED)),
    "over": (
        {"consents": (ACCOUNT, NEWSLETTER), "now": datetime(2027, 3, 1, tzinfo=UTC)},
        {"account": None, "newsletter": Reason.RETENTION_EXPIRED,
         "services": Reason.CONSENT_REQUIRED}),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "closed"), CLOSED.values(), ids=CLOSED)
def test_why_a_purpose_may_use_nothing(
    edition: Edition, parts: dict[str, Any], closed: dict[str, Reason | None]
) -> None:
    done = _of(edition, **parts)
    assert {its.purpose.name: its.closed for its in done.purposes} == closed


def _wider(tree: Any) -> None:
    fields = tree["purposes"]["newsletter"]["uses"]["accounts"]["fields"]
    fields["phone"] = "plain"


def _no_city(tree: Any) -> None:
    del tree["purposes"]["account"]["uses"]["accounts"]["fields"]["city"]
    del tree["compartments"]["accounts"]["fields"]["city"]


def _second(variant: Variant, change: Change) -> Edition:
    def both(tree: Any) -> None:
        tree["edition"], tree["predecessor"] = 2, "0" * 64
        tree["posted"] = tree["in_force"] = "2026-06-01T00:00:00+00:00"
        change(tree)

    return compile_edition(variant(both))


def test_a_purpose_is_shown_with_what_it_sees_of_this_record(
    edition: Edition, variant: Variant
) -> None:
    """What the subject wasn't told of isn't seen, so it isn't said; and they are asked again."""
    done = _of(_second(variant, _wider), first=edition)
    (newsletter,) = [its for its in done.purposes if its.purpose.name == "newsletter"]
    assert [(its.field.name, its.form) for its in newsletter.fields] == [
        ("first_name", Form.PLAIN), ("email", Form.PLAIN)]  # fmt: skip
    assert {its.consent.purpose: its.ask_again for its in done.agreed} == {
        "account": False, "newsletter": True}  # fmt: skip


def test_a_field_that_the_edition_dropped_keeps_its_name(
    edition: Edition, variant: Variant
) -> None:
    done = _of(_second(variant, _no_city), first=edition)
    assert [its.field.title for its in done.fields] == ["Telephone", "City"]


def test_names_are_those_of_one_edition(edition: Edition) -> None:
    uuid = edition.compartment("accounts").uuid
    assert str(field_named(edition, uuid, CITY, "ky").title) == "Шаар"
    assert owner_title(edition, "helpdesk", "ru") == "Отдел поддержки пользователей"
    assert purpose_title(edition, "account", "en") == "Running the account"
    for nothing in (
        field_named(edition, uuid, 99, "ky").title,
        field_named(None, uuid, CITY, "ky").title,
        owner_title(edition, "nobody", "ky"),
        purpose_title(None, "account", "ky"),
        recipient_title(edition, "post", "ky"),
    ):
        assert nothing == ""


def test_an_older_edition_speaks_english_where_it_lacks_a_language(edition: Edition) -> None:
    older = replace(edition, owner_titles={"helpdesk": {"en": "Help desk"}})
    assert owner_title(older, "helpdesk", "ky") == "Help desk"


@pytest.mark.parametrize("language", ["", "kk", "KY", "ky "])
def test_a_language_is_one_of_the_editions(edition: Edition, language: str) -> None:
    with pytest.raises(VaultError, match="ky, ru, en") as refused:
        check_language(edition, language)
    assert refused.value.reason is Reason.MALFORMED_REQUEST
