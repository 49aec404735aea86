"""`piivault import`: a file's rows into records that their subjects registered."""

import hmac
import json
import os
import secrets
import sys
import uuid
from bisect import insort
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOWrapper
from pathlib import Path
from time import sleep

import click
from piivault import Client, PiivaultError, PutItem

from vault.cli.import_rows import Row, RowError, read_rows
from vault.cli.progress import bars

_SEED_BYTES = 32
_MOST_WAITING = 64  # rows
_TRIES = 5
_PAUSE = 0.5  # seconds, and twice as long each time, where the server doesn't say
_LONGEST_PAUSE = 60.0  # seconds


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
    is named by its line. Rows of one record are put one after another, in the file's order, and
    none of them after one that failed.

    What the server can't do just now is tried five times, when the server says or after longer and
    longer pauses. If nothing can be put at all then, or not for more than a minute, it stops and
    says at which line. Run it again then, after a break, or when what was refused is mended: rows
    that were put are not put twice, as long as the state file is there. Ends with 1 unless all rows
    were put.
    """
    seed = _seed(state or file.with_name(f"{file.name}.import-state"))
    with (
        Client.from_env() as vault,
        file.open("rb") as raw,
        TextIOWrapper(raw, encoding="utf-8-sig", newline="") as opened,
        bars() as progress,
    ):
        size = max(1, file.stat().st_size)
        rows = Sending(read_rows(opened, is_json=file.suffix in (".jsonl", ".ndjson")))
        into = vault.compartment(compartment, purpose=purpose)
        where = f"{compartment}/{purpose}"
        while rows.left:
            try:
                for put in into.bulk_put(
                    PutItem(row.pseudonym, row.fields, request_id(seed, where, row))
                    for row in rows.ready()
                ):
                    rows.answered(put.error)
                    progress("bytes read", min(raw.tell(), size), size)
            except PiivaultError as e:
                if not (e.retryable and rows.done):
                    raise
                rows.broke_off(e)
            rows.pause()
    click.echo(f"{rows.done:,} rows put, {rows.failed:,} failed")
    if rows.stopped:
        click.echo(rows.stopped, err=True)
    if rows.failed or rows.stopped:
        sys.exit(1)


class Sending:
    """Rows on their way, those of one record one after another, and what became of them.

    A row waits while another one of its record is under way, or to be tried again: then nothing
    more is sent before `pause` returned. Those that wait are in the file's order.
    """

    def __init__(self, rows: Iterator[Row | tuple[int, RowError]]) -> None:
        self._rows = rows
        self._under_way: deque[Row] = deque()  # in the order of their answers
        self._waiting: list[Row] = []
        self._tries: Counter[int] = Counter()  # by line, of those that wait
        self._failed_line: dict[str, int] = {}  # by record
        self._trouble: PiivaultError | None = None  # why some are to be tried again
        self._idle = 0  # times in a row that there was trouble, and nothing put
        self._done_before = 0
        self._last_line = 0
        self._ended = False
        self.done = self.failed = 0
        self.stopped = ""  # why

    @property
    def left(self) -> bool:
        """Whether there is more to send."""
        return not self.stopped and (bool(self._waiting) or not self._ended)

    def ready(self) -> Iterator[Row]:
        """Yield rows that may be sent now; end where none may before others are answered."""
        while (row := self._next()) is not None:
            self._under_way.append(row)
            yield row

    def _next(self) -> Row | None:
        while not self._trouble and (row := self._of_a_free_record()) is not None:
            failed = self._failed_line.get(row.pseudonym)
            if failed is None:
                return row
            # Else a second run, which puts that one, would put it over this one.
            self._fail(row.line, f"Is of the same record as line {failed}, which failed.")
        return None

    def _of_a_free_record(self) -> Row | None:
        busy = {row.pseudonym for row in self._under_way}
        for place, row in enumerate(self._waiting):
            if row.pseudonym not in busy:
                return self._waiting.pop(place)
        # All that wait are of busy records: what is read next comes before none of its own.
        while len(self._waiting) < _MOST_WAITING and (read := self._read()) is not None:
            if read.pseudonym not in busy:
                return read
            self._waiting.append(read)
        return None

    def _read(self) -> Row | None:
        for read in self._rows:
            self._last_line = read.line if isinstance(read, Row) else read[0]
            if isinstance(read, Row):
                return read
            self._fail(read[0], str(read[1]))
        self._ended = True
        return None

    def answered(self, error: PiivaultError | None) -> None:
        """Note what became of the row that was sent first of those under way."""
        row = self._under_way.popleft()
        tries = self._tries.pop(row.line, 0) + 1
        if error is None:
            self.done += 1
            return
        if error.retryable:
            self._trouble = max(self._trouble or error, error, key=_told)
            if tries < _TRIES:
                self._tries[row.line] = tries
                insort(self._waiting, row, key=lambda its: its.line)
                return
        self._failed_line[row.pseudonym] = row.line
        self._fail(row.line, f"{error.reason}: {error.message}")

    def broke_off(self, error: PiivaultError) -> None:
        """Note that the stream ended before the rest was answered."""
        self._trouble = error
        while self._under_way:
            self.answered(error)

    def pause(self) -> None:
        """Return when rows may be tried again; stop where that leads nowhere, or is far off."""
        trouble, self._trouble = self._trouble, None
        self._idle = self._idle + 1 if trouble and self.done == self._done_before else 0
        self._done_before = self.done
        if trouble is None:
            return
        wait = max(_told(trouble), _PAUSE * 2 ** max(0, self._idle - 1))
        if self._idle >= _TRIES or wait > _LONGEST_PAUSE:
            self._stop(trouble)
        else:
            again = f"rows that are tried again in {wait:.1f} s: {len(self._tries):,}"
            click.echo(f"{trouble.reason}: {again}", err=True)
            sleep(wait)

    def _stop(self, trouble: PiivaultError) -> None:
        for row in self._waiting:
            tried = row.line in self._tries
            self._fail(
                row.line, f"{trouble.reason}: {trouble.message}" if tried else "Wasn't sent."
            )
        when = f"in {_told(trouble):,.0f} s" if trouble.retry_after else "later"
        self.stopped = (
            f"Stopped after line {self._last_line}, {trouble.reason}: {trouble.message} Run this "
            f"again {when}: rows that were put are not put twice."
        )

    def _fail(self, line: int, why: str) -> None:
        self.failed += 1
        click.echo(f"line {line}: {why}", err=True)


def _told(error: PiivaultError) -> float:
    """Return the seconds after which the server says to come back."""
    return error.retry_after or 0.0


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
