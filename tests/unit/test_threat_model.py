"""The threat model against the tests that it names, and the tests against the threat model."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attack.attempts import Wall

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/threat-model.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)))
_FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
_ROW = re.compile(r"\| (R\d+) \| (.*) \| (.*) \| (.*) \|")
REMAINS = TEXT.split("\n## What remains\n")[1].split("\n## ")[0]
UNTESTED = ("*by design*", "*by argument*")
ATTACKS = sorted((ROOT / "tests/attack").glob("test_*.py"))


def _tests(file: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Yield the tests in a file, without importing it."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, _FUNCTION) and node.name.startswith("test_"):
            yield node


def _leaves_a_residual(test: ast.AST) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "RESIDUAL" for node in ast.walk(test))


@pytest.mark.parametrize(("file", "name"), NAMED, ids=[f"{f}-{n}" for f, n in NAMED])
def test_each_test_that_is_named_is_there(file: str, name: str) -> None:
    assert name in {test.name for test in _tests(ROOT / file)}


def test_nothing_is_named_in_another_way() -> None:
    """So that no claim slips past by its spelling."""
    assert TEXT.count("::") == len(re.findall(r"`tests/[\w/]+\.py::test_\w+`", TEXT))


@pytest.mark.parametrize("file", ATTACKS, ids=lambda file: file.stem)
def test_each_attack_that_succeeds_remains(file: Path) -> None:
    """Whatever the suite notes as RESIDUAL is named under what remains."""
    path = file.relative_to(ROOT)
    for test in _tests(file):
        if _leaves_a_residual(test):
            assert f"`{path}::{test.name}`" in REMAINS


def test_each_claim_names_a_test() -> None:
    """Each row of the walls; what remains may be so by design, and then says so."""
    walls = TEXT.split("\n## What each wall stops\n")[1].split("\n## ")[0]
    rows = [row for row in walls.splitlines() if row.startswith("| ")]
    claims = [row for row in rows if row != "| claim | shown by |"]
    assert len(claims) > 30
    assert all("`tests/" in claim for claim in claims)
    remaining = [_ROW.fullmatch(row) for row in REMAINS.splitlines() if row.startswith("| R")]
    assert [row and row[1] for row in remaining] == [f"R{i + 1}" for i in range(len(remaining))]
    assert all(row and (row[4] in UNTESTED or "`tests/" in row[4]) for row in remaining)


def test_each_wall_of_the_suite_has_a_section() -> None:
    for wall in Wall:
        if wall is not Wall.TRAIL:  # beside the walls: it stands under 6
            number, name = wall.split(" ")
            assert f"\n### {number} {name[0].upper()}{name[1:]}\n" in TEXT


def test_references_within_the_page_lead_somewhere() -> None:
    headings = {
        re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
        for line in TEXT.splitlines()
        if line.startswith("#")
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= headings
    rows = set(re.findall(r"^\| (R\d+) \|", TEXT, re.MULTILINE))
    assert set(re.findall(r"\bR\d+\b", TEXT)) <= rows
