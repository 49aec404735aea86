"""Form alone is checked: no value is refused as untrue (clause 1.3)."""

import unicodedata

import pytest

from vault.policy import Field, FieldType, check_value

TAKEN = [
    (FieldType.NAME, "Айгүл"),
    (FieldType.NAME, "Х Æ A-12"),
    (FieldType.NAME, "\u202bعائشة\u202c"),
    (FieldType.EMAIL, "aigul@example.kg"),
    (FieldType.EMAIL, "nobody@nowhere"),
    (FieldType.PHONE, "+996 (555) 12-34-56"),
    (FieldType.PHONE, "0555 12O456"),
    (FieldType.PHONE, "0312 900000 ички 12"),
    (FieldType.PHONE, "٠٥٥٥١٢٣٤٥٦"),
    (FieldType.ADDRESS, "Ленин көчөсү 1\nОш"),
    (FieldType.TEXT, "бир\r\n\tэки"),
    (FieldType.DOCUMENT_NUMBER, "ID 1234567"),
    (FieldType.DATE, "1890-02-28"),
    (FieldType.DATE, "9999-12-31"),
    (FieldType.IDENTIFIER, "c0ffee"),
]
REFUSED = [
    *((type, "", "empty") for type in FieldType),
    *((type, " \u00a0", "empty") for type in FieldType),
    *((type, "1990-12-31 +1@b\x00", "control") for type in FieldType),
    (FieldType.NAME, "Айгүл\n", "control"),
    (FieldType.IDENTIFIER, "c0\tffee", "control"),
    (FieldType.TEXT, "a\x1b[31m", "control"),
    (FieldType.EMAIL, "aigul", "one @"),
    (FieldType.EMAIL, "@example.kg", "one @"),
    (FieldType.EMAIL, "aigul@", "one @"),
    (FieldType.EMAIL, "a@b@c", "one @"),
    (FieldType.EMAIL, "ai gul@example.kg", "one @"),
    (FieldType.EMAIL, "\u2003aigul@example.kg", "one @"),
    (FieldType.PHONE, "жок", "digits"),
    (FieldType.PHONE, "555@example.kg", "digits"),
    (FieldType.DATE, "31.12.1990", "1990-12-31"),
    (FieldType.DATE, "19901231", "1990-12-31"),
    (FieldType.DATE, "1990-W01-1", "1990-12-31"),
    (FieldType.DATE, "1990-02-30", "1990-12-31"),
]


def _field(type: FieldType) -> Field:
    return Field("field", 1, type, {"en": "Field"})


def test_control_characters_are_those_of_unicode() -> None:
    """Its category Cc; of lines, all but the three that make them."""
    for type, but in ((FieldType.NAME, ""), (FieldType.TEXT, "\n\r\t")):
        refused = {c for c in map(chr, range(0x500)) if check_value(_field(type), f"a{c}b")}
        expected = {c for c in map(chr, range(0x500)) if unicodedata.category(c) == "Cc"}
        assert refused == expected - set(but)


@pytest.mark.parametrize(("type", "value"), TAKEN)
def test_takes(type: FieldType, value: str) -> None:
    """True or not, it has the form."""
    assert check_value(_field(type), value) is None


@pytest.mark.parametrize(("type", "value", "names"), REFUSED)
def test_refuses(type: FieldType, value: str, names: str) -> None:
    """The sentence says what was expected, and never the value."""
    fault = check_value(_field(type), value)
    assert fault is not None
    assert names in fault
    assert len(value.strip()) < 4 or value not in fault
