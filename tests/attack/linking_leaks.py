"""Defences taken off, one by one: what dumps would hold without them.

Nothing of piivault is changed: a leak writes into the attacker's copy what the defence keeps out.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tests.attack.linking import Dump, Family, Row, Table
from tests.attack.population import Person, Population
from tests.attack.population_calls import EDITION
from tests.attack.population_loot import Truth
from vault.crypto import padding

PAIR = ("accounts", "enterprises")
APART = ("accounts", "web")
_SIZES, _PAGES = 12, 40


@dataclass(frozen=True, slots=True)
class Inside:
    """What only somebody inside knows of one compartment, to write leaks by."""

    name: str
    people: Mapping[bytes, Person]  # by pseudonym
    came: Mapping[int, int]  # by the number of a person
    traces: Mapping[bytes, int]
    requests: Mapping[str, int]
    pseudonyms: Mapping[int, bytes]

    @classmethod
    def of(cls, name: str, population: Population, truth: Truth) -> "Inside":
        its = truth.pseudonyms[name]
        people = {its[p.number]: p for p in population.people}
        came: dict[int, int] = {}
        for session in population.sessions:
            came.setdefault(session.person.number, session.at)
        return cls(name, people, came, truth.traces[name], truth.requests, its)

    def when(self, pseudonym: bytes) -> int:
        return self.came[self.people[pseudonym].number]


Leaking = Callable[[Dump, Inside], Dump]


@dataclass(frozen=True, slots=True)
class Leak:
    """A defence that is off; where the attacker must see it, and how many it must link."""

    defence: str
    change: Leaking
    family: Family
    pair: tuple[str, str] = APART
    share: float = 0.9  # of all subjects


def _rewritten(table: Table, column: str, value: Callable[[Row], Any]) -> Table:
    at = table.at(column)
    return table.with_rows((*row[:at], value(row), *row[at + 1 :]) for row in table.rows)


def pseudonym_everywhere(person: Person) -> bytes:
    """What `one_pseudonym` calls them."""
    return _token(person.root)


def one_pseudonym(dump: Dump, inside: Inside) -> Dump:
    """The root's hash, whatever the compartment."""
    for name in ("records", "data_keys", "blind_index"):
        table = dump.tables[name]
        at = table.at("pseudonym")

        def whose(row: Row, at: int = at) -> bytes:
            return pseudonym_everywhere(inside.people[row[at]])

        dump = dump.with_table(name, _rewritten(table, "pseudonym", whose))
    return dump


def one_index_key(dump: Dump, inside: Inside) -> Dump:
    """Equal values have equal index values everywhere."""
    table = dump.tables["blind_index"]
    field, whose = table.at("field"), table.at("pseudonym")
    names = {f.uid: name for name, f in EDITION.compartment(inside.name).fields.items()}

    def value(row: Row) -> bytes:
        name = names[row[field]]
        return _token(inside.people[row[whose]].values[inside.name][name].encode())[:16]

    return dump.with_table("blind_index", _rewritten(table, "value", value))


def one_data_key(dump: Dump, inside: Inside) -> Dump:
    """A data key for a person, not for a record."""
    table = dump.tables["data_keys"]
    at = table.at("pseudonym")
    return dump.with_table(
        "data_keys",
        _rewritten(table, "id", lambda row: _token(inside.people[row[at]].root)[:8]),
    )


def in_order_of_arrival(dump: Dump, inside: Inside) -> Dump:
    """Rows as a heap has them."""
    table = dump.tables["records"]
    rows = sorted(table.rows, key=lambda row: inside.when(row[table.at("pseudonym")]))
    return dump.with_table("records", table.with_rows(rows))


def dated(dump: Dump, inside: Inside) -> Dump:
    """A column `registered_at`."""
    return _beside(dump, inside, "registered_at", inside.when)


def consents_in_clear(dump: Dump, inside: Inside) -> Dump:
    """A column of purposes and the seconds that they were agreed to in."""

    def consents(pseudonym: bytes) -> str:
        return f"{inside.when(pseudonym)} {inside.name}"

    return _beside(dump, inside, "consents", consents)


def numbered(dump: Dump, inside: Inside) -> Dump:
    """Data-key ids that count up as people come."""
    places = {n: place for place, n in enumerate(sorted(inside.came, key=inside.came.__getitem__))}
    table = dump.tables["data_keys"]
    at = table.at("pseudonym")
    return dump.with_table(
        "data_keys",
        _rewritten(
            table, "id", lambda row: places[inside.people[row[at]].number].to_bytes(8, "big")
        ),
    )


def versions_of_time(dump: Dump, inside: Inside) -> Dump:
    """Row versions that begin with the time, as UUIDs of version 7 do."""
    table = dump.tables["records"]
    at, version = table.at("pseudonym"), table.at("row_version")

    def timed(row: Row) -> bytes:
        return inside.when(row[at]).to_bytes(6, "big") + bytes(row[version][6:])

    return dump.with_table("records", _rewritten(table, "row_version", timed))


def unpadded(dump: Dump, inside: Inside) -> Dump:
    """Sealed bytes exactly as long as what they seal."""
    table = dump.tables["records"]
    at, sealed = table.at("pseudonym"), table.at("sealed")

    def exact(row: Row) -> bytes:
        values = inside.people[row[at]].values[inside.name].values()
        length = sum(len(v.encode()) for v in values)
        return bytes(row[sealed][:40]) + bytes(length)

    return dump.with_table("records", _rewritten(table, "sealed", exact))


def trail_of_pseudonyms(dump: Dump, inside: Inside) -> Dump:
    """Tokens of the trail that are hashes of pseudonyms, without a key."""
    table = dump.tables["audit"]
    at = table.at("token")

    def token(row: Row) -> bytes:
        number = inside.traces.get(row[at])
        return bytes(row[at]) if number is None else _token(inside.pseudonyms[number])

    return dump.with_table("audit", _rewritten(table, "token", token))


def pseudonyms_in_logs(dump: Dump, inside: Inside) -> Dump:
    """A log line names whose record it was."""
    lines = []
    for line in dump.log:
        request = line.partition("request=")[2].partition(" ")[0]
        number = inside.requests.get(request)
        named = "" if number is None else f" pseudonym={inside.pseudonyms[number].hex()}"
        lines.append(line + named)
    return replace(dump, log=lines)


def one_request_id(dump: Dump, inside: Inside) -> Dump:
    """The last request beside the row, one id for all that a person did in a visit."""
    return _beside(dump, inside, "request", lambda p: _token(inside.when(p).to_bytes(8, "big")))


def _beside(dump: Dump, inside: Inside, column: str, value: Callable[[bytes], Any]) -> Dump:
    table = dump.tables["records"]
    at = table.at("pseudonym")
    return dump.with_table("records", table.with_column(column, lambda row: value(row[at])))


def _token(raw: bytes) -> bytes:
    return hashlib.sha256(raw).digest()


def shared_telephones(dump: Dump, inside: Inside) -> Dump:
    """No defence off, but people unlike ours: telephones shared by one to twelve, in both."""
    table = dump.tables["blind_index"]
    phone = EDITION.compartment(inside.name).fields["phone"].uid
    field, whose = table.at("field"), table.at("pseudonym")

    def value(row: Row) -> bytes:
        number = inside.people[row[whose]].number
        size = 1 + number % _SIZES
        group = number // _SIZES // size
        spelt = f"{inside.name} {size} {group}".encode()
        return _token(spelt)[:16] if row[field] == phone else bytes(row[table.at("value")])

    return dump.with_table("blind_index", _rewritten(table, "value", value))


def long_texts(
    dump: Dump, inside: Inside, size: Callable[[int], int] = padding.record_size
) -> Dump:
    """Nor these: they write up to forty pages, and as much in the one as in the other.

    Records are padded to `size`.
    """
    table = dump.tables["records"]
    at, sealed = table.at("pseudonym"), table.at("sealed")

    def padded(row: Row) -> bytes:
        length = 1024 * (inside.people[row[at]].number % _PAGES) + 500
        return bytes(row[sealed][:40]) + bytes(size(length))

    return dump.with_table("records", _rewritten(table, "sealed", padded))


def long_texts_by_steps(dump: Dump, inside: Inside) -> Dump:
    """The same people, and records padded to the next KiB."""
    return long_texts(dump, inside, lambda length: padding.step_size(length, 1024))


def erased_at(tombstones: Table, whose: Mapping[bytes, int], population: Population) -> Table:
    """Tombstones with the time that they were set."""
    when = {s.person.number: s.at for s in population.sessions if s.acts[0].operation == "erase"}
    return tombstones.with_column("erased_at", lambda row: when[whose[row[0]]])


LEAKS = (
    Leak("a pseudonym for each compartment", one_pseudonym, Family.SAME),
    Leak("an index key for each compartment", one_index_key, Family.SAME, PAIR),
    Leak("a data key for each record", one_data_key, Family.SAME),
    Leak("rows in the order of random keys", in_order_of_arrival, Family.ORDER),
    Leak("times inside the seal", dated, Family.NUMBERS),
    Leak("consents inside the seal", consents_in_clear, Family.WORDS),
    Leak("random data-key ids", numbered, Family.IDS),
    Leak("random row versions", versions_of_time, Family.IDS),
    Leak("keyed tokens in the trail", trail_of_pseudonyms, Family.TRAIL, PAIR),
    Leak("no pseudonyms in logs", pseudonyms_in_logs, Family.LOGS),
    Leak("request ids inside the seal", one_request_id, Family.SAME),
    # Lengths tell few people apart: more than chance is all there is to be had.
    Leak("padded lengths", unpadded, Family.LENGTHS, ("accounts", "orders"), share=0.02),
)
