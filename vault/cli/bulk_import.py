"""`piivault import`: a file's rows into records that their subjects registered.

    pseudonym,city,position          {"pseudonym": "psn_…", "city": "Ош", "position": null}
    psn_…,Ош,

In CSV an empty cell leaves the field as it is; in JSON lines null removes it.
"""

import csv
import hmac
import json
import os
import secrets
import sys
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from io import TextIOWrapper
from pathlib import Path
from typing import Any, TextIO

import click
from piivault import Client, PutItem

from vault.cli.progress import bars

_PSEUDONYM = "pseudonym"
_SEED_BYTES = 32


class RowError(Exception):
    """A row can't be sent; the message says why, and no value."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file, by its number, as it is put."""

    line: int
    pseudonym: str = field(repr=False)
    fields: Mapping[str, str | None] = field(repr=False)


@click.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--compartment", required=True, help="Where the records are.")
@click.option("--purpose", required=True, help="Under which purpose; it must see fields plain.")
@click.option(
    "--state",
    type=click.Path(dir_okay=False, path_type=Path),
    help="What keeps a row from being put twice; by default FILE with .import-state.",
)
def import_(file: Path, compartment: str, purpose: str, state: Path | None) -> None:
    """Put a file's rows, as the service whose certificate is in the environment.

    FILE is CSV with a header, or JSON lines (.jsonl, .ndjson): `pseudonym`, and fields by their
    names. The service needs a grant to put. Each row is put or refused by itself, and a refused one
    is named by its line. Run it again after a break, or when what was refused is mended: rows that
    were put are not put twice, as long as the state file is there. Ends with 1 if a row failed.
    """
    seed = _seed(state or file.with_name(f"{file.name}.import-state"))
    count = _Count()
    with (
        Client.from_env() as vault,
        file.open("rb") as raw,
        TextIOWrapper(raw, encoding="utf-8-sig", newline="") as opened,
        bars() as progress,
    ):
        size = max(1, file.stat().st_size)
        rows = _Sending(_rows(opened, is_json=file.suffix in (".jsonl", ".ndjson")), count)
        into = vault.compartment(compartment, purpose=purpose)
        for put in into.bulk_put(rows.items(seed, f"{compartment}/{purpose}")):
            row = rows.under_way.popleft()
            if put.error is None:
                count.done += 1
            else:
                count.fail(row.line, f"{put.error.reason}: {put.error.message}")
            progress("rows", min(raw.tell(), size), size)
    click.echo(f"{count.done:,} rows put, {count.failed:,} failed")
    if count.failed:
        sys.exit(1)


@dataclass(slots=True)
class _Count:
    done: int = 0
    failed: int = 0

    def fail(self, line: int, why: str) -> None:
        self.failed += 1
        click.echo(f"line {line}: {why}", err=True)


class _Sending:
    """Rows on their way: which of them wait for an answer, in the order of their answers."""

    def __init__(self, rows: Iterator[Row | tuple[int, RowError]], count: _Count) -> None:
        self._rows = rows
        self._count = count
        self.under_way: deque[Row] = deque()

    def items(self, seed: bytes, where: str) -> Iterator[PutItem]:
        """Yield rows as they are sent; one that can't be is counted as failed."""
        for row in self._rows:
            if not isinstance(row, Row):
                self._count.fail(row[0], str(row[1]))
            elif other := next((r for r in self.under_way if r.pseudonym == row.pseudonym), None):
                # The server would put them in no order.
                self._count.fail(
                    row.line, f"Is of the same record as line {other.line}: join them."
                )
            else:
                self.under_way.append(row)
                yield PutItem(row.pseudonym, row.fields, request_id(seed, where, row))


def request_id(seed: bytes, where: str, row: Row) -> str:
    """Return the id under which this row is put once.

    Keyed: request ids stand in the trail, and the bare hash of a row would confirm guesses of it.
    Of the place too: an id that is used in two compartments would link them.
    """
    content = json.dumps([where, row.line, row.pseudonym, sorted(row.fields.items())])
    return str(uuid.UUID(bytes=hmac.digest(seed, content.encode(), "sha256")[:16], version=4))


def _seed(state: Path) -> bytes:
    """Return what is kept beside the file, drawn at the first run."""
    with suppress(FileExistsError):
        made = os.open(state, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(made, "wb") as file:
            file.write(secrets.token_bytes(_SEED_BYTES))
    seed = state.read_bytes()
    if len(seed) != _SEED_BYTES:
        raise click.ClickException(
            f"{state} isn't the state of an import. Name another with --state; without the right "
            "one, rows that were put are put once more."
        )
    return seed


def _rows(file: TextIO, *, is_json: bool) -> Iterator[Row | tuple[int, RowError]]:
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
