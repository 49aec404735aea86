"""Wall 7: who holds one backup of every compartment, and no key, links no better than chance.

One attack (`linking`, `linking_match`) on what a thousand people leave in three years
(`population`): on the dumps as they are, where it must fail; and on copies in which one defence is
off, where the same code must link most.
"""

import asyncio
import random
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations

import pytest
import uvloop

from tests.attack import population
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall, linked
from tests.attack.linking import Dump, Family, Table, look, read_dump
from tests.attack.linking_leaks import (
    LEAKS,
    Inside,
    Leak,
    erased_at,
    long_texts,
    long_texts_by_steps,
    one_pseudonym,
    pseudonym_everywhere,
    shared_telephones,
)
from tests.attack.linking_match import CHANCE_ENDS, EVERYTHING, Side, link
from tests.attack.population import Population
from tests.attack.population_loot import Loot, Truth, live
from tests.house import POLICY
from tests.people import COMPARTMENTS
from vault.dev.local import prepared
from vault.names import Pseudonym, to_base64url

SEED = 7
_WORD = re.compile(r"[A-Za-z0-9_-]{20,}")
PAIRS = tuple(combinations(COMPARTMENTS, 2))


@dataclass(frozen=True, slots=True)
class Stolen:
    """What the attacker holds, and what to judge it by."""

    population: Population
    loot: Loot
    truth: Truth
    dumps: dict[str, Dump]
    sides: dict[str, Side]
    everywhere: tuple[int, ...]  # the numbers of who is in every compartment

    def truth_of(self, a: str, b: str) -> dict[bytes, bytes]:
        ours, theirs = self.truth.pseudonyms[a], self.truth.pseudonyms[b]
        return {ours[n]: theirs[n] for n in self.everywhere}


@pytest.fixture(scope="module")
def stolen(tmp_path_factory: pytest.TempPathFactory) -> Stolen:
    """Three years, lived on the real house; then everything is taken but the keys."""
    folder = tmp_path_factory.mktemp("linking")
    people = population.draw(SEED)
    with (
        prepared(folder / "state", POLICY) as running,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        loot, truth = runner.run(live(running, people, folder))
    dumps = {n: read_dump(loot.files[n], loot.logs[n]) for n in COMPARTMENTS}
    present = {n: {row[0] for row in dumps[n].tables["records"].rows} for n in COMPARTMENTS}
    everywhere = tuple(
        p.number
        for p in people.staying
        if all(truth.pseudonyms[n][p.number] in present[n] for n in COMPARTMENTS)
    )
    sides = {n: side(dumps[n], truth.pseudonyms[n], everywhere) for n in COMPARTMENTS}
    assert len(everywhere) == population.STAYING
    for dump in dumps.values():
        assert min(len(dump.tables["audit"].rows), len(dump.log)) > population.STAYING
        assert len(dump.tables["tombstones"].rows) >= population.LEFT
    return Stolen(people, loot, truth, dumps, sides, everywhere)


def side(dump: Dump, whose: Mapping[int, bytes], everywhere: Sequence[int]) -> Side:
    known = frozenset(whose[n] for n in everywhere)
    return Side(look(dump, known), sorted(known))


# People unlike ours, and how many of a thousand are found: a guess is right once in each class of
# people who look alike, of which there are 12, 7 and 40 (docs/adr/0007-record-sizes.md).
_LONG = "link by length, texts of 1 to 40 KiB as long in both"
UNLIKE = (
    ("link by telephones shared by 1 to 12, alike in both", shared_telephones, Family.INDEX,
     range(1, 21), RESIDUAL),
    (_LONG, long_texts, Family.LENGTHS, range(13), RESIDUAL),
    (_LONG, long_texts_by_steps, Family.LENGTHS, range(25, 56), CONTROL),
)  # fmt: skip


@pytest.fixture(scope="module")
def chance() -> random.Random:
    """The attacker's coin."""
    return random.Random(SEED)


def inside(stolen: Stolen, name: str) -> Inside:
    return Inside.of(name, stolen.population, stolen.truth)


@pytest.mark.parametrize(("a", "b"), PAIRS, ids=[f"{a}-{b}" for a, b in PAIRS])
def test_nobody_is_linked_better_than_by_chance(
    stolen: Stolen, chance: random.Random, attempts: Attempts, a: str, b: str
) -> None:
    truth = stolen.truth_of(a, b)
    found = link(stolen.sides[a], stolen.sides[b], truth, chance)
    assert {name: right for name, right in found.items() if right >= CHANCE_ENDS} == {}
    assert len(found) > 100
    for family in (*Family, EVERYTHING):
        attempts.record(
            Wall.DUMPS, f"link by {family}", f"{a}-{b}", linked(found[family], len(truth))
        )


@pytest.mark.parametrize("leak", LEAKS, ids=[leak.defence for leak in LEAKS])
def test_without_a_defence_the_same_attacker_links_most(
    stolen: Stolen, chance: random.Random, attempts: Attempts, leak: Leak
) -> None:
    a, b = leak.pair
    whose = {n: stolen.truth.pseudonyms[n] for n in leak.pair}
    if leak.change is one_pseudonym:
        alike = {p.number: pseudonym_everywhere(p) for p in stolen.population.people}
        whose = dict.fromkeys(leak.pair, alike)
    leaky = {n: leak.change(stolen.dumps[n], inside(stolen, n)) for n in leak.pair}
    sides = {n: side(leaky[n], whose[n], stolen.everywhere) for n in leak.pair}
    truth = {whose[a][n]: whose[b][n] for n in stolen.everywhere}
    found = link(sides[a], sides[b], truth, chance, each=False)
    assert found[leak.family] >= leak.share * len(truth)
    assert found[EVERYTHING] >= leak.share * len(truth) or leak.family is Family.LENGTHS
    attempts.record(
        Wall.DUMPS,
        f"link without: {leak.defence}",
        f"{a}-{b}",
        linked(found[leak.family], len(truth), CONTROL),
    )


def test_erasures_link_nobody(stolen: Stolen, chance: random.Random, attempts: Attempts) -> None:
    """Who was erased everywhere on one day leaves a tombstone in each compartment."""
    for a, b in PAIRS:
        sides, dated = {}, {}
        for name in (a, b):
            tombstones = Table(("pseudonym",), stolen.dumps[name].tables["tombstones"].rows)
            whose = {t: n for n, t in stolen.truth.tombstones[name].items()}
            known = tombstones.with_rows(row for row in tombstones.rows if row[0] in whose)
            numbers = sorted(whose.values())
            tokens = stolen.truth.tombstones[name]
            sides[name] = side(Dump({"tombstones": known}, ()), tokens, numbers)
            known = erased_at(known, whose, stolen.population)
            dated[name] = side(Dump({"tombstones": known}, ()), tokens, numbers)
        ours, theirs = stolen.truth.tombstones[a], stolen.truth.tombstones[b]
        truth = {ours[n]: theirs[n] for n in ours}
        found = link(sides[a], sides[b], truth, chance)
        assert {name: right for name, right in found.items() if right >= CHANCE_ENDS} == {}
        shown = link(dated[a], dated[b], truth, chance, each=False)
        assert shown[Family.NUMBERS] >= 0.9 * len(truth)
        result = linked(found[EVERYTHING], len(truth))
        attempts.record(Wall.DUMPS, "link tombstones", f"{a}-{b}", result)
        control = linked(shown[Family.NUMBERS], len(truth), CONTROL)
        attempts.record(Wall.DUMPS, "link tombstones", f"{a}-{b}", control)


def test_nothing_of_a_subject_stands_in_another_file(stolen: Stolen, attempts: Attempts) -> None:
    """No pseudonym in another's files, in control's or in any log; no root anywhere."""
    files = {n: b"".join(f.read_bytes() for f in stolen.loot.files[n]) for n in COMPARTMENTS}
    files["control"] = stolen.loot.control.read_bytes()
    for name in COMPARTMENTS:
        its = [stolen.truth.pseudonyms[name][n] for n in stolen.everywhere]
        words = {str(Pseudonym(raw)) for raw in its} | {to_base64url(raw) for raw in its}
        words |= {raw.hex() for raw in its}
        for place, lines in stolen.dumps.items():
            assert words.isdisjoint(_WORD.findall("\n".join(lines.log)))
            attempts.record(Wall.DUMPS, "find a pseudonym in a log", f"{name}, {place}", REFUSED)
        some = its[:: len(its) // 20]  # a leak would be one of everybody's
        assert all(raw in files[name] for raw in some)
        sought = [p.root for p in stolen.population.people[:: len(its) // 20]]
        for place, content in files.items():
            if place != name:
                assert not any(raw in content for raw in (*some, *sought))
                target = f"{name} in {place}"
                attempts.record(Wall.DUMPS, "find a pseudonym elsewhere", target, REFUSED)
    attempts.record(Wall.DUMPS, "find a pseudonym elsewhere", "in its own file", CONTROL)


@pytest.mark.parametrize("column", ["pseudonym", "row_version", "data-key id"])
def test_ids_are_bytes_that_depend_on_nothing(
    stolen: Stolen, attempts: Attempts, column: str
) -> None:
    """Each byte takes nearly every value, in one compartment and in what sets two apart."""
    by_person = {n: ids_of(stolen, n, column) for n in COMPARTMENTS}
    for name in COMPARTMENTS:
        assert most_values(by_person[name]) > ENOUGH
        attempts.record(Wall.DUMPS, "find a pattern in ids", f"{column}, {name}", REFUSED)
    for a, b in PAIRS:
        apart = [
            bytes(x ^ y for x, y in zip(p, q, strict=True))
            for p, q in zip(by_person[a], by_person[b], strict=True)
        ]
        assert most_values(apart) > ENOUGH
    counted = [n.to_bytes(8, "big") for n in range(population.STAYING)]
    assert most_values(counted) < ENOUGH
    attempts.record(Wall.DUMPS, "find a pattern in ids", "a counter", CONTROL)


ENOUGH = 230  # of 256 values that a byte takes among a thousand: 251 are expected, give or take 2


def most_values(ids: Sequence[bytes]) -> int:
    """Return how many values the byte takes that takes fewest."""
    return min(len({raw[at] for raw in ids}) for at in range(len(ids[0])))


def ids_of(stolen: Stolen, name: str, column: str) -> list[bytes]:
    rows = {row[0]: row for row in stolen.dumps[name].tables["records"].rows}
    own = [rows[stolen.truth.pseudonyms[name][n]] for n in stolen.everywhere]
    take = {"pseudonym": lambda r: r[0], "row_version": lambda r: r[1]}
    return [take.get(column, lambda r: r[2][3:11])(row) for row in own]


def test_what_remains(stolen: Stolen, chance: random.Random, attempts: Attempts) -> None:
    """Not stopped by any wall, measured, and named in the threat model."""
    a, b = "accounts", "enterprises"
    everybody = len(stolen.everywhere)
    for attack, change, family, expected, kind in UNLIKE:
        unlike = {n: change(stolen.dumps[n], inside(stolen, n)) for n in (a, b)}
        sides = {n: side(unlike[n], stolen.truth.pseudonyms[n], stolen.everywhere) for n in (a, b)}
        found = link(sides[a], sides[b], stolen.truth_of(a, b), chance, each=False)[family]
        assert found in expected
        attempts.record(Wall.DUMPS, attack, f"{a}-{b}", linked(found, everybody, kind))
    for a, b in PAIRS:
        came = {n: changed(stolen, n) for n in (a, b)}
        assert came[a] & came[b], "somebody came between the two backups"
        target = f"{a}-{b}: one of {len(came[b])}"
        attempts.record(Wall.DUMPS, "guess among who came between backups", target, RESIDUAL)
    alone = alone_on_their_day(stolen)
    assert alone in range(200, 450)
    result = linked(alone, everybody, RESIDUAL)
    attempts.record(Wall.DUMPS, "find who came alone, by a backup a day", "all", result)
    most, traces = max((traces_lined_up(stolen, *p), len(stolen.truth.traces[p[0]])) for p in PAIRS)
    assert most > traces / 2
    result = linked(most, traces, RESIDUAL)  # traces, of no known record
    attempts.record(Wall.DUMPS, "line up traces of trails by the logs", "all", result)


def changed(stolen: Stolen, name: str) -> set[int]:
    """Return whose rows differ between the two backups."""
    before = read_dump(stolen.loot.before[name], ()).tables["records"].rows
    rows = {row[0]: row for row in before}
    whose = {p: n for n, p in stolen.truth.pseudonyms[name].items()}
    after = stolen.dumps[name].tables["records"].rows
    return {whose[row[0]] for row in after if rows.get(row[0]) != row}


def alone_on_their_day(stolen: Stolen) -> int:
    days: dict[int, int] = {}
    for session in stolen.population.sessions:
        days.setdefault(session.person.number, session.at // population.DAY)
    crowds = Counter(days.values())
    return sum(crowds[days[n]] == 1 for n in stolen.everywhere)


def traces_lined_up(stolen: Stolen, a: str, b: str) -> int:
    """Date each trace by the log line at its place; pair traces that are nearest in time."""
    ours, theirs = dated_traces(stolen, a), dated_traces(stolen, b)
    moments = sorted(theirs)
    right = 0
    for at, token in ours.items():
        place = bisect_left(moments, at)
        near = min(moments[max(0, place - 1) : place + 1], key=lambda m: abs(m - at))
        person = stolen.truth.traces[a].get(token)
        right += person is not None and person == stolen.truth.traces[b].get(theirs[near])
    return right


def dated_traces(stolen: Stolen, name: str) -> dict[float, bytes]:
    lines, events = stolen.dumps[name].log, stolen.dumps[name].tables["audit"]
    dates = [datetime.fromisoformat(line.split()[0]).timestamp() for line in lines]
    token = events.at("token")
    first: dict[bytes, float] = {}
    for place, row in enumerate(events.rows):
        first.setdefault(row[token], dates[place * len(dates) // len(events.rows)])
    return {at: token for token, at in first.items()}
