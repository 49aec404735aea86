"""Whose data is measured with: an edition of our own, and made-up persons who agreed to it.

Each compartment has the same six fields, so that one can be held against another. Everybody agreed
to `register` and `service`, and to some of three other purposes: unlike GDPRbench's users, who have
one purpose each.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SMALL, LARGE, ROLES, ROLES_LARGE = "small", "large", "roles", "roles_large"
COMPARTMENTS = (SMALL, LARGE, ROLES, ROLES_LARGE)
PORTAL = "portal"
REVEALED = ("first_name", "phone")
FIELDS: Mapping[str, Mapping[str, Any]] = {
    "last_name": {"uid": 1, "type": "name"},
    "first_name": {"uid": 2, "type": "name"},
    "patronymic": {"uid": 3, "type": "name"},
    "email": {"uid": 4, "type": "email", "index": "unique"},
    "phone": {"uid": 5, "type": "phone", "index": "shared"},
    "city": {"uid": 6, "type": "text", "voluntary": True},
}
PURPOSES: Mapping[str, Mapping[str, str]] = {
    "register": dict.fromkeys(FIELDS, "plain"),
    "service": {"last_name": "plain", "first_name": "plain", "phone": "plain"},
    "support": {"last_name": "plain", "email": "masked", "phone": "masked"},
    "newsletter": {"first_name": "plain", "email": "plain"},
    "statistics": {"city": "plain", "email": "present", "phone": "present"},
}
LANGUAGE = "en"
_MOMENT = "2026-01-01T00:00:00+06:00"
_LAST, _FIRST = ("Токтогулова", "Осмонова", "Өмүрбекова"), ("Айгүл", "Гүлнара", "Нургүл")
_PATRONYMIC, _CITY = ("Асан кызы", "Бакыт кызы", "Касым кызы"), ("Ош", "Өзгөн", "Кара-Суу")


def reader(compartment: str) -> str:
    """Return the service that reads and writes a compartment, for every purpose."""
    return f"reader-{compartment.replace('_', '-')}"


def values(number: int) -> dict[str, str]:
    """Return what a person's record holds."""
    return {
        "last_name": _LAST[number % 3],
        "first_name": _FIRST[number // 3 % 3],
        "patronymic": _PATRONYMIC[number // 9 % 3],
        "email": f"aigul.{number}@example.kg",
        "phone": f"+996 555 {number % 10**6:06d}",
        "city": _CITY[number % 3],
    }


def purposes(number: int) -> list[str]:
    """Return what a person agreed to."""
    first, second, *others = PURPOSES
    return [first, second, *(name for bit, name in enumerate(others) if number >> bit & 1)]


def root(number: int) -> bytes:
    """Return a person's root id."""
    return hashlib.sha256(b"bench/root" + number.to_bytes(8)).digest()[:16]


def unissued(compartment: str, number: int) -> bytes:
    """Return a pseudonym that no root id has: for records that nobody acts for."""
    return hashlib.sha256(b"bench/pseudonym" + compartment.encode() + number.to_bytes(8)).digest()


def write_policy(file: Path) -> Path:
    """Write the edition into a file."""
    file.write_text(json.dumps(document(), ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def document() -> dict[str, Any]:
    """Return the edition."""
    owners = [PORTAL, *map(reader, COMPARTMENTS)]
    titled = {name: {**field, "title": _text(name)} for name, field in FIELDS.items()}
    return {
        "edition": 1,
        "predecessor": None,
        "posted": _MOMENT,
        "in_force": _MOMENT,
        "law": _text("The law"),
        "trust_domain": "example.kg",
        "region": "KG",
        "languages": [LANGUAGE],
        "owners": {name: {"id": _uuid(name), "title": _text("A team")} for name in owners},
        "compartments": {
            name: {
                "uuid": _uuid(name),
                "title": _text(name),
                "subjects": ["person"],
                "fields": titled,
            }
            for name in COMPARTMENTS
        },
        "purposes": {name: _purpose(name, seen) for name, seen in PURPOSES.items()},
        "services": {
            PORTAL: {**_service(PORTAL), "subject_facing": True},
            **{name: _service(name) for name in map(reader, COMPARTMENTS)},
        },
        "grants": [
            {
                "service": reader(compartment),
                "purpose": purpose,
                "compartment": compartment,
                "operations": ["reveal", "put"],
            }
            for compartment in COMPARTMENTS
            for purpose in PURPOSES
        ],
    }


def _purpose(name: str, seen: Mapping[str, str]) -> dict[str, Any]:
    uses = {c: {"retention": "3 years", "fields": dict(seen)} for c in COMPARTMENTS}
    about = {"title": _text(name), "description": _text("Why data is used")}
    return {**about, "basis": "consent", "uses": uses}


def _service(name: str) -> dict[str, Any]:
    return {"owner": name, "spiffe": f"spiffe://example.kg/{name}"}


def _text(words: str) -> dict[str, str]:
    return {LANGUAGE: words}


def _uuid(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.bench.example.kg"))
