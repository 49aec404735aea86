"""Where everything stands in the picture of an edition (`graph`).

Rooms stand side by side as the edition declares them, but what is joinable stands together.
Service cards stand below, those of one owner in one frame, near the rooms that they reach.
"""

from dataclasses import dataclass, replace

from vault.policy import svg
from vault.policy.edition import Compartment, Edition, Grant, Limit, Service
from vault.policy.vocabulary import english

MARGIN, GAP, ROW, LANE, PAD = 44, 60, 24, 24, 14
HEAD = 82  # of a room, down to its first lane


@dataclass(frozen=True, slots=True)
class Lane:
    """One purpose in one room; its line goes down at `x`."""

    purpose: str
    colour: int
    x: float


Lanes = dict[tuple[str, str], Lane]  # by purpose and compartment


@dataclass(frozen=True, slots=True)
class Room:
    """A compartment."""

    compartment: Compartment
    lanes: tuple[Lane, ...]  # from the top; so that no two cross, from right to left
    x: float
    wide: float

    @property
    def middle(self) -> float:
        """Where the roof's middle is."""
        return self.x + self.wide / 2

    @property
    def high(self) -> float:
        """How high it needs to be."""
        return HEAD + (len(self.lanes) + len(self.compartment.fields)) * ROW + 10


@dataclass(frozen=True, slots=True)
class Card:
    """A service, with its grants from the top: so that no two lines cross, from right to left."""

    service: Service
    grants: tuple[Grant, ...]
    wide: float
    x: float = 0

    @property
    def high(self) -> float:
        """How high it needs to be."""
        return 44 + 22 * max(1, len(self.grants)) + 18 * len(self.service.limits)

    @property
    def text_x(self) -> float:
        """Where its text begins, right of all lines that come in."""
        return self.x + PAD + 13 * len(self.grants) + (5 if self.grants else 0)

    def entry(self, place: int) -> float:
        """Return where the line of a grant comes in."""
        return self.x + PAD + 5 + 13 * (len(self.grants) - 1 - place)


@dataclass(frozen=True, slots=True)
class Frame:
    """An owner, around its services."""

    owner: str
    cards: tuple[Card, ...]
    x: float = 0

    @property
    def wide(self) -> float:
        """How wide it is, with what goes around the cards."""
        return sum(card.wide + PAD for card in self.cards) + PAD


def rooms(edition: Edition) -> list[Room]:
    """Place the compartments, from MARGIN on."""
    colours = {name: i % svg.PURPOSE_COLOURS for i, name in enumerate(edition.purposes)}
    placed, x = [], float(MARGIN)
    for name in _order(edition):
        room = _room(edition, edition.compartments[name], colours, x)
        placed.append(room)
        x += room.wide + GAP
    return placed


def _room(edition: Edition, compartment: Compartment, colours: dict[str, int], x: float) -> Room:
    users = [its for its in edition.purposes.values() if compartment.name in its.uses]
    labels = [
        svg.width(f"{its.name}  {used_on(edition, its.name, compartment.name)}", 12)
        for its in users
    ]
    labels += [svg.width(field, 13) + 10 for field in compartment.fields]
    first = x + PAD + max(labels) + LANE / 2
    lanes = [
        Lane(its.name, colours[its.name], first + LANE * (len(users) - 1 - i))
        for i, its in enumerate(users)
    ]
    heading = max(svg.width(compartment.name, 17), svg.width(subtitle(compartment), 11))
    wide = max(first - x + LANE * len(users), heading + 2 * PAD)
    return Room(compartment, tuple(lanes), x, wide)


def used_on(edition: Edition, purpose: str, compartment: str) -> str:
    """Say on what basis, and for how long."""
    its = edition.purposes[purpose]
    return f"{its.basis.replace('_', ' ')}, {its.uses[compartment].retention}"


def subtitle(compartment: Compartment) -> str:
    """Say what a compartment is, and of whom."""
    kinds = " and ".join(sorted(f"{kind.name.lower()}s" for kind in compartment.subjects))
    return f"{english(compartment.title)} · {kinds}"


def _order(edition: Edition) -> list[str]:
    """Put what is joinable side by side: walk along the pairs, from a loose end if there is one."""
    near = {
        name: [
            other for other in edition.compartments if frozenset((name, other)) in edition.joinable
        ]
        for name in edition.compartments
    }
    order: list[str] = []
    for name in near:
        island = _walk(near, name)
        ends = [its for its in island if len(near[its]) == 1] or [name]
        order += [its for its in _walk(near, ends[0]) if its not in order]
    return order


def _walk(near: dict[str, list[str]], start: str) -> list[str]:
    """Go to the neighbour with the fewest others first: so loose ends don't come last."""
    met: list[str] = []
    waiting = [start]
    while waiting:
        name = waiting.pop(0)
        if name not in met:
            met.append(name)
            waiting = sorted(near[name], key=lambda other: len(near[other])) + waiting
    return met


def lanes_of(placed: list[Room]) -> Lanes:
    """Return all lanes, by purpose and compartment."""
    return {(its.purpose, room.compartment.name): its for room in placed for its in room.lanes}


def frames(edition: Edition, lanes: Lanes) -> list[Frame]:
    """Place the owners' services, each frame as near as can be to the lanes that it gets."""
    owned: dict[str, list[Card]] = {}
    for service in edition.services.values():
        owned.setdefault(service.owner, []).append(_card(edition, service, lanes))
    wished = [(_wish(cards, lanes), Frame(owner, tuple(cards))) for owner, cards in owned.items()]
    return _packed(sorted(wished, key=lambda its: its[0]))


def _wish(cards: list[Card], lanes: Lanes) -> float:
    """Return where a frame's middle would best be: left, for who acts for subjects."""
    wanted = [lanes[its.purpose, its.compartment].x for card in cards for its in card.grants]
    return sum(wanted) / len(wanted) if wanted else 0


def _packed(wished: list[tuple[float, Frame]]) -> list[Frame]:
    """Move frames apart where they would overlap, each block around what its frames wish."""
    blocks: list[tuple[float, list[Frame]]] = []  # with their left edges
    for middle, frame in wished:
        left, block = max(middle - frame.wide / 2, MARGIN), [frame]
        while blocks and blocks[-1][0] + _span(blocks[-1][1]) > left:
            before, others = blocks.pop()
            ours = left - _span(others)
            left = (before * len(others) + ours * len(block)) / (len(others) + len(block))
            left, block = max(left, MARGIN), others + block
        blocks.append((left, block))
    placed: list[Frame] = []
    for left, block in blocks:
        x = left
        for frame in block:
            placed.append(_moved(frame, x))
            x += frame.wide + PAD * 2
    return placed


def _span(block: list[Frame]) -> float:
    return sum(frame.wide + PAD * 2 for frame in block)


def _moved(frame: Frame, x: float) -> Frame:
    cards, at = [], x + PAD
    for card in frame.cards:
        cards.append(replace(card, x=at))
        at += card.wide + PAD
    return Frame(frame.owner, tuple(cards), x)


def _card(edition: Edition, service: Service, lanes: Lanes) -> Card:
    grants = [its for its in edition.grants if its.service == service.name]
    grants.sort(key=lambda its: -lanes[its.purpose, its.compartment].x)
    lines = [svg.width(line, 12) for line in (*map(grant_line, grants), *remarks(service))]
    text = max(svg.width(service.name, 15), *lines)
    return Card(service, tuple(grants), text + 13 * len(grants) + 2 * PAD + 5)


def grant_line(grant: Grant) -> str:
    """Say what a grant allows."""
    return f"{', '.join(grant.operations)} in {grant.compartment}"


def remarks(service: Service) -> list[str]:
    """Say what else there is to know of a service."""
    if service.subject_facing:
        there = ["who must be there"] if service.require_subject_assertion else []
        return ["acts for one subject at a time", *there]
    return [f"{operation} at most {often(limit)}" for operation, limit in service.limits.items()]


def often(limit: Limit) -> str:
    """Say a limit in few words."""
    each = {"a second": limit.per_second, "a day": limit.per_day}
    return ", ".join(f"{count:,.15g} {unit}" for unit, count in each.items() if count)
