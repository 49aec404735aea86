"""What a JSON Schema refuses, as far as ours go: enough to hold a document against one.

assert list(faults(schema, document)) == []
"""

from collections.abc import Iterator
from typing import Any

_TYPES: dict[str, type] = {
    "object": dict, "array": list, "string": str, "integer": int, "boolean": bool,
    "null": type(None),
}  # fmt: skip
KNOWN = {
    "$schema", "$defs", "$ref", "description", "default", "format", "type", "properties",
    "required", "additionalProperties", "items", "anyOf", "const", "enum",
}  # fmt: skip


def faults(schema: Any, node: Any, root: Any = None, path: str = "$") -> Iterator[str]:
    """Yield what is wrong with a document, by path; raise KeyError for a word not known here."""
    root = root or schema
    if unknown := schema.keys() - KNOWN:
        raise KeyError(f"{path}: {unknown}")
    if "$ref" in schema:
        yield from faults(root["$defs"][schema["$ref"].rpartition("/")[2]], node, root, path)
    if "anyOf" in schema and all(any(faults(one, node, root, path)) for one in schema["anyOf"]):
        yield f"{path} is none of several"
    if node not in schema.get("enum", [schema.get("const", node)]):
        yield f"{path} is another word"
    if "type" in schema and type(node) is not _TYPES[schema["type"]]:
        yield f"{path} is no {schema['type']}"
    elif isinstance(node, dict):
        yield from _object(schema, node, root, path)
    elif isinstance(node, list):
        for i, item in enumerate(node):
            yield from faults(schema.get("items", {}), item, root, f"{path}[{i}]")


def _object(schema: Any, node: dict[str, Any], root: Any, path: str) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in node:
            yield f"{path}.{name} is missing"
    for name, value in node.items():
        inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
        if inner is False:
            yield f"{path}.{name} isn't foreseen"
        else:
            yield from faults(inner, value, root, f"{path}.{name}")
