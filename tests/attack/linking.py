"""The offline linker: it reads backups and logs as they are, and has no key.

It knows the format of a backup, and nothing of piivault's tables but that a column `pseudonym` says
whose a row is. From all that stands beside a pseudonym it takes clues: bytes that may stand
elsewhere too, numbers to sort by, classes to tell apart. So it finds a leak that nobody told it of.

A clue is a value for each pseudonym of a compartment; `linking_match` pairs by it.
"""

import hashlib
from base64 import urlsafe_b64encode
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import combinations
from pathlib import Path
from typing import Any

from vault.store.backup_file import BackupReader

Row = tuple[Any, ...]
Clue = Mapping[bytes, Any]  # by pseudonym; None where there is none

_WIDTH = 4  # bytes of a number that may stand anywhere in others
_FAR = 48  # bytes of a value that are looked at for numbers
_SHORTEST = 6  # bytes that aren't found twice by chance


class Family(StrEnum):
    """What a clue is made of."""

    IDS = "ids and other bytes, near or sorted"
    SAME = "equal bytes in both"
    INDEX = "index rows: how many, how shared"
    LENGTHS = "lengths"
    ORDER = "order of rows"
    NUMBERS = "times, versions and other numbers"
    WORDS = "words in clear: consents"
    TRAIL = "audit: place and sizes of events"
    LOGS = "server logs: place and time of lines"


@dataclass(frozen=True, slots=True)
class Table:
    """A section of a backup."""

    columns: tuple[str, ...]
    rows: Sequence[Row]

    def with_rows(self, rows: Iterable[Row]) -> "Table":
        return Table(self.columns, list(rows))

    def with_column(self, name: str, value: Callable[[Row], Any]) -> "Table":
        return Table((*self.columns, name), [(*row, value(row)) for row in self.rows])

    def at(self, name: str) -> int:
        return self.columns.index(name)


@dataclass(frozen=True, slots=True)
class Dump:
    """All that is known of one compartment: its backup's tables, and its worker's log."""

    tables: Mapping[str, Table]
    log: Sequence[str]

    def with_table(self, name: str, table: Table) -> "Dump":
        return Dump({**self.tables, name: table}, self.log)


def read_dump(files: Iterable[Path], log: Sequence[str]) -> Dump:
    """Read the files of a backup, whatever is in them."""
    tables = {}
    for path in files:
        with BackupReader(path) as reader:
            for section in reader.header.sections:
                columns = tuple(name for name, _ in section.layout.columns)
                tables[section.layout.name] = Table(columns, list(reader.rows(section)))
            reader.finish()
    return Dump(tables, log)


@dataclass(frozen=True, slots=True)
class Clues:
    """What a compartment gives away: clues by their family and name."""

    same: Mapping[bytes, frozenset[bytes]]  # bytes that stand beside a pseudonym
    sorts: Mapping[tuple[Family, str], Clue]  # values to sort by: the more alike, the nearer
    classes: Mapping[tuple[Family, str], Clue]  # few values, each of many pseudonyms
    quiet: frozenset[str]  # names of orders that are those of a key, and so say nothing


def look(dump: Dump, known: frozenset[bytes]) -> Clues:
    """Take every clue to these pseudonyms: those that are in all compartments.

    That the attacker is told which ones are is more than it could know.
    """
    owned = {n: t for n, t in dump.tables.items() if "pseudonym" in t.columns and t.rows}
    found: dict[tuple[Family, str], Clue] = {}
    same: defaultdict[bytes, set[bytes]] = defaultdict(set)
    quiet: set[str] = set()
    for name, table in owned.items():
        whose = table.at("pseudonym")
        rows: defaultdict[bytes, list[Row]] = defaultdict(list)
        for position, row in enumerate(table.rows):
            if row[whose] in known:
                rows[row[whose]].append((*row, position))
        if list(table.rows) == sorted(table.rows, key=lambda row: row[0]):
            quiet.add(f"{name} order")
        found[_family(name, Family.ORDER), f"{name} order"] = {p: r[0][-1] for p, r in rows.items()}
        found[Family.INDEX, f"{name} count"] = {p: len(rows.get(p, ())) for p in known}
        for at, column in enumerate(table.columns):
            shared = Counter(row[at] for row in table.rows)
            its = {p: [row[at] for row in r] for p, r in rows.items()}
            found.update(_of_column(name, column, its))
            if column != "pseudonym" and len(shared) > 1:
                clusters = {p: sorted(shared[v] for v in values) for p, values in its.items()}
                found[Family.INDEX, f"{name}.{column} shared by"] = _tuples(clusters)
            for pseudonym, values in its.items():
                same[pseudonym].update(_parts(values))
    found.update(_referring(dump, {p: frozenset(s) for p, s in same.items()}))
    sorts = {k: c for k, c in found.items() if len(set(c.values())) > len(known) // 10}
    classes = {k: c for k, c in found.items() if 1 < len(set(c.values())) <= len(known) // 10}
    return Clues({p: frozenset(same[p]) for p in known}, sorts, classes, frozenset(quiet))


def _family(table: str, otherwise: Family) -> Family:
    return Family.INDEX if table == "blind_index" else otherwise


def _of_column(table: str, column: str, its: Mapping[bytes, Sequence[Any]]) -> dict[Any, Clue]:
    """Sort by a column's values, by the numbers within its bytes, and by its lengths."""
    name, found = f"{table}.{column}", {}
    first = next(iter(its.values()))[0]
    if isinstance(first, bytes):
        found[Family.LENGTHS, f"{name} length"] = _tuples(
            {p: sorted(map(len, values)) for p, values in its.items()}
        )
        shortest = min(len(v) for values in its.values() for v in values)
        last = min(shortest, _FAR) - _WIDTH
        for at in [*range(min(last, 16) + 1), *range(20, last + 1, 4)]:
            key = {p: v[0][at : at + _WIDTH] for p, v in its.items()}
            found[_family(table, Family.IDS), f"{name} from byte {at}"] = {
                p: int.from_bytes(v, "big") for p, v in key.items()
            }
    elif isinstance(first, int):
        found[Family.NUMBERS, name] = _tuples({p: sorted(v) for p, v in its.items()})
    else:
        found[Family.WORDS, name] = _tuples({p: sorted(v) for p, v in its.items()})
    return found


def _tuples(lists: Mapping[bytes, Sequence[Any]]) -> Clue:
    return {p: tuple(values) for p, values in lists.items()}


def _parts(values: Iterable[Any]) -> Iterator[bytes]:
    """Cut values into what may be found elsewhere: the whole, its beginning, its end, its hash."""
    for value in values:
        raw = value.encode() if isinstance(value, str) else value
        if isinstance(raw, bytes) and len(raw) >= _SHORTEST:
            yield raw
            yield hashlib.sha256(raw).digest()
            yield from (raw[at : at + 8] for at in range(min(len(raw), _FAR) - 7))
            yield from (raw[at : at + 16] for at in range(_FAR, len(raw) - 15, 16))


def _referring(dump: Dump, same: Mapping[bytes, frozenset[bytes]]) -> dict[Any, Clue]:
    """Find what in the trail and the log refers to a row, and when and where it stands."""
    refers = _references(dump, same)
    written = {raw.hex(): p for raw, p in refers.items()}
    written |= {urlsafe_b64encode(r).rstrip(b"=").decode(): p for r, p in refers.items()}
    places: dict[bytes, int] = {}
    sizes: dict[bytes, int] = {}
    for place, event in enumerate(dump.tables["audit"].rows if "audit" in dump.tables else ()):
        for of in [refers[v] for v in event if isinstance(v, bytes) and v in refers]:
            places.setdefault(of, place)
            sizes[of] = len(event[-1])
    lines: dict[bytes, float] = {}
    for line in dump.log:
        words = line.replace("=", " ").replace("psn_", "").split()
        for of in [written[word] for word in words if word in written]:
            lines.setdefault(of, datetime.fromisoformat(words[0]).timestamp())
    clues: dict[tuple[Family, str], Mapping[bytes, Any]] = {
        (Family.TRAIL, "first event that refers to the row"): places,
        (Family.TRAIL, "size of that event"): sizes,
        (Family.LOGS, "first line that refers to the row"): lines,
    }
    return {name: {p: clue.get(p, 0) for p in same} for name, clue in clues.items() if clue}


def _references(dump: Dump, same: Mapping[bytes, frozenset[bytes]]) -> dict[bytes, bytes]:
    """Return whatever may stand for a pseudonym's rows elsewhere."""
    refers: dict[bytes, bytes] = {}
    for table in dump.tables.values():
        for row in table.rows if "pseudonym" in table.columns else ():
            whose: bytes = row[table.at("pseudonym")]
            if whose in same:
                values = [v for v in row if isinstance(v, bytes) and v]
                refers |= dict.fromkeys(_spellings(values), whose)
    return refers


def _spellings(values: Sequence[bytes]) -> Iterator[bytes]:
    """Yield what may stand for a row elsewhere: its bytes, their hashes, the data key's id."""
    yield from values
    yield from (v[3:11] for v in values if len(v) > _FAR)
    for count in range(1, len(values) + 1):
        for some in combinations(values, count):
            yield hashlib.sha256(b"".join(some)).digest()
            yield hashlib.sha256(b"".join(len(v).to_bytes(4, "big") + v for v in some)).digest()
