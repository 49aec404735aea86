"""`decide` on an edition far larger than a city's: 200 services, 1,000 grants, 500 fields."""

import json
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.bench.sample import percentile
from vault.policy import Allowed, Edition, Operation, compile_edition, decide

COMPARTMENTS, FIELDS_EACH = 20, 25
PURPOSES = 40
SERVICES, GRANTS_EACH = 200, 5
DECISIONS = 50_000
_MOMENT = "2026-01-01T00:00:00+06:00"
_SEEN = 10  # fields of a compartment that a purpose sees

Question = tuple[str, str, str, tuple[str, ...]]  # service, purpose, compartment, fields


@dataclass(frozen=True, slots=True)
class Decided:
    """Microseconds a decision; seconds to compile the edition; how many were allowed, 0 to 1."""

    p50: float
    p99: float
    compiled: float
    allowed: float


def measure_decide() -> Decided:
    """Compile the edition, and decide on allowed and refused questions in a random order."""
    text = json.dumps(_document(), indent=1)
    begun = time.perf_counter()
    edition = compile_edition(text)
    compiled = time.perf_counter() - begun
    questions = list(_questions(edition, random.Random(1)))
    took, allowed = [], 0
    for service, purpose, compartment, fields in questions:
        caller = edition.services[service]
        started = time.perf_counter_ns()
        decision = decide(edition, caller, purpose, compartment, Operation.REVEAL, fields)
        took.append((time.perf_counter_ns() - started) / 1000)
        allowed += isinstance(decision, Allowed)
    took.sort()
    return Decided(percentile(took, 50), percentile(took, 99), compiled, allowed / len(questions))


def _questions(edition: Edition, chance: random.Random) -> Iterator[Question]:
    """Ask four times for fields that are granted, then once for one that isn't."""
    granted = [key[:3] for key in edition.granted if key[3] is Operation.REVEAL]
    for number in range(DECISIONS):
        service, purpose, compartment = chance.choice(granted)
        seen = list(edition.granted[service, purpose, compartment, Operation.REVEAL])
        fields = chance.sample(seen, chance.randint(1, 6))
        if number % 5 == 4:
            fields[-1] = f"field{FIELDS_EACH - 1}"
        yield service, purpose, compartment, tuple(fields)


def _document() -> dict[str, Any]:
    """Write an edition whose compartments are joinable two by two, and nobody holds others."""
    pairs = range(COMPARTMENTS // 2)
    return {
        "edition": 1,
        "predecessor": None,
        "posted": _MOMENT,
        "in_force": _MOMENT,
        "law": _text("The law"),
        "trust_domain": "example.kg",
        "languages": ["en"],
        "owners": {f"owner{p}": {"id": _uuid(100 + p), "title": _text("A team")} for p in pairs},
        "compartments": {f"compartment{c}": _compartment(c) for c in range(COMPARTMENTS)},
        "joinable": [{"between": list(_pair(p)), "reason": _text("Together")} for p in pairs],
        "purposes": {f"purpose{n}": _purpose(n) for n in range(PURPOSES)},
        "services": {
            f"service{s}": {
                "owner": f"owner{s % len(pairs)}",
                "spiffe": f"spiffe://example.kg/service{s}",
            }
            for s in range(SERVICES)
        },
        "grants": [grant for s in range(SERVICES) for grant in _grants(s)],
    }


def _compartment(number: int) -> dict[str, Any]:
    fields = {
        f"field{f}": {"uid": f + 1, "type": "text", "title": _text("A field")}
        for f in range(FIELDS_EACH)
    }
    title = _text("A database")
    return {"uuid": _uuid(number), "title": title, "subjects": ["person"], "fields": fields}


def _purpose(number: int) -> dict[str, Any]:
    seen = {f"field{(number + f) % (FIELDS_EACH - 1)}": "plain" for f in range(_SEEN)}
    return {
        "title": _text("A purpose"),
        "description": _text("Why data is used"),
        "basis": "consent",
        "uses": {c: {"retention": "1 year", "fields": seen} for c in _pair(number)},
    }


def _grants(service: int) -> Iterator[dict[str, Any]]:
    """Grant a service its pair of compartments, for the purposes of that pair."""
    pairs = COMPARTMENTS // 2
    for n in range(GRANTS_EACH):
        purpose = service % pairs + pairs * (n // 2)
        yield {
            "service": f"service{service}",
            "purpose": f"purpose{purpose}",
            "compartment": _pair(service)[n % 2],
            "operations": ["reveal", "put"],
        }


def _pair(number: int) -> tuple[str, str]:
    first = 2 * (number % (COMPARTMENTS // 2))
    return f"compartment{first}", f"compartment{first + 1}"


def _text(words: str) -> dict[str, str]:
    return {"en": words}


def _uuid(number: int) -> str:
    return str(uuid.UUID(int=number + 1))
