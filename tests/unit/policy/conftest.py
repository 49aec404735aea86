"""The example's edition, and variants of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from vault.policy import Edition, compile_edition

from .checked_in import OSH

Change = Callable[[Any], object]
Variant = Callable[[Change], str]


@pytest.fixture(scope="session")
def text() -> str:
    return OSH.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def edition(text: str) -> Edition:
    return compile_edition(text)


@pytest.fixture(scope="session")
def variant(text: str) -> Variant:
    """Change the example's tree, and get its text: JSON is YAML."""

    def make(change: Change) -> str:
        tree = yaml.safe_load(text)
        change(tree)
        return json.dumps(tree, default=lambda moment: moment.isoformat(), indent=1)

    return make
