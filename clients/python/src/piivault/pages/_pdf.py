"""A page as PDF, set by typst from `report.typ`. It needs `pip install piivault[report]`."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from piivault.errors import ConfigurationError
from piivault.pages._page import Page

_LONG = re.compile(r"\S{25,}")  # a word that may be wider than a column
_APART = 12  # characters of it that stay together


def write(page: Page) -> bytes:
    """Set a page as a PDF document.

    Raises ConfigurationError where typst isn't installed.
    """
    try:
        import typst
    except ImportError:
        raise ConfigurationError(
            "Pages as PDF are set by typst: pip install 'piivault[report]'."
        ) from None
    data = json.dumps(breakable(asdict(page)), ensure_ascii=False)
    source = files("piivault.pages").joinpath("report.typ").read_bytes()
    return typst.compile(source, format="pdf", sys_inputs={"page": data})


def breakable(node: Any) -> Any:
    """Let long words break: typst breaks none by itself, and a table has no room for them."""
    if isinstance(node, str):
        return _LONG.sub(lambda word: _spaced(word[0]), node)
    if isinstance(node, Mapping):
        return {key: breakable(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [breakable(item) for item in node]
    return node


def _spaced(word: str) -> str:
    return "\u200b".join(word[at : at + _APART] for at in range(0, len(word), _APART))
