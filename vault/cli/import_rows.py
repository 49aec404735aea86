"""A file's rows, as `piivault import` reads them: each by itself, none quoted.

    pseudonym,city,position          {"pseudonym": "psn_…", "city": "Ош", "position": null}
    psn_…,Ош,

In CSV an empty cell leaves the field as it is; in JSON lines null removes it.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO

import click

_PSEUDONYM = "pseudonym"


class RowError(Exception):
    """A row can't be sent; the message says why, and no value."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file, by its number, as it is put."""

    line: int
    pseudonym: str = field(repr=False)
    fields: Mapping[str, str | None] = field(repr=False)


def read_rows(file: TextIO, *, is_json: bool) -> Iterator[Row | tuple[int, RowError]]:
    """Yield the rows, or by its line's number what is wrong with one."""
    read = _json_lines(file) if is_json else _csv_lines(file)
    try:
        for line, content in read:
            if isinstance(content, RowError):
                yield line, content
                continue
            try:
                yield _row(line, dict(content))
            except RowError as e:
                yield line, e
    except UnicodeDecodeError:  # its text and its frames have what was read
        raise click.ClickException(
            "The file isn't UTF-8 throughout. Save it as UTF-8, and run this again: rows that were "
            "put are not put twice."
        ) from None


def _json_lines(file: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | RowError]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            content = json.loads(text, object_pairs_hook=_object)
        except RowError as e:
            yield line, e
            continue
        except (ValueError, RecursionError):
            content = None
        yield line, content if isinstance(content, dict) else RowError("Is no JSON object.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise RowError("Names a field twice.")
    return content


def _csv_lines(file: TextIO) -> Iterator[tuple[int, Mapping[str, Any] | RowError]]:
    reader = csv.DictReader(file, strict=True)
    if _PSEUDONYM not in (reader.fieldnames or ()):
        raise click.ClickException(
            f"The file's first line names no column {_PSEUDONYM}. It is CSV with a header; JSON "
            "lines are read from .jsonl and .ndjson."
        )
    if len(set(reader.fieldnames or ())) < len(reader.fieldnames or ()):
        raise click.ClickException("The file's first line names a column twice.")
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            yield reader.reader.line_num, RowError("Is no CSV.")
            continue
        if None in cells or None in cells.values():
            yield reader.line_num, RowError("Has more or fewer cells than the header.")
        else:
            yield reader.line_num, {name: cell for name, cell in cells.items() if cell}


def _row(line: int, content: dict[str, Any]) -> Row:
    pseudonym = content.pop(_PSEUDONYM, None)
    if not isinstance(pseudonym, str) or not pseudonym:
        raise RowError(f"Has no {_PSEUDONYM}.")
    if not content:
        raise RowError("Has nothing to put.")
    for value in content.values():
        if not isinstance(value, str | None):
            raise RowError("Values are text, or null.")
    try:
        "".join((pseudonym, *content, *(value or "" for value in content.values()))).encode()
    except UnicodeEncodeError:
        raise RowError("Isn't valid Unicode.") from None
    return Row(line, pseudonym, content)
