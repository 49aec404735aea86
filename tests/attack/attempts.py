"""What the attack suite tried and what came of it: noted by each test, told in a table at the end.

    def test_a_stranger_reads_nothing(attempts: Attempts) -> None:
        for table in TABLES:
            assert denied(table)
            attempts.record(Wall.STORAGE, "read another's tables", table, REFUSED)
        assert granted(OWN_TABLE)
        attempts.record(Wall.STORAGE, "read another's tables", OWN_TABLE, CONTROL)

A note says what was asserted just before it; those of a test that fails aren't counted. CONTROL is
the same attack with the defence off, or as one who may: it has succeeded, else the refusals prove
nothing. RESIDUAL is an attack that no wall stops, and that the threat model names.
"""

import io
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Any

import pytest
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

REFUSED = "refused"
DETECTED = "detected"
CONTROL = "control"
RESIDUAL = "residual"
_RESULT = re.compile(r"refused|detected|residual|control|((control|residual): )?linked \d+ of \d+")
_PROPERTY = "attempt"

Note = tuple[str, str, str, str]  # wall, attack, target, result


class Wall(StrEnum):
    """The walls of the design, from the outside in, and what stands beside them."""

    API = "1 API"
    EDITION = "2 edition"
    HISTORY = "3 history"
    STORAGE = "4 storage"
    KEYS = "5 keys"
    CIPHERTEXT = "6 ciphertext"
    DUMPS = "7 dumps"
    TRAIL = "trail"


def linked(found: int, of: int, kind: str = "") -> str:
    """Write the result of an attack that guesses: how many it got right; CONTROL or RESIDUAL."""
    return f"{kind}: linked {found} of {of}" if kind else f"linked {found} of {of}"


class Attempts:
    """The notes of one test."""

    def __init__(self, properties: list[tuple[str, object]]) -> None:
        self._properties = properties

    def record(self, wall: Wall, attack: str, target: str, result: str) -> None:
        """Note an attempt: REFUSED, DETECTED, RESIDUAL, CONTROL or `linked(found, of, …)`."""
        if not _RESULT.fullmatch(result):
            raise ValueError(f"no result of an attempt: {result}")
        # Plain strings: they travel to xdist's controller.
        self._properties.append((_PROPERTY, [str(wall), attack, target, result]))


def noted(properties: Iterable[tuple[str, Any]]) -> list[Note]:
    """Read the notes among the properties of a test, which xdist has made lists of."""
    return [tuple(value) for name, value in properties if name == _PROPERTY]


class Gathering:
    """Gathers the notes of all tests that pass, those of xdist's workers too, and prints them."""

    def __init__(self) -> None:
        self.notes: list[Note] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.notes += noted(report.user_properties)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.notes:
            terminalreporter.section("attempts and what came of them")
            terminalreporter.write(table(self.notes))


def table(notes: Iterable[Note]) -> str:
    """Draw the table: a line an attack, a section a wall."""
    by_wall: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for wall, attack, _target, result in notes:
        by_wall[wall][attack][result] += 1
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("wall", "attack"):
        drawn.add_column(heading, overflow="fold")
    drawn.columns[0].no_wrap = True
    for heading in ("attempts", "refused", "detected", "linked", "residual", "controls"):
        drawn.add_column(heading, justify="right", overflow="fold")
    whole: Counter[str] = Counter()
    for wall in sorted(by_wall):
        for number, (attack, results) in enumerate(by_wall[wall].items()):
            drawn.add_row("" if number else wall, attack, *_cells(results))
            whole += results
        drawn.add_section()
    drawn.add_row("all", "", *_cells(whole, told=False))
    console = Console(file=io.StringIO(), width=116)
    console.print(drawn)
    written = console.file
    assert isinstance(written, io.StringIO)
    return written.getvalue()


def _cells(results: Counter[str], *, told: bool = True) -> list[str]:
    """Count; guesses are told as they are, but in the last line."""
    guesses = {kind: _guesses(results, kind) for kind in ("", RESIDUAL, CONTROL)}
    counts = {kind: sum(n for r, n in results.items() if r.startswith(kind)) for kind in guesses}
    if not told:
        guesses = {"": [str(len(guesses[""]))] if guesses[""] else [], RESIDUAL: [], CONTROL: []}
    cells: list[Sequence[object]] = [
        [results.total() - counts[CONTROL]],
        [results[REFUSED] or ""],
        [results[DETECTED] or ""],
        guesses[""],
        guesses[RESIDUAL] or [counts[RESIDUAL] or ""],
        guesses[CONTROL] or [counts[CONTROL] or ""],
    ]
    return ["\n".join(map(str, cell)) for cell in cells]


def _guesses(results: Counter[str], kind: str) -> list[str]:
    """Return what results of a kind say of guesses: "7 of 1000"."""
    begins = f"{kind}: linked " if kind else "linked "
    return [result.removeprefix(begins) for result in results if result.startswith(begins)]
