"""Exports as a table that a person reads on a terminal. Pure."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from piivault.exports import Export


def shown(exports: Sequence[Export], language: str) -> str:
    """Return what is held, for which purposes and by which consents, compartment by compartment."""
    parts = (
        _export(each.holdings, language) for each in sorted(exports, key=lambda e: e.compartment)
    )
    return "\n\n".join("\n".join(lines) for lines in parts)


def _export(held: Mapping[str, Any], language: str) -> Iterator[str]:
    place, subject = held["compartment"], held["subject"]
    yield f"{_text(place['title'], language)} ({place['name']})"
    states = [word for word in ("restricted", "erased") if subject[word]]
    yield f"  registered {_day(subject['registered_at'])}{''.join(f', {word}' for word in states)}"
    yield ""
    yield from _fields(held["fields"], language)
    yield ""
    yield from _table(
        ("purpose", "basis", "kept", "goes to"),
        [
            (_text(its["title"], language), its["basis"], its["retention"],
             ", ".join(_text(to["title"], language) for to in its["recipients"]) or "nobody else")
            for its in held["purposes"]
        ],
    )  # fmt: skip
    yield ""
    yield from _table(
        ("consent to", "edition", "given", "withdrawn"),
        [
            (its["purpose"], f"{its['edition']}, {its['language']}", _day(its["given_at"]),
             _day(its["withdrawn_at"]) if its["withdrawn_at"] else "")
            for its in held["consents"]
        ],
    )  # fmt: skip
    yield from _kept(held, language)


def _kept(held: Mapping[str, Any], language: str) -> Iterator[str]:
    """Show what the law has kept of what was erased."""
    for its in held["kept"]:
        purpose = _text(its["title"], language) or its["purpose"]
        yield ""
        yield f"  kept by law until {_day(its['until'])}, for: {purpose} ({its['basis']})"
        yield from _fields(its["fields"], language)


def _fields(fields: Sequence[Mapping[str, Any]], language: str) -> Iterator[str]:
    yield from _table(
        ("field", "value", "set", "kept until"),
        [
            (_text(its["title"], language) or f"field {its['uid']}", _plain(its["value"]),
             _day(its["set_at"]), _day(its["kept_until"]))
            for its in fields
        ],
    )  # fmt: skip


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(cell) for cell in column) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def _text(texts: Mapping[str, str], language: str) -> str:
    return _plain(texts.get(language) or next(iter(texts.values()), ""))


def _plain(text: str) -> str:
    """Write a value on one line: nothing in it steers the terminal."""
    return "".join(" " if unicodedata.category(char) in ("Cc", "Cf") else char for char in text)


def _day(moment: str) -> str:
    return moment.partition("T")[0]
