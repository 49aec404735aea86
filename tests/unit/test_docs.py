"""The pages against each other and against the code: links, anchors, modules, settings, metrics."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from vault import config
from vault.service import metrics

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "clients/python/*.md", "tests/**/*.md")
    for page in ROOT.glob(pattern)
)
_LINK = re.compile(r"\]\((?!https?://|mailto:)([^)\s]+)\)")
_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_MODULE = re.compile(r"(?<![\w/])([\w/]+\.py)(?!\w)")
# Rooms whose every module the map names; `cli` and the SDK are told by what they share.
_NAMED_WHOLE = (
    "vault", "vault/audit", "vault/crypto", "vault/dev", "vault/keys", "vault/policy", "vault/rpc",
    "vault/service", "vault/setup", "vault/store",
)  # fmt: skip
MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
SETTINGS = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")


def _anchors(page: Path) -> set[str]:
    """Return what may stand after # in a link to a page, as GitHub makes it of headings."""
    text = _FENCED.sub("", page.read_text(encoding="utf-8"))
    words = (re.sub(r"[^\w\- ]", "", heading.strip().lower()) for heading in _HEADING.findall(text))
    return {heading.replace(" ", "-") for heading in words}


def _broken(page: Path) -> Iterator[str]:
    """Yield the links of a page that lead nowhere."""
    for link in _LINK.findall(page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_leads_somewhere(page: Path) -> None:
    assert not list(_broken(page))


def test_the_readme_leads_to_each_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages <= set(_LINK.findall(readme))


def test_each_decision_is_listed() -> None:
    folder = ROOT / "docs/adr"
    listed = set(_LINK.findall((folder / "README.md").read_text(encoding="utf-8")))
    assert listed == {record.name for record in folder.glob("0*.md")}


@pytest.mark.parametrize("room", _NAMED_WHOLE)
def test_the_map_names_each_module(room: str) -> None:
    modules = {file.name for file in (ROOT / room).glob("*.py")} - {"__init__.py"}
    named = {Path(module).name for module in _MODULE.findall(MAP)}
    assert modules <= named


def test_the_map_names_nothing_that_is_gone() -> None:
    folders = ("vault", "clients/python/src", "tests", "examples", "tools")
    there = [str(file) for folder in folders for file in (ROOT / folder).rglob("*.py")]
    named = set(_MODULE.findall(MAP))
    assert not {name for name in named if not any(path.endswith(f"/{name}") for path in there)}


def test_each_setting_is_told() -> None:
    """Every key of every section, by its name."""
    sections = (
        kind
        for kind in vars(config).values()
        if isinstance(kind, type) and issubclass(kind, BaseModel)
    )
    keys = {key for section in sections for key in section.model_fields}
    assert len(keys) > 60
    assert not {key for key in keys if not re.search(rf"[`.\[]{key}[`.\]]", SETTINGS)}


def test_each_metric_is_told() -> None:
    source = Path(metrics.__file__).read_text(encoding="utf-8")
    told = (ROOT / "docs/audit.md").read_text(encoding="utf-8")
    names = re.findall(r'"(piivault_\w+)"', source)
    assert len(names) >= 10
    assert not [name for name in names if f"`{name}" not in told]


def test_each_extra_that_is_named_is_there() -> None:
    """What `pip install 'piivault[…]'` asks for."""
    project = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text(encoding="utf-8"))
    named = {
        extra
        for page in PAGES
        for extra in re.findall(r"piivault\[(\w+)\]", page.read_text(encoding="utf-8"))
    }
    assert named == set(project["project"]["optional-dependencies"])
