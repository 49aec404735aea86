"""How identifiers are written: one spelling each, and nothing else is one."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.names import (
    NAME,
    ROW_VERSION_BYTES,
    Pseudonym,
    from_base64url,
    is_request_id,
    new_row_version,
    to_base64url,
)

RAW = bytes(range(32))
TEXT = "psn_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"


@given(st.binary(max_size=50))
def test_bytes_have_one_spelling(raw: bytes) -> None:
    assert from_base64url(to_base64url(raw)) == raw


@given(st.text(alphabet="AQgwBZz09-_=+/ \nА", max_size=9))
def test_whatever_is_read_is_written_alike(text: str) -> None:
    try:
        raw = from_base64url(text)
    except ValueError:
        return
    assert to_base64url(raw) == text


@pytest.mark.parametrize(
    "text",
    ["AA==", "AB", "A", "A+/A", "AA A", "AAAA\n", "АААА", "AA.A", "=", "AAA=A"],
    ids=[
        "padding",
        "stray bits",
        "a character too few",
        "plain base64",
        "a space",
        "a line feed",
        "Cyrillic letters",
        "a full stop",
        "padding alone",
        "padding inside",
    ],
)
def test_no_other_spelling_is_read(text: str) -> None:
    with pytest.raises(ValueError, match="base64url") as refused:
        from_base64url(text)
    assert text not in str(refused.value)


def test_a_pseudonym_is_read_as_it_is_written() -> None:
    assert str(Pseudonym(RAW)) == TEXT
    assert Pseudonym.parse(TEXT) == Pseudonym(RAW)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "psn_",
        TEXT.removeprefix("psn_"),
        TEXT.replace("psn_", "PSN_"),
        TEXT.replace("psn_", "cap_"),
        " " + TEXT,
        TEXT + "\n",
        TEXT[:-1],
        TEXT + "A",
        TEXT[:-1] + "9",
        TEXT + "=",
        "psn_" + "+" * 43,
        "psn_" + "А" * 43,
    ],
    ids=[
        "nothing",
        "a prefix alone",
        "no prefix",
        "a prefix in capitals",
        "another prefix",
        "a space before",
        "a line feed behind",
        "a character too few",
        "a character too many",
        "stray bits at the end",
        "padding",
        "plain base64",
        "Cyrillic letters",
    ],
)
def test_nothing_else_is_a_pseudonym(text: str) -> None:
    with pytest.raises(ValueError, match=r"pseudonym|base64url") as refused:
        Pseudonym.parse(text)
    assert len(text) < 5 or text not in str(refused.value)


def test_a_pseudonym_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither by repr, nor by a log line or an f-string that asks for it."""
    pseudonym = Pseudonym(RAW)
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("piivault").info("seen: %r", [pseudonym])
    for shown in (repr(pseudonym), f"{pseudonym!r}", caplog.text):
        assert TEXT[4:] not in shown
        assert "Pseudonym(…)" in shown


def test_a_row_version_orders_nothing() -> None:
    drawn = [new_row_version() for _ in range(100)]
    assert {len(version) for version in drawn} == {ROW_VERSION_BYTES}
    assert len(set(drawn)) == 100
    assert drawn != sorted(drawn)


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("0b8f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f", True),
        ("0B8F7A52-3F6C-4F0E-9A67-2A4B5C6D7E8F", False),
        ("0b8f7a523f6c4f0e9a672a4b5c6d7e8f", False),
        ("0b8f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f\n", False),
        ("{0b8f7a52-3f6c-4f0e-9a67-2a4b5c6d7e8f}", False),
        ("Айгүл Асанова, +996 555 123456", False),
        ("", False),
    ],
    ids=["a UUID", "capitals", "no hyphens", "a line feed", "braces", "a person", "nothing"],
)
def test_a_request_id_has_no_room_for_anything_personal(text: str, is_one: bool) -> None:
    assert is_request_id(text) is is_one


@pytest.mark.parametrize("name", ["accounts", "a", "last_name", "x-1", "a" * 63])
def test_these_are_names(name: str) -> None:
    assert NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "Accounts", "1a", "_a", "-a", "a b", "a\n", "аты", "a" * 64])
def test_these_are_not(name: str) -> None:
    assert not NAME.fullmatch(name)
