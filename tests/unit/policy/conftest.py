"""The example's edition, and variants of it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from vault.policy import Edition, compile_edition

EXAMPLE = Path(__file__).parents[3] / "examples/osh/policy.yaml"

Variant = Callable[[Callable[[Any], object]], str]


@pytest.fixture(scope="session")
def text() -> str:
    return EXAMPLE.read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def edition(text: str) -> Edition:
    return compile_edition(text)


@pytest.fixture(scope="session")
def variant(text: str) -> Variant:
    """Change the example's tree, and get its text: JSON is YAML."""

    def make(change: Callable[[Any], object]) -> str:
        tree = yaml.safe_load(text)
        change(tree)
        return json.dumps(tree, default=lambda moment: moment.isoformat(), indent=1)

    return make
