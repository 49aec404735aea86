"""The spelling of editions: strict YAML, read as JSON, every fault with its line."""

import pytest

from vault.policy import EditionError, compile_edition
from vault.policy.parse import parse

NO_YAML = {
    "nothing": ("", "is empty"),
    "a comment alone": ("# nothing\n", "is empty"),
    "an open bracket": ("a: [", "is no YAML"),
    "two colons": ("a: b: c", "is no YAML"),
    "a control character": ("a: \x00", "character that YAML doesn't allow"),
    "a lone surrogate": ("\ud800", "character that YAML doesn't allow"),
    "nesting without end": ("[" * 100_000, "nested too deep"),
    "a list for a key": ("? [a]\n: b", "key that is no word"),
    "a number alone": ("42", "should be keys with their values"),
    "a list": ("- a", "should be keys with their values"),
}


@pytest.mark.parametrize(("text", "sentence"), NO_YAML.values(), ids=NO_YAML.keys())
def test_what_is_no_document_is_refused(text: str, sentence: str) -> None:
    """Nothing but EditionError comes out of hostile text."""
    with pytest.raises(EditionError) as refused:
        parse(text)
    assert sentence in str(refused.value)


MISSPELT = {
    "an unknown key": ("trust_domain:", "trust_domian:", "trust_domian", "isn't a key"),
    "a missing key": ("    basis: consent\n", "", "purposes.account.basis", "is missing"),
    "a missing retention": ("        retention: 5 years\n", "", "uses.enterprises", "is missing"),
    "a key twice": ("edition: 1\n", "edition: 1\nedition: 1\n", "edition", "a second time"),
    "an alias": ("recipients: {}", "recipients: *some", "recipients", "an anchor or alias"),
    "an anchor": ("recipients: {}", "recipients: &some {}", "recipients", "an anchor or alias"),
    "a tag": ("edition: 1", "edition: !!int 1", "edition", "has a tag"),
    "a second document": ("recipients: {}", "---\nrecipients: {}", "the document", "a second"),
    "a merge key": ("recipients: {}", "recipients: {<<: {}}", "recipients.<<", "1 to 63"),
    "a number that is quoted": ("edition: 1", 'edition: "1"', "edition", "valid integer"),
    "a truth for a number": ("edition: 1", "edition: true", "edition", "valid integer"),
    "a moment without offset": ("posted: 2026-01-01T00:00:00+06:00", "posted: 2026-01-01T00:00:00",
                                "posted", "offset from UTC"),
    "a day for a moment": ("posted: 2026-01-01T00:00:00+06:00", "posted: 2026-01-01", "posted",
                           "date and time"),
    "an odd retention": ("retention: 5 years", "retention: forever", "enterprises.retention",
                         "a count from 1 to 999"),
    "a retention of nothing": ("retention: 5 years", "retention: 0 years", "enterprises.retention",
                               "a count from 1 to 999"),
    "an odd name": ("  cabinet:", "  Cabinet Team:", "owners.Cabinet Team", "begin with a letter"),
    "an odd id": ("id: 0fd3a8a1-", "id: zfd3a8a1-", "owners.cabinet.id", "UUID"),
    "an odd digest": ("predecessor: null", "predecessor: 12", "predecessor", "valid string"),
    "an unknown type": ("type: email", "type: mail", "fields.email.type", "'email'"),
    "an unknown form": ("email: masked", "email: starred", "fields.email", "'masked'"),
    "an unknown operation": ("[reveal, put]", "[reveal, delete]", "operations[1]", "'reveal'"),
    "an unknown basis": ("basis: consent", "basis: because", "basis", "'consent'"),
    "a limit that is no number": ("subject_facing: true", "limits: {put: {per_second: 1e3}}",
                                  "portal.limits.put.per_second", "valid number"),
    "a limit below nothing": ("subject_facing: true", "limits: {put: {per_day: 0}}",
                              "portal.limits.put.per_day", "greater than or equal to 1"),
    "a limit on what isn't done": ("subject_facing: true", "limits: {erase: {per_day: 1}}",
                                   "portal.limits.erase", "'reveal'"),
    "a path that climbs": ("oshto.kg/orders", "oshto.kg/../orders", "orders.spiffe",
                           "a SPIFFE id"),
    "an empty text": ("title: {ky: Жеке кабинет тобу,", "title: {ky: '',", "cabinet.title.ky",
                      "at least 1 character"),
    "no subjects": ("subjects: [enterprise]", "subjects: []", "enterprises.subjects", "at least 1"),
    "a uid of nought": ("{uid: 7,", "{uid: 0,", "city.uid", "greater than or equal to 1"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "path", "sentence"), MISSPELT.values(), ids=MISSPELT)
def test_a_misspelling_is_refused_at_its_place(
    text: str, old: str, new: str, path: str, sentence: str
) -> None:
    """One change to the example; the fault names the path and the line of it."""
    assert old in text
    with pytest.raises(EditionError) as refused:
        compile_edition(text.replace(old, new, 1))
    changed = text[: text.index(old)].count("\n") + 1
    found = [its for its in refused.value.faults if path in its.path and sentence in its.message]
    assert found, str(refused.value)
    assert abs((found[0].line or 0) - changed) <= 8  # what is missing is missing from its parent


def test_all_misspellings_come_at_once(text: str) -> None:
    spoilt = text
    for old, new in [
        ("trust_domain:", "trust_domian:"),
        ("type: email", "type: mail"),
        ("edition: 1\n", "edition: 1\nedition: 1\n"),
        ("basis: consent", "basis: because"),
    ]:
        spoilt = spoilt.replace(old, new, 1)
    with pytest.raises(EditionError) as refused:
        compile_edition(spoilt)
    assert len(refused.value.faults) == 5  # a misspelt key is one unknown and one missing


def test_what_was_refused_is_not_shown(text: str) -> None:
    """A secret pasted into the wrong place stays out of logs."""
    with pytest.raises(EditionError) as refused:
        compile_edition(text.replace("edition: 1", "edition: hunter2", 1))
    assert "hunter2" not in str(refused.value)


def test_words_that_yaml_takes_for_truths_are_words() -> None:
    """Norwegian is spelt `no`."""
    with pytest.raises(EditionError) as refused:
        parse("{languages: [no, on, 1.5, 0x10]}")
    paths = [its.path for its in refused.value.faults if "language code" in its.message]
    assert paths == ["languages[2]", "languages[3]"]
