"""The JSON Schema: what editors complete by. Each key, pattern and word that an edition knows."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from vault.policy import Basis, FieldType, Index, Operation, edition_schema

from .checked_in import CLINIC, OSH

SCHEMA = edition_schema()


def _resolved(schema: Any) -> Any:
    while "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema


def _keys(schema: Any, node: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Walk an edition beside the schema: every key must be foreseen."""
    schema = _resolved(schema)
    yield path, schema, node
    if isinstance(node, dict):
        for key, value in node.items():
            known = schema.get("properties", {}).get(key)
            for pattern, shape in schema.get("patternProperties", {}).items():
                known = shape if re.search(pattern, key) else known
            if key in _words(schema):
                known = schema["additionalProperties"]
            assert known is not None, f"{path}.{key}"
            yield from _keys(known, value, f"{path}.{key}")
    if isinstance(node, list):
        for i, value in enumerate(node):
            shape = schema.get("items") or schema["prefixItems"][i]
            yield from _keys(shape, value, f"{path}[{i}]")


def _words(schema: Any) -> list[str]:
    """The keys of an object that takes words of a list and no others."""
    return list(_resolved(schema.get("propertyNames", {})).get("enum", []))


@pytest.mark.parametrize("example", [OSH, CLINIC], ids=lambda path: path.parent.name)
def test_foresees_the_examples(example: Path) -> None:
    """Key by key: required, spelt and of the words that are known."""
    tree = yaml.safe_load(example.read_text(encoding="utf-8"))
    walked = list(_keys(SCHEMA, tree))
    assert len(walked) > 200
    for path, schema, node in walked:
        if isinstance(node, dict):
            assert set(schema.get("required", ())) <= node.keys(), path
        if isinstance(node, str):
            assert re.search(schema.get("pattern", ""), node), path
            assert node in schema.get("enum", [node]), path


@pytest.mark.parametrize("example", [OSH, CLINIC], ids=lambda path: path.parent.name)
def test_is_named_in_the_first_line_of_the_examples(example: Path) -> None:
    first = example.read_text(encoding="utf-8").splitlines()[0]
    [path] = re.findall(r"^# yaml-language-server: \$schema=(.+)$", first)
    assert (example.parent / path).resolve().name == "edition.schema.json"
    assert (example.parent / path).resolve().is_file()


@pytest.mark.parametrize("words", [Basis, FieldType, Index, Operation])
def test_knows_every_word(words: Any) -> None:
    assert SCHEMA["$defs"][words.__name__]["enum"] == [word.value for word in words]


def test_lets_in_nothing_that_an_edition_refuses() -> None:
    """Every object is closed: an unknown key is underlined as it is typed."""
    for name, part in [("edition", SCHEMA), *SCHEMA["$defs"].items()]:
        for node in _objects(part):
            assert node["additionalProperties"] is False or _words(node), name


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        if node.get("type") == "object":
            yield node
        for child in node.values():
            yield from _objects(child)


def test_says_what_each_part_is() -> None:
    assert all(part["description"] for part in SCHEMA["$defs"].values())
    described = [
        key for key, its in SCHEMA["properties"].items() if _resolved(its).get("description")
    ]
    assert {"edition", "predecessor", "posted", "in_force", "region", "forbid"} <= set(described)


def test_patterns_match_as_a_whole() -> None:
    """JSON Schema searches: without anchors a bad name with a good part would pass."""
    text = str(SCHEMA)
    patterns = re.findall(r"'pattern': '([^']+)'", text)
    assert patterns
    assert all(its.startswith("^") and its.endswith("$") for its in patterns)
