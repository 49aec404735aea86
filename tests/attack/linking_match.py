"""Pairing the subjects of two compartments by their clues, and counting what is right.

Each clue alone pairs them; all clues of a family, and all there are, pair them by votes, each
clue with the weight that an attacker gives it who doesn't know the truth. By chance one pair of a
thousand is right, give or take: six or more in one attack of 1,700. There are hundreds of clues, so
a hit is tried again on other draws of the subjects: a clue stays one, and luck does not.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from statistics import mean

from tests.attack.linking import Clue, Clues, Family

EVERYTHING = "everything together"
CHANCE_ENDS = 6  # correct links of 1,000 that are more than chance
_DRAWS = 4
_DRAWN = 0.8  # of the subjects in a draw
_EQUAL = 8.0  # the vote of bytes that stand in both
_NOISE = 0.01  # the vote of a clue that looks like random bytes
_FULL = 0.95  # of a range of bits: so do random bytes, and times don't
_NOTHING = (0, 0)
_RARE = 4  # who may share bytes that still tell something

Pairs = Mapping[bytes, bytes]
Name = tuple[Family, str]


@dataclass(frozen=True, slots=True)
class Side:
    """A compartment to link: its clues, and the pseudonyms of all who are in both."""

    clues: Clues
    pseudonyms: Sequence[bytes]

    def only(self, some: frozenset[bytes]) -> "Side":
        return Side(self.clues, [p for p in self.pseudonyms if p in some])


def link(
    a: Side, b: Side, truth: Pairs, chance: random.Random, *, each: bool = True
) -> dict[str, int]:
    """Attack two compartments; return the correct links by family, by everything and by each clue.

    Correct links are counted on all; where they may be luck, they are the mean of draws.
    """
    a, b = _only_common(a, b), _only_common(b, a)
    return {
        name: _right_links(attack, a, b, truth, chance) for name, attack in _attacks(a, b, each)
    }


def _right_links(attack: "_Voting", a: Side, b: Side, truth: Pairs, chance: random.Random) -> int:
    right = _right(attack.pairs(a, b, chance), truth)
    if right < CHANCE_ENDS or right > len(truth) / 2:  # half of all is no luck
        return right
    counts = []
    for _ in range(_DRAWS):
        some = frozenset(chance.sample(sorted(truth), int(_DRAWN * len(truth))))
        others = frozenset(truth[p] for p in some)
        counts.append(_right(attack.pairs(a.only(some), b.only(others), chance), truth))
    return round(mean(counts))


def _right(pairs: Pairs, truth: Pairs) -> int:
    return sum(truth[p] == q for p, q in pairs.items())


def _attacks(a: Side, b: Side, each: bool) -> Iterator[tuple[str, "_Voting"]]:
    """Yield attacks by what they go by: each clue, each family of clues, everything."""
    sorts = [name for name in a.clues.sorts if name in b.clues.sorts]
    classes = [name for name in a.clues.classes if name in b.clues.classes]
    for name in sorts if each else ():
        yield f"{name[0]}: {name[1]}", _Voting((name,), ())
    for name in classes if each else ():
        yield f"{name[0]}: {name[1]}", _Voting((), (name,))
    for family in Family:
        its = [n for n in sorts if n[0] is family], [n for n in classes if n[0] is family]
        yield str(family), _Voting(*its, same=family is Family.SAME)
    yield EVERYTHING, _Voting(sorts, classes, same=True)


@dataclass(frozen=True, slots=True)
class _Voting:
    """Pairs by votes: of clues to sort by, within classes that agree, and of equal bytes."""

    sorts: Sequence[Name]
    classes: Sequence[Name]
    same: bool = False

    def pairs(self, a: Side, b: Side, chance: random.Random) -> Pairs:
        """Pair everybody: first by most votes, then whom no vote told of, by class."""
        if len(self.sorts) == 1 and not self.classes and not self.same:
            (name,) = self.sorts
            return dict(zip(_by(name, a, chance), _by(name, b, chance), strict=True))
        votes: defaultdict[tuple[bytes, bytes], float] = defaultdict(float)
        weights = {n: min(_trust(n, a.clues), _trust(n, b.clues)) for n in self.sorts}
        told = self.same or self.classes or max(weights.values(), default=0) > _NOISE
        for name, weight in weights.items():
            if weight > _NOISE or not told:  # where there is better, noise isn't asked
                _vote(votes, a, b, name, weight, chance)
        if self.same:
            _vote_equal(votes, a, b)
        class_a = {p: tuple(a.clues.classes[n].get(p) for n in self.classes) for p in a.pseudonyms}
        class_b = {q: tuple(b.clues.classes[n].get(q) for n in self.classes) for q in b.pseudonyms}
        for p, q in votes if self.classes else ():
            votes[p, q] *= 1.5 if class_a[p] == class_b[q] else 1
        pairs: dict[bytes, bytes] = {}
        taken: set[bytes] = set()
        for (p, q), _ in sorted(votes.items(), key=lambda item: (-item[1], chance.random())):
            if p not in pairs and q not in taken:
                pairs[p] = q
                taken.add(q)
        rest_a = _in_order({p: c for p, c in class_a.items() if p not in pairs}, chance)
        rest_b = _in_order({q: c for q, c in class_b.items() if q not in taken}, chance)
        return pairs | dict(zip(rest_a, rest_b, strict=True))


def _by(name: Name, side: Side, chance: random.Random) -> list[bytes]:
    clue = side.clues.sorts[name]
    return _in_order({p: clue.get(p) for p in side.pseudonyms}, chance)


def _in_order(values: Clue, chance: random.Random) -> list[bytes]:
    """Sort pseudonyms by their values; ties fall by chance.

    Values of two compartments may differ and be in step: who is longest is longest in both.
    """
    some = list(values)
    chance.shuffle(some)
    return sorted(some, key=lambda p: _NOTHING if values[p] is None else (1, values[p]))


def _vote(
    votes: defaultdict[tuple[bytes, bytes], float],
    a: Side,
    b: Side,
    name: Name,
    weight: float,
    chance: random.Random,
) -> None:
    """Vote for who stands at the same place in both orders, and half for the neighbours."""
    in_a, in_b = _by(name, a, chance), _by(name, b, chance)
    counts = Counter(a.clues.sorts[name].values()), Counter(b.clues.sorts[name].values())
    for p, q in zip(in_a, in_b, strict=True):
        tied = counts[0][a.clues.sorts[name].get(p)] * counts[1][b.clues.sorts[name].get(q)]
        votes[p, q] += weight / max(1, tied)
    if weight > _NOISE:
        for pair in chain(zip(in_a[1:], in_b, strict=False), zip(in_a, in_b[1:], strict=False)):
            votes[pair] += weight / 4


def _only_common(side: Side, other: Side) -> Side:
    """Leave out the bytes that stand nowhere on the other side: nearly all of them."""
    its, others = side.clues.same, other.clues.same
    both = frozenset().union(*its.values()) & frozenset().union(*others.values())
    return Side(replace(side.clues, same={p: its[p] & both for p in its}), side.pseudonyms)


def _vote_equal(votes: defaultdict[tuple[bytes, bytes], float], a: Side, b: Side) -> None:
    """Vote for who has the same bytes, if few have them."""
    holders: defaultdict[bytes, tuple[list[bytes], list[bytes]]] = defaultdict(lambda: ([], []))
    for side, which in ((a, 0), (b, 1)):
        for pseudonym in side.pseudonyms:
            for part in side.clues.same[pseudonym]:
                holders[part][which].append(pseudonym)
    for those, others in holders.values():
        if len(those) <= _RARE and len(others) <= _RARE:
            for pair in product(those, others):
                votes[pair] += _EQUAL / (len(those) * len(others))


def _trust(name: Name, clues: Clues) -> float:
    """Return how little a clue's values look like random bytes."""
    values = [v[0] if isinstance(v, tuple) and v else v for v in clues.sorts[name].values()]
    if name[1] in clues.quiet:
        return _NOISE
    if not all(isinstance(v, int | float) for v in values):
        return 1.0
    ordered = sorted(v for v in values if v is not None)
    if ordered[-1] <= len(ordered) * 64:
        return 1.0  # places, counts, sizes
    low, high = int(ordered[0]), int(ordered[-1])
    fills = (high - low) / (1 << (low ^ high).bit_length())  # what bits that vary have room for
    return _NOISE if fills > _FULL else 1.0
