"""A picture of an edition: rooms with walls between them.

Each compartment is a room. A purpose comes in under its roof as a coloured line, meets the
fields that it sees, each in its form, and leaves through the floor for the services that are
granted it. Between two rooms stands a wall. Where a pair is joinable a bridge goes over it; where
two rooms merely have a neighbour in common, a broken one says that this joins nothing.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise

from vault.policy import svg
from vault.policy.compare import listed
from vault.policy.diff import banned
from vault.policy.edition import Edition, FieldUse
from vault.policy.layout import (
    GAP,
    HEAD,
    MARGIN,
    PAD,
    ROW,
    Card,
    Frame,
    Lanes,
    Room,
    frames,
    grant_line,
    lanes_of,
    remarks,
    rooms,
    subtitle,
    used_on,
)
from vault.policy.vocabulary import Form, english

_TOP, _FLOW, _THICK = 124, 130, 20  # the title's height, the flows', a wall's
_MARKS = {Form.PLAIN: svg.plain, Form.MASKED: svg.masked, Form.PRESENT: svg.present}
_LEGEND = (
    (Form.PLAIN, "seen in full"),
    (Form.MASKED, "partly hidden"),
    (Form.PRESENT, "only whether it is there"),
)


def graph(edition: Edition) -> str:
    """Draw an edition as an SVG that stands by itself and follows light and dark."""
    placed = rooms(edition)
    lanes = lanes_of(placed)
    owned = frames(edition, lanes)
    bridges = list(_bridges(edition, placed))
    roof = _TOP + 44 + max((bridge.high * 0.75 for bridge in bridges), default=0)
    floor = roof + max((room.high for room in placed), default=0)
    below = floor + _FLOW
    tall = max((card.high for its in owned for card in its.cards), default=0)
    ends = [room.x + room.wide for room in placed] + [its.x + its.wide for its in owned]
    wide = max([*ends, 880]) + MARGIN
    notes, high = _notes(edition, wide, below + tall + 70)
    parts = [
        *_title(edition),
        *(_room(edition, room, roof, floor) for room in placed),
        *_between(edition, placed, roof, floor),
        *(_span(edition, bridge, roof) for bridge in bridges),
        *(_frame(its, below, tall) for its in owned),
        *_flows(owned, lanes, floor, below),
        *(_card(card, lanes, below) for its in owned for card in its.cards),
        *notes,
    ]
    what = "Compartments as rooms, with walls between those that must never be joined."
    return svg.picture(wide, high, _name(edition), what, parts)


def _name(edition: Edition) -> str:
    return f"Edition {edition.number} of the privacy policy"


def _title(edition: Edition) -> Iterator[str]:
    day = edition.in_force.date().isoformat()
    yield svg.text(MARGIN, 48, _name(edition), "title")
    yield svg.text(MARGIN, 70, f"{edition.trust_domain} · in force from {day}", "small")
    x, y = float(MARGIN + 6), 100.0
    for form, means in _LEGEND:
        yield _MARKS[form](x, y - 4, 5)
        yield svg.text(x + 13, y, means, "small")
        x += svg.width(means, 11) + 36
    yield svg.text(x - 8, y, "may be left out", "small voluntary")
    x += svg.width("may be left out", 11) + 16
    yield svg.box(x - 6, y - 12, 14, 14, "brick")
    yield svg.text(x + 15, y, "never joined", "says")
    yield svg.path(f"M{x + 134:g} {y:g} c0 -15 26 -15 26 0", "bridge")
    yield svg.text(x + 170, y, "may be joined", "may")


def _room(edition: Edition, room: Room, roof: float, floor: float) -> str:
    compartment, left, right = room.compartment, room.x + PAD, room.x + room.wide - PAD
    parts = [
        svg.box(room.x, roof, room.wide, floor - roof, "room", 6),
        svg.text(left, roof + 28, compartment.name, "name"),
        svg.text(left, roof + 46, subtitle(compartment), "small"),
    ]
    flowing = {(grant.purpose, grant.compartment) for grant in edition.grants}
    under = roof + HEAD + ROW * len(room.lanes) - 8
    for i, field in enumerate(compartment.fields.values()):
        y = under + ROW * i
        parts.append(svg.path(f"M{left:g} {y + 4:g} H{right:g}", "rule"))
        parts.append(svg.text(left, y + 21, field.name, "voluntary" if field.voluntary else ""))
    for i, lane in enumerate(room.lanes):
        y = roof + HEAD + ROW * i
        bend = f"M{left:g} {y:g} H{lane.x - 8:g} q8 0 8 8 "
        granted = (lane.purpose, compartment.name) in flowing
        bend += f"V{floor:g}" if granted else f"V{floor - 12:g} m-7 0 h14"  # nobody is granted it
        parts.append(svg.path(bend, f"lane p{lane.colour}"))
        on = used_on(edition, lane.purpose, compartment.name)
        parts.append(svg.text(left, y - 5, lane.purpose, beside=on))
        uses = edition.purposes[lane.purpose].uses[compartment.name].fields
        for j, name in enumerate(compartment.fields):
            if name in uses:
                mark = _MARKS[uses[name].form](lane.x, under + ROW * j + 16.5, lane.colour)
                parts.append(svg.told(_says(lane.purpose, uses[name]), mark))
    return svg.told(english(compartment.title), *parts)


def _says(purpose: str, use: FieldUse) -> str:
    return f"{purpose} sees {use.field.name} {use.form.word}"


@dataclass(frozen=True, slots=True)
class _Bridge:
    """What goes over the roofs from one room to another."""

    left: Room
    right: Room
    far: int  # 1 for neighbours
    joinable: bool

    @property
    def names(self) -> tuple[str, str]:
        return self.left.compartment.name, self.right.compartment.name

    @property
    def high(self) -> float:
        """How high its handles are: the curve goes three quarters of it."""
        return 28 + 22 * self.far if self.joinable else 60 + 30 * self.far


def _bridges(edition: Edition, placed: list[Room]) -> Iterator[_Bridge]:
    """Yield what is joinable, and what isn't though one could think so.

    That is where two rooms have a neighbour in common, and no wall stands between them.
    """

    def joinable(one: Room, other: Room) -> bool:
        return frozenset((one.compartment.name, other.compartment.name)) in edition.joinable

    for i, j in combinations(range(len(placed)), 2):
        left, right = placed[i], placed[j]
        if joinable(left, right):
            yield _Bridge(left, right, j - i, True)
        elif all(joinable(*pair) for pair in pairwise(placed[i : j + 1])) and any(
            joinable(left, room) and joinable(room, right) for room in placed
        ):
            yield _Bridge(left, right, j - i, False)


def _between(edition: Edition, placed: list[Room], roof: float, floor: float) -> Iterator[str]:
    """Build a wall between neighbours, or leave a passage."""
    for left, right in pairwise(placed):
        names = left.compartment.name, right.compartment.name
        x = right.x - GAP / 2
        reason = edition.joinable.get(frozenset(names))
        if reason is None:
            wall = svg.wall(x - _THICK / 2, roof - 14, _THICK, floor - roof + 28)
            yield svg.told(f"{names[0]} and {names[1]} are never joined", wall)
        else:
            middle = (roof + floor) / 2
            gate = svg.box(x - GAP / 2 + 1, middle - 26, GAP - 2, 52, "gate")
            arrow = svg.path(
                f"M{x - 16:g} {middle:g} h32 m-8 -7 l8 7 l-8 7 m-16 -14 l-8 7 l8 7", "bridge thin"
            )
            yield svg.told(f"{names[0]} and {names[1]}: {english(reason)}", gate, arrow)


def _span(edition: Edition, bridge: _Bridge, roof: float) -> str:
    left, right = bridge.names
    inset = min(0.16 + 0.1 * (bridge.far - 1), 0.5) if bridge.joinable else 0.34
    start = bridge.left.x + bridge.left.wide * (1 - inset)
    end = bridge.right.x + bridge.right.wide * inset
    handle = roof - bridge.high
    curve = f"M{start:g} {roof:g} C{start:g} {handle:g} {end:g} {handle:g} {end:g} {roof:g}"
    middle, top = (start + end) / 2, roof - bridge.high * 0.75
    if bridge.joinable:
        piers = [svg.box(x - 7, roof - 5, 14, 6, "pier", 2) for x in (start, end)]
        label = svg.text(middle, top - 8, "joinable" * (bridge.far == 1), "may", "middle")
        reason = english(edition.joinable[frozenset(bridge.names)])
        line = svg.path(curve, "bridge")
        return svg.told(f"{left} and {right} may be joined: {reason}", line, *piers, label)
    cross = svg.path(f"M{middle - 7:g} {top - 7:g} l14 14 m0 -14 l-14 14", "cross")
    label = svg.text(middle, top - 14, f"never {left} with {right}", "says", "middle")
    says = f"{left} and {right} aren't joinable, though each is with another"
    return svg.told(says, svg.path(curve, "never"), cross, label)


def _frame(frame: Frame, top: float, tall: float) -> str:
    around = svg.box(frame.x, top - PAD, frame.wide, tall + 2 * PAD + 14, "owner", 10)
    cards = (svg.box(card.x, top, card.wide, tall, "card", 6) for card in frame.cards)
    middle = frame.x + frame.wide / 2
    name = svg.text(middle, top + tall + 19, frame.owner, "small", "middle")
    return svg.told(f"the owner {frame.owner}", around, *cards, name)


def _flows(owned: list[Frame], lanes: Lanes, floor: float, below: float) -> Iterator[str]:
    """Let the purposes flow from the rooms to the services that are granted them."""
    for card in (card for frame in owned for card in frame.cards):
        for i, grant in enumerate(card.grants):
            lane, x = lanes[grant.purpose, grant.compartment], card.entry(i)
            bend = f"C{lane.x:g} {floor + 70:g} {x:g} {below - 70:g} {x:g} {below:g}"
            flow = svg.path(
                f"M{lane.x:g} {floor:g} {bend} V{below + 46 + 22 * i:g}", f"lane p{lane.colour}"
            )
            yield svg.told(f"{card.service.name} for {grant.purpose}: {grant_line(grant)}", flow)


def _card(card: Card, lanes: Lanes, top: float) -> str:
    service = card.service
    lines = [svg.text(card.text_x, top + 26, service.name, "service")]
    for i, grant in enumerate(card.grants):
        colour = lanes[grant.purpose, grant.compartment].colour
        lines.append(svg.plain(card.entry(i), top + 46 + 22 * i, colour))
        lines.append(svg.text(card.text_x, top + 50 + 22 * i, grant_line(grant)))
    at = top + 50 + 22 * len(card.grants)
    for i, remark in enumerate(remarks(service) or ["is granted nothing"] * (not card.grants)):
        lines.append(svg.text(card.text_x, at + 18 * i, remark, "small"))
    return svg.told(service.spiffe, *lines)


def _notes(edition: Edition, wide: float, top: float) -> tuple[list[str], float]:
    """Write below what the picture can't show; return it with the picture's height."""
    pairs = edition.joinable.items()
    said = [f"{listed(sorted(pair))} may be joined: {english(why)}." for pair, why in pairs]
    bans = ((banned(forbid), english(forbid.reason)) for forbid in edition.forbids)
    said += [f"Whatever is granted, {ban}: {why}." for ban, why in bans]
    for purpose in edition.purposes.values():
        third = [english(edition.recipients[name]) for name in purpose.recipients]
        if third:
            said.append(f"Data of {purpose.name} may go to {listed(third)}.")
    fits = int((wide - 2 * MARGIN) / svg.width("n"))
    lines = [line for sentence in said for line in textwrap.wrap(sentence, fits)]
    parts = [svg.text(MARGIN, top + 20 * i, line) for i, line in enumerate(lines)]
    return parts, top + 20 * len(lines) + 16
