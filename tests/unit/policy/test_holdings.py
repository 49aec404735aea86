"""Holdings: all that a record holds, in the words of the edition, and nothing else."""

import json
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.schemas import faults
from vault.policy import (
    Asked,
    ConsentGiven,
    Edition,
    Held,
    HeldByLaw,
    Holdings,
    Record,
    SubjectKind,
    compile_edition,
    holdings,
    holdings_schema,
    notice,
)

from .conftest import Variant

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
REQUEST = Asked("0b0e1a2c" * 4, "2026-11-22T10:00:00Z", "A" * 43)
VALUES = (Held(4, "email", "aigul@example.kg", AT), Held(2, "name", "Айгүл", AT))


def _consent(its: Edition, language: str = "ky", **changes: Any) -> ConsentGiven:
    digest = notice(its, "accounts", "services", language).digest
    return replace(ConsentGiven("services", its.number, language, digest, AT), **changes)


def _record(*consents: ConsentGiven, values: tuple[Held, ...] = VALUES) -> Record:
    return Record(SubjectKind.PERSON, AT, False, consents, values)


def _held(edition: Edition, record: Record, *past: Edition) -> Holdings:
    editions = {its.number: its for its in (*past, edition)}
    return holdings(editions, edition, "accounts", record, REQUEST)


def test_fits_its_schema_and_comes_back_from_its_text(edition: Edition) -> None:
    held = _held(edition, _record(_consent(edition)))
    tree = json.loads(held.text)
    assert list(faults(holdings_schema(), tree)) == []
    assert tree == asdict(held)
    assert json.dumps(tree, ensure_ascii=False, separators=(",", ":")).encode() == held.text


CHANGES = {
    "a key too many": (lambda tree: tree.update(more=1), "$.more"),
    "a key too few": (lambda tree: tree["subject"].pop("restricted"), "$.subject.restricted"),
    "a number for a text": (lambda tree: tree["fields"][0].update(value=7), "$.fields[0].value"),
    "another kind": (lambda tree: tree.update(kind="piivault-report"), "$.kind"),
}


@pytest.mark.parametrize(("change", "where"), CHANGES.values(), ids=CHANGES)
def test_the_schema_refuses_anything_else(edition: Edition, change: Any, where: str) -> None:
    tree = json.loads(_held(edition, _record(_consent(edition))).text)
    change(tree)
    assert any(fault.startswith(where) for fault in faults(holdings_schema(), tree))


def test_names_each_value_in_every_language(edition: Edition) -> None:
    """In the order of their uids, whatever order they were opened in."""
    first, second = _held(edition, _record()).fields
    assert (first.name, first.value, first.title["ru"]) == ("first_name", "Айгүл", "Имя")
    assert (second.name, second.value) == ("email", "aigul@example.kg")
    assert first.title.keys() == set(edition.languages)
    assert first.set_at == "2026-03-01T12:00:00Z"


@pytest.mark.parametrize("language", ["ky", "ru", "en"])
def test_shows_the_very_text_that_was_agreed_to(edition: Edition, language: str) -> None:
    [consent] = _held(edition, _record(_consent(edition, language))).consents
    shown = notice(edition, "accounts", "services", language)
    assert (consent.text, consent.digest) == (shown.text, shown.digest.hex())
    assert (consent.withdrawn_at, consent.ask_again) == (None, False)


UNTOLD: dict[str, dict[str, Any]] = {
    "an edition that isn't known": {"edition": 9},
    "another text": {"notice_digest": bytes(32)},
    "a language that it hasn't": {"language": "de"},
    "a purpose that it hasn't": {"purpose": "gossip"},
}


@pytest.mark.parametrize("changes", UNTOLD.values(), ids=UNTOLD)
def test_shows_no_other_text_instead(edition: Edition, changes: dict[str, Any]) -> None:
    [consent] = _held(edition, _record(replace(_consent(edition), **changes))).consents
    assert consent.text is None


def test_a_withdrawal_stays(edition: Edition) -> None:
    withdrawn = _consent(edition, withdrawn_at=datetime(2026, 4, 1, tzinfo=UTC))
    [consent] = _held(edition, _record(withdrawn)).consents
    assert consent.withdrawn_at == "2026-04-01T00:00:00Z"


def test_says_of_each_purpose_what_it_sees_and_how_long(edition: Edition) -> None:
    held = _held(edition, _record(_consent(edition)))
    uses = {n: p for n, p in edition.purposes.items() if "accounts" in p.uses}
    assert [its.name for its in held.purposes] == sorted(uses)
    services = next(its for its in held.purposes if its.name == "services")
    use = edition.purposes["services"].uses["accounts"]
    assert services.fields == {name: its.form.word for name, its in use.fields.items()}
    assert services.ends_at == use.retention.end(AT).isoformat().replace("+00:00", "Z")
    last = max(its.ends_at for its in held.purposes if "email" in its.fields)
    assert next(its.kept_until for its in held.fields if its.name == "email") == last


def test_a_field_that_the_edition_dropped_is_named_as_it_was(
    edition: Edition, variant: Variant
) -> None:
    """What the record still holds is the subject's to have."""

    def drop(tree: Any) -> None:
        tree["edition"], tree["predecessor"] = 2, edition.digest.hex()
        del tree["compartments"]["accounts"]["fields"]["position"]
        for purpose in tree["purposes"].values():
            purpose["uses"].get("accounts", {}).get("fields", {}).pop("position", None)

    now = compile_edition(variant(drop))
    values = (Held(8, "text", "мугалим", AT), Held(99, "text", "?", AT))
    dropped, unknown = _held(now, _record(values=values), edition).fields
    assert (dropped.name, dropped.title["en"], dropped.value) == ("position", "Position", "мугалим")
    assert dropped.kept_until == now.in_force.astimezone(UTC).isoformat().replace("+00:00", "Z")
    assert (unknown.name, unknown.title, unknown.value) == ("", {}, "?")


def test_what_the_law_has_kept_stands_apart(edition: Edition) -> None:
    """Of an erased record it is all there is: under its purpose alone, until its day."""
    until = datetime(2031, 1, 1, tzinfo=UTC)
    kept = (HeldByLaw("services", "legal_obligation", until, (VALUES[1],)),)
    erased = replace(_record(values=()), kept=kept, erased=True)
    held = _held(edition, erased)
    assert (held.fields, held.consents, held.purposes) == ([], [], [])
    assert held.subject.erased
    [its] = held.kept
    assert (its.purpose, its.basis, its.until) == (
        "services", "legal_obligation", "2031-01-01T00:00:00Z")  # fmt: skip
    assert [(f.name, f.value, f.kept_until) for f in its.fields] == [
        ("first_name", "Айгүл", its.until)
    ]
    assert list(faults(holdings_schema(), json.loads(held.text))) == []
    both = _held(edition, replace(_record(), kept=kept))
    assert len(both.fields) == 2
    assert both.kept == held.kept


def test_shows_no_value_where_it_is_printed(edition: Edition) -> None:
    assert "Айгүл" not in repr(_record())
