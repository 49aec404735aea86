"""Whether a value has the form of its field's type. Never whether it is true (clause 1.3)."""

import re
from collections.abc import Callable
from datetime import date

from vault.policy.edition import Field
from vault.policy.vocabulary import FieldType

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PHONE = re.compile(r"[\w\s+().,/#*;:\u2010-\u2015-]+")  # words too: people write extensions out
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")  # all of Unicode's category Cc
_CONTROLS_BUT_LINES = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # but tab, CR, LF


def check_value(field: Field, value: str) -> str | None:
    """Say what is wrong with the form of a value, None if nothing is. Sizes aren't looked at."""
    if not value.strip():
        return "is empty: leave the field out, or clear it"
    lines = field.type in (FieldType.TEXT, FieldType.ADDRESS)
    if (_CONTROLS_BUT_LINES if lines else _CONTROLS).search(value):
        return "has control characters: send text alone"
    check = _CHECKS.get(field.type)
    return check(value) if check else None


def is_date(value: str) -> bool:
    """Tell whether this is a day of the calendar, as 1990-12-31."""
    try:
        return _DATE.fullmatch(value) is not None and bool(date.fromisoformat(value))
    except ValueError:
        return False


def _email(value: str) -> str | None:
    local, _, domain = value.partition("@")
    if not local or not domain or "@" in domain or value.split() != [value]:
        return "is no e-mail address: one @ with something on both sides, and no spaces"
    return None


def _phone(value: str) -> str | None:
    if not any(char.isdecimal() for char in value) or not _PHONE.fullmatch(value):
        return "is no telephone number: write digits, as in +996 555 123456"
    return None


def _date(value: str) -> str | None:
    return None if is_date(value) else "is no date: write year, month and day as 1990-12-31"


_CHECKS: dict[FieldType, Callable[[str], str | None]] = {
    FieldType.EMAIL: _email,
    FieldType.PHONE: _phone,
    FieldType.DATE: _date,
}
