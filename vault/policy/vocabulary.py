"""The words that an edition is written in."""

import calendar
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Self

Text = Mapping[str, str]
"""One text for people, by language: {"ky": …, "ru": …, "en": …}."""


def said(text: Text, language: str) -> str:
    """Return a text in a language, or in English where an older edition hasn't that language."""
    return text.get(language) or english(text)


def english(text: Text) -> str:
    """Return a text in English, or in its first language where it has no English."""
    return text.get("en") or next(iter(text.values()))


class Form(IntEnum):
    """In what form a purpose sees a field; numbered as piivault.v1.Form (clause 2.4 c).

    The numbers aren't an order: `present` shows least, then `masked`, and `plain` shows all.
    """

    PLAIN = 1
    MASKED = 2
    PRESENT = 3

    @property
    def word(self) -> str:
        """The form as an edition spells it: "plain"."""
        return self.name.lower()

    def within(self, other: "Form") -> bool:
        """Tell whether this form shows no more than the other."""
        return _SHOWS[self] <= _SHOWS[other]

    def narrower(self, other: "Form") -> "Form":
        """Return whichever of the two shows less."""
        return self if self.within(other) else other


_SHOWS = {Form.PRESENT: 1, Form.MASKED: 2, Form.PLAIN: 3}


class SubjectKind(IntEnum):
    """What kind of subject a record is of; numbered as piivault.v1.SubjectKind (clause 2.2)."""

    PERSON = 1
    ENTERPRISE = 2


class Operation(StrEnum):
    """What a grant allows."""

    REVEAL = "reveal"
    PUT = "put"
    FIND = "find"
    LIST = "list"


class Index(StrEnum):
    """How a field's values can be found: each held by one record, or by several."""

    UNIQUE = "unique"
    SHARED = "shared"


class Basis(StrEnum):
    """Why the processing is lawful (clause 2.4 a)."""

    CONSENT = "consent"
    CONTRACT = "contract"
    LEGAL_OBLIGATION = "legal_obligation"
    VITAL_INTEREST = "vital_interest"
    PUBLIC_TASK = "public_task"
    LEGITIMATE_INTEREST = "legitimate_interest"

    @property
    def outlasts_restriction(self) -> bool:
        """Tell whether processing goes on while the subject restricts it: the law demands it."""
        return self in (Basis.LEGAL_OBLIGATION, Basis.VITAL_INTEREST)


class FieldType(StrEnum):
    """What a field's values are checked, masked and indexed as."""

    NAME = "name"
    EMAIL = "email"
    PHONE = "phone"
    ADDRESS = "address"
    TEXT = "text"
    DOCUMENT_NUMBER = "document_number"
    DATE = "date"
    IDENTIFIER = "identifier"

    @property
    def indexable(self) -> bool:
        """Tell whether values are nearly unique: an index over others would show who shares one."""
        return self in _NEARLY_UNIQUE


_NEARLY_UNIQUE = frozenset(
    {FieldType.EMAIL, FieldType.PHONE, FieldType.DOCUMENT_NUMBER, FieldType.IDENTIFIER}
)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long data is kept, in calendar units: `Retention(3, "year")`."""

    count: int
    unit: str  # day, week, month or year

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `document.RETENTION` matches, such as "3 years"."""
        count, unit = text.split()
        return cls(int(count), unit.removesuffix("s"))

    def end(self, start: datetime) -> datetime:
        """Return the moment from which data of `start` is no longer used.

        A month that lacks the day ends on its last one: 31 January and a month is 28 February.
        """
        if self.unit in ("day", "week"):
            return start + timedelta(days=self.count * (7 if self.unit == "week" else 1))
        months = start.month - 1 + self.count * (12 if self.unit == "year" else 1)
        year, month = start.year + months // 12, months % 12 + 1
        if start.day <= 28:  # as every month has
            return start.replace(year=year, month=month)
        day = min(start.day, calendar.monthrange(year, month)[1])
        return start.replace(year=year, month=month, day=day)

    def __str__(self) -> str:
        return f"{self.count} {self.unit}{'' if self.count == 1 else 's'}"
