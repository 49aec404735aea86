"""Writing TOML: the standard library only reads it."""

import json
from collections.abc import Mapping
from typing import Any


def toml(tree: Mapping[str, Any], head: str) -> str:
    """Write tables of strings, numbers, booleans, lists and tables, below a comment."""
    return head + "\n".join(_table(tree, ())) + "\n"


def _table(tree: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    inner = {key: value for key, value in tree.items() if isinstance(value, Mapping)}
    own = [f"{key} = {_value(value)}" for key, value in tree.items() if key not in inner]
    # Keys need no quotes: names in an edition have letters, digits, - and _ alone.
    lines = [f"\n[{'.'.join(path)}]", *own] if path and own else own
    for key, value in inner.items():
        lines += _table(value, (*path, key))
    return lines


def _value(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{k} = {_value(v)}' for k, v in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)  # TOML writes these three as JSON does
