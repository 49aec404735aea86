"""What is made from the code and checked in; `python -m tests.unit.policy.checked_in` makes it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vault.policy import compile_edition, edition_schema, graph, holdings_schema

ROOT = Path(__file__).parents[3]
OSH = ROOT / "examples/osh/policy.yaml"
CLINIC = ROOT / "examples/clinic/policy.yaml"


def schema(of: dict[str, Any]) -> str:
    return json.dumps(of, ensure_ascii=False, indent=2) + "\n"


def picture() -> str:
    return graph(compile_edition(OSH.read_text(encoding="utf-8")))


MADE: dict[str, Callable[[], str]] = {
    "docs/edition.schema.json": lambda: schema(edition_schema()),
    "docs/export.schema.json": lambda: schema(holdings_schema()),
    "examples/osh/policy.svg": picture,
}

if __name__ == "__main__":
    for name, make in MADE.items():
        (ROOT / name).write_text(make(), encoding="utf-8")
