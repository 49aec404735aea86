"""What is wrong with an edition: all of it, each with its line and path."""

from collections.abc import Iterator
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Where something stands in a document: ("grants", 0, "service")."""

Refusals = Iterator[tuple[Path, str]]
"""What is wrong, each at its path, in a sentence that says what to change."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One reason to refuse an edition: a sentence that says what to change."""

    line: int | None  # from 1; None where the text isn't at hand
    path: str  # "grants[0].service"
    message: str

    def __str__(self) -> str:
        where = f"line {self.line}, " if self.line else ""
        return f"{where}{self.path}: {self.message}"


class EditionError(Exception):
    """The edition is refused; `faults` says why, in the order of the text."""

    def __init__(self, faults: list[Fault]) -> None:
        self.faults = tuple(sorted(faults, key=lambda fault: (fault.line or 0, fault.path)))
        super().__init__(self.faults)

    def __str__(self) -> str:
        count = "1 fault" if len(self.faults) == 1 else f"{len(self.faults)} faults"
        return "\n".join([f"The edition is refused, {count}:", *(f"  {f}" for f in self.faults)])


def spell(path: Path) -> str:
    """Write a path as people do: "grants[0].service"."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the document"


class Lines:
    """Where each part of a document stands in its text."""

    def __init__(self) -> None:
        self._lines: dict[Path, int] = {(): 1}

    def note(self, path: Path, line: int) -> None:
        """Remember the line of a path."""
        self._lines.setdefault(path, line)

    def fault(self, path: Path, message: str) -> Fault:
        """Make a fault; what isn't in the text stands at the line of what it is missing from."""
        known = path
        while known not in self._lines:
            known = known[:-1]
        return Fault(self._lines[known], spell(path), message)

    def refuse(self, refusals: Refusals) -> None:
        """Raise EditionError with all of these, if there are any."""
        if faults := [self.fault(path, sentence) for path, sentence in refusals]:
            raise EditionError(faults)
