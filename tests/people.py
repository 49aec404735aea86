"""People and enterprises for tests: made up, with Kyrgyz names, never the same twice."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import piivault

from vault.names import Pseudonym

COMPARTMENTS = ("accounts", "enterprises", "orders", "web")
"""Those of the example."""

NOBODY = f"psn_{'A' * 43}"
"""A pseudonym that was never issued."""

KINDS: Mapping[str, piivault.SubjectKind] = {"enterprises": "enterprise"}
"""The kind of subject that a compartment is for, where it isn't a person."""

_NAMES = (
    ("Токтогулова", "Айгүл", "Бакытовна"),
    ("Өмүрбеков", "Нурлан", "Жээнбекович"),
    ("Осмонова", "Гүлнара", "Касымовна"),
    ("Жусупов", "Эрмек", "Сапарбекович"),
)


@dataclass(frozen=True, slots=True)
class Registered:
    """A subject with a record in one compartment."""

    subject: piivault.Subject
    root: piivault.RootId
    compartment: str
    pseudonym: str
    capability: str
    values: dict[str, str]
    etag: str


def raw(person: Registered) -> bytes:
    """Return a pseudonym as it stands in tables."""
    return Pseudonym.parse(person.pseudonym).raw


def new_values(compartment: str) -> dict[str, str]:
    """Make up all that a compartment's form asks for; unique fields are unique."""
    last, first, patronymic = secrets.choice(_NAMES)
    mark = secrets.token_hex(6)
    phone = f"+996 555 {secrets.randbelow(10**6):06}"
    return {
        "accounts": {
            "last_name": last,
            "first_name": first,
            "patronymic": patronymic,
            "email": f"aigul.{mark}@example.kg",
            "phone": phone,
        },
        "enterprises": {
            "name": f"«Ош Нан» ЖЧК {mark}",
            "tax_id": f"{secrets.randbelow(10**14):014}",
            "contact_person": f"{last} {first}",
            "email": f"nan.{mark}@example.kg",
            "phone": phone,
        },
        "orders": {"address": f"Ош, Ленин көчөсү {mark}", "item_note": "Эшиктин алдына коюңуз"},
        "web": {"cookie_id": f"cookie-{mark}", "user_agent": "Mozilla/5.0 (X11; Linux x86_64)"},
    }[compartment]
