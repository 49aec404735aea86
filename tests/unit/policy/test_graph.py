"""The picture: well-formed, self-contained, and honest about walls."""

import json
import re
from itertools import combinations
from typing import Any
from uuid import UUID
from xml.etree import ElementTree

import pytest

from vault.policy import Edition, compile_edition, graph

from .checked_in import CLINIC, MADE, ROOT
from .conftest import Variant

SVG = "{http://www.w3.org/2000/svg}"


def _edition(rooms: int, pairs: list[tuple[int, int]]) -> Edition:
    """Make an edition of so many compartments, each with a purpose and a service of its own."""

    def said(text: str) -> dict[str, str]:
        return {"en": text}

    names = [f"room_{i}" for i in range(rooms)]
    use = {"retention": "1 year", "fields": {"field_0": "plain"}}
    tree: dict[str, Any] = {
        "edition": 1, "predecessor": None, "law": said("Law"), "trust_domain": "x.example",
        "posted": "2026-01-01T00:00:00Z", "in_force": "2026-01-01T00:00:00Z", "languages": ["en"],
        "owners": {f"team_{i}": {"id": str(UUID(int=i)), "title": said("T")} for i in range(rooms)},
        "compartments": {
            name: {"uuid": str(UUID(int=i)), "title": said(f"Room {i}"), "subjects": ["person"],
                   "fields": {f"field_{j}": {"uid": j + 1, "type": "name", "title": said("F")}
                              for j in range(1 + i % 5)}}
            for i, name in enumerate(names)
        },
        "joinable": [{"between": [names[i], names[j]], "reason": said("Because")}
                     for i, j in pairs],
        "purposes": {
            f"purpose_{i}": {"title": said("P"), "description": said("P"), "basis": "consent",
                             "uses": {name: use}}
            for i, name in enumerate(names)
        },
        "services": {f"service_{i}": {"owner": f"team_{i}", "spiffe": f"spiffe://x.example/s{i}"}
                     for i in range(rooms)},
        "grants": [{"service": f"service_{i}", "purpose": f"purpose_{i}", "compartment": name,
                    "operations": ["reveal"]} for i, name in enumerate(names)],
    }  # fmt: skip
    return compile_edition(json.dumps(tree))


def _titles(picture: str) -> list[str]:
    return [its.text or "" for its in ElementTree.fromstring(picture).iter(f"{SVG}title")]


def test_says_whose_subjects_must_be_there(edition: Edition, variant: Variant) -> None:
    def change(tree: Any) -> None:
        tree["services"]["portal"]["require_subject_assertion"] = True

    assert "who must be there" in graph(compile_edition(variant(change)))
    assert "who must be there" not in graph(edition)


def _clinic() -> Edition:
    return compile_edition(CLINIC.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", MADE)
def test_what_is_checked_in_is_current(name: str) -> None:
    """`python -m tests.unit.policy.checked_in` makes it anew."""
    assert (ROOT / name).read_text(encoding="utf-8") == MADE[name]()


SHAPES = {
    "none": [],
    "a chain": [(i, i + 1) for i in range(11)],
    "a hub": [(0, i) for i in range(1, 12)],
    "pairs": [(i, i + 1) for i in range(0, 12, 2)],
    "everything": list(combinations(range(12), 2)),
}


@pytest.mark.parametrize("rooms", [0, 1, 2, 5, 12])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_stands_in_its_frame_by_itself(rooms: int, shape: list[tuple[int, int]]) -> None:
    """All is within the viewBox, and nothing is fetched or run."""
    pairs = [(i, j) for i, j in shape if j < rooms]
    picture = graph(_edition(rooms, pairs))
    root = ElementTree.fromstring(picture)
    _, _, wide, high = (float(part) for part in root.attrib["viewBox"].split())
    for rect in root.iter(f"{SVG}rect"):
        x, y, w, h = (float(rect.attrib[key]) for key in ("x", "y", "width", "height"))
        assert min(x, y, w, h) >= 0
        assert x + w <= wide
        assert y + h <= high
    for text in root.iter(f"{SVG}text"):
        assert 0 < float(text.attrib["x"]) < wide
        assert 0 < float(text.attrib["y"]) < high
    assert {its.tag.removeprefix(SVG) for its in root.iter()} <= {
        "svg", "title", "desc", "style", "g", "rect", "text", "tspan", "path", "circle"
    }  # fmt: skip
    assert not re.search(r"(href|url\(|@import|onload)", picture)
    assert "prefers-color-scheme: dark" in picture


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_between_neighbours_stands_a_wall_or_goes_a_bridge(shape: list[tuple[int, int]]) -> None:
    """Each pair that may be joined has its bridge; neighbours that may not, a wall."""
    edition = _edition(12, shape)
    titles = _titles(graph(edition))
    bridges = [title for title in titles if "may be joined" in title]
    walls = [title for title in titles if "are never joined" in title]
    passages = [title for title in titles if re.fullmatch(r"\w+ and \w+: Because", title)]
    assert len(bridges) == len(edition.joinable)
    assert len(walls) + len(passages) == 11
    for wall in walls:
        names = re.findall(r"room_\d+", wall)
        assert frozenset(names) not in edition.joinable


def test_a_common_neighbour_joins_nothing_and_the_picture_says_so() -> None:
    titles = _titles(graph(_clinic()))
    assert "charts and invoices aren't joinable, though each is with another" in titles
    assert [title for title in titles if "aren't joinable" in title] == [
        "charts and invoices aren't joinable, though each is with another"
    ]


def test_shows_fields_purposes_services_owners_and_forms() -> None:
    edition = _clinic()
    picture = graph(edition)
    titles = _titles(picture)
    said = "\n".join(its.text or "" for its in ElementTree.fromstring(picture).iter())
    for compartment in edition.compartments.values():
        assert compartment.name in said
        assert all(field in said for field in compartment.fields)
    for names in (edition.purposes, edition.services, edition.owners):
        assert all(name in said for name in names)
    for purpose in edition.purposes.values():
        for use in purpose.uses.values():
            for its in use.fields.values():
                assert f"{purpose.name} sees {its.field.name} {its.form.word}" in titles
    for grant in edition.grants:
        operations = ", ".join(grant.operations)
        flow = f"{grant.service} for {grant.purpose}: {operations} in {grant.compartment}"
        assert flow in titles


def test_says_what_is_forbidden_and_where_data_goes() -> None:
    said = " ".join(its.text or "" for its in ElementTree.fromstring(graph(_clinic())).iter())
    assert "the services of study_group must not use anything of patients" in said
    assert "Data of billing may go to The Mandatory Health Insurance Fund." in said
    assert "find at most 0.5 a second, 500 a day" in said


def test_text_is_text_whatever_it_holds(variant: Variant) -> None:
    """Titles are free text: no markup comes of them, and nothing that XML can't hold."""

    def change(tree: Any) -> None:
        tree["compartments"]["web"]["title"]["en"] = "<script>&\"'\ufffe"
        tree["joinable"][0]["reason"]["en"] = "</text></svg>"

    picture = graph(compile_edition(variant(change)))
    said = "".join(ElementTree.fromstring(picture).itertext())
    assert "<script>&\"'" in said
    assert "</text></svg>" in said
    assert "<script" not in picture


def test_is_the_same_to_the_byte_whenever_it_is_drawn(edition: Edition, text: str) -> None:
    assert graph(edition) == graph(compile_edition(text))
