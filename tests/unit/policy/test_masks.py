"""Masks: what they show, and that they never show more."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.policy import FieldType, mask
from vault.policy.masks import HIDDEN

SHOWN = [
    pytest.param(FieldType.NAME, "Айгүл", "А***", id="name"),
    pytest.param(FieldType.NAME, "Өмүрбек", "Ө***", id="name in Kyrgyz"),
    pytest.param(FieldType.NAME, "Ңуржан", "Ң***", id="name with eng"),
    pytest.param(FieldType.NAME, "И\u0306осиф", "Й***", id="letter and breve, composed"),
    pytest.param(
        FieldType.NAME, "А\u0301нна", "А\u0301***", id="letter and stress mark, kept whole"
    ),
    pytest.param(FieldType.NAME, "Ли", HIDDEN, id="short name"),
    pytest.param(FieldType.NAME, "Е\u0301е\u0301", HIDDEN, id="two letters with marks"),
    pytest.param(FieldType.NAME, "007", HIDDEN, id="name without letters"),
    pytest.param(FieldType.EMAIL, "aigul@example.kg", "a***@***.kg", id="e-mail"),
    pytest.param(FieldType.EMAIL, "өмүр@мисал.бел", "ө***@***.бел", id="e-mail in Kyrgyz"),
    pytest.param(FieldType.EMAIL, "ab@example.kg", "***@***.kg", id="short e-mail"),
    pytest.param(FieldType.EMAIL, "aigul@localhost", "a***@***", id="e-mail without dot"),
    pytest.param(FieldType.EMAIL, "aigul@[10.0.0.1]", "a***@***", id="e-mail at a number"),
    pytest.param(FieldType.EMAIL, "aigul", HIDDEN, id="no e-mail"),
    pytest.param(FieldType.PHONE, "+996 (555) 12-34-56", "***56", id="telephone"),
    pytest.param(FieldType.PHONE, "٠٥٥٥١٢٣٤٥٦", "***٥٦", id="telephone in Arabic digits"),
    pytest.param(FieldType.PHONE, "102", HIDDEN, id="short telephone"),
    pytest.param(FieldType.DOCUMENT_NUMBER, "ID 1234567", "***67", id="document"),
    pytest.param(FieldType.DOCUMENT_NUMBER, "AN 12", HIDDEN, id="short document"),
    pytest.param(FieldType.DATE, "1990-12-31", "1990-**-**", id="date"),
    pytest.param(FieldType.DATE, "31.12.1990", HIDDEN, id="no date"),
    pytest.param(FieldType.TEXT, "Ош шаары", HIDDEN, id="text"),
    pytest.param(FieldType.ADDRESS, "Ленин көчөсү 1", HIDDEN, id="address"),
    pytest.param(FieldType.IDENTIFIER, "c0ffee", HIDDEN, id="identifier"),
]


@pytest.mark.parametrize(("type", "value", "shown"), SHOWN)
def test_shows(type: FieldType, value: str, shown: str) -> None:
    """One mask a type, Kyrgyz and Russian included."""
    assert mask(type, value) == shown


@given(st.sampled_from(FieldType), st.text())
def test_masks_anything_alike_always(type: FieldType, value: str) -> None:
    assert mask(type, value) == mask(type, value)
    assert mask(type, value) == mask(type, unicodedata.normalize("NFD", value))
    assert HIDDEN in mask(type, value) or mask(type, value).endswith("-**-**")


@given(st.text())
def test_a_name_shows_at_most_its_first_letter(value: str) -> None:
    first = mask(FieldType.NAME, value).removesuffix(HIDDEN)
    assert unicodedata.normalize("NFC", value).strip().startswith(first)
    assert not first or (first[0].isalpha() and _letters(first) == 1)


@given(st.text(alphabet="abёӨ\u0301\u0306é@."), st.sampled_from(["kg", "рф", ""]))
def test_an_email_shows_at_most_a_letter_and_the_ending(local: str, ending: str) -> None:
    shown = mask(FieldType.EMAIL, f"{local}@example.{ending}")
    first, rest = shown.split(HIDDEN, 1)
    assert _letters(first) <= 1
    assert rest == f"@{HIDDEN}" + (f".{ending}" if ending else "")


@given(st.text(alphabet="0123456789+() -٣", max_size=20))
def test_a_telephone_shows_at_most_its_last_two_digits(value: str) -> None:
    shown = mask(FieldType.PHONE, value).removeprefix(HIDDEN)
    digits = "".join(char for char in value if char.isdecimal())
    assert len(shown) in (0, 2)
    assert digits.endswith(shown)


@given(st.text())
def test_a_document_number_shows_at_most_its_last_two_signs(value: str) -> None:
    assert _letters(mask(FieldType.DOCUMENT_NUMBER, value).removeprefix(HIDDEN)) in (0, 2)


@given(st.text(alphabet="абвгд", min_size=3), st.text(alphabet="абвгд", min_size=3))
def test_no_mask_shows_how_long_a_value_is(one: str, other: str) -> None:
    for type in FieldType:
        first, second = mask(type, "я" + one + "@пример.рф"), mask(type, "я" + other + "@пример.рф")
        assert len(first) == len(second)


def _letters(text: str) -> int:
    """Count what isn't a mark or a joiner: at least the letters, as people count them."""
    bases = [char for char in text if not unicodedata.category(char).startswith("M")]
    return len(bases) - 2 * bases.count("\u200d")
