"""What a masked value looks like: one mask a field type, whatever the purpose (clause 2.4 c).

>>> mask(FieldType.EMAIL, "aigul@example.kg")
'a***@***.kg'

So two masked views add up to no more than one. A mask is the same for a value always, never
shows how long the value is, and never takes a letter apart from its accents.
"""

import unicodedata
from collections.abc import Callable

from vault.policy.values import is_date
from vault.policy.vocabulary import FieldType

HIDDEN = "***"
_JOINER = "\u200d"


def mask(type: FieldType, value: str) -> str:
    """Return a value behind the mask of its field's type; what is too short is all hidden."""
    return _MASKS[type](unicodedata.normalize("NFC", value).strip())


def _name(value: str) -> str:
    return _first_letter(value) + HIDDEN


def _email(value: str) -> str:
    local, at, domain = value.rpartition("@")
    if not at:
        return HIDDEN
    _, dot, last = domain.rpartition(".")
    ending = f".{last}" if dot and last.isalpha() else ""
    return f"{_first_letter(local)}{HIDDEN}@{HIDDEN}{ending}"


def _phone(value: str) -> str:
    return HIDDEN + _last_two([char for char in value if char.isdecimal()])


def _document_number(value: str) -> str:
    return HIDDEN + _last_two([letter for letter in _letters(value) if letter[0].isalnum()])


def _date(value: str) -> str:
    return f"{value[:4]}-**-**" if is_date(value) else HIDDEN


def _hidden(value: str) -> str:
    return HIDDEN


_MASKS: dict[FieldType, Callable[[str], str]] = {
    FieldType.NAME: _name,
    FieldType.EMAIL: _email,
    FieldType.PHONE: _phone,
    FieldType.DOCUMENT_NUMBER: _document_number,
    FieldType.DATE: _date,
    FieldType.ADDRESS: _hidden,
    FieldType.TEXT: _hidden,
    FieldType.IDENTIFIER: _hidden,
}


def _first_letter(value: str) -> str:
    """Return the first letter with its accents; nothing where there are fewer than three."""
    letters = _letters(value)
    return letters[0] if len(letters) > 2 and letters[0][0].isalpha() else ""


def _last_two(signs: list[str]) -> str:
    """Return the last two signs, nothing where that would be a third or more of the whole."""
    return "".join(signs[-2:]) if len(signs) > 6 else ""


def _letters(text: str) -> list[str]:
    """Split into letters as people count them: each with its marks, and what is joined to it."""
    letters: list[str] = []
    for char in text:
        joined = unicodedata.category(char).startswith("M") or char == _JOINER
        if letters and (joined or letters[-1].endswith(_JOINER)):
            letters[-1] += char
        else:
            letters.append(char)
    return letters
