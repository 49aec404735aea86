"""From the text of an edition to its document: YAML, read as JSON and nothing more.

Plain `null`, `true`, `false` and decimal integers mean what they mean in JSON, everything
else is a string (so that a language `no` stays Norwegian). Anchors, aliases, tags and merge
keys are refused: a reader sees each rule where it stands, and no text unfolds into a bigger one.
"""

import json
import re
from collections.abc import Iterator

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from vault.policy.document import Document
from vault.policy.faults import EditionError, Fault, Lines, Path

Tree = dict[str, "Tree"] | list["Tree"] | str | int | bool | None

_DEEPEST = 16  # an edition needs 7
_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_CONSTANTS = {"": None, "~": None, "null": None, "true": True, "false": False}
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # libyaml where the wheel has it
_SENTENCES = {
    "missing": "is missing: add it",
    "extra_forbidden": "isn't a key that an edition has here: correct its spelling or remove it",
    "model_type": "should be keys with their values",
    "dict_type": "should be keys with their values",
    "timezone_aware": "should say its offset from UTC: 2026-01-01T00:00:00+06:00",
    "datetime_parsing": "should be a date and time: 2026-01-01T00:00:00+06:00",
    "datetime_type": "should be a date and time: 2026-01-01T00:00:00+06:00",
}


def parse(text: str) -> tuple[Document, Lines]:
    """Read an edition's text; raise EditionError with every fault of its spelling."""
    reader = _Reader(text)
    tree = reader.read()
    try:
        document = Document.model_validate_json(json.dumps(tree))
    except ValidationError as refused:
        details = refused.errors(include_url=False, include_context=False, include_input=False)
        faults = [reader.lines.fault(_path(detail), _sentence(detail)) for detail in details]
        raise EditionError(reader.faults + faults) from None
    if reader.faults:
        raise EditionError(reader.faults)
    return document, reader.lines


def _path(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _sentence(detail: ErrorDetails) -> str:
    return _SENTENCES.get(detail["type"]) or detail["msg"].replace("Input should", "should", 1)


class _Reader:
    """Builds a JSON tree from YAML events, and notes where everything stands."""

    def __init__(self, text: str) -> None:
        self.lines = Lines()
        self.faults: list[Fault] = []
        self._text = text
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=_LOADER)

    def read(self) -> Tree:
        """Return the one document in the text; raise EditionError where it is no YAML."""
        try:
            next(self._events)  # the stream's start
            if not isinstance(next(self._events), yaml.DocumentStartEvent):
                raise EditionError([Fault(1, "the document", "is empty: write an edition")])
            tree = self._node(next(self._events), ())
            next(self._events)  # the document's end
            after = next(self._events)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 1 if error.problem_mark else 1
            raise EditionError(
                [Fault(line, "the document", f"is no YAML: {error.problem}")]
            ) from None
        except (yaml.YAMLError, UnicodeError):
            sentence = "has a character that YAML doesn't allow: remove control characters"
            raise EditionError([Fault(1, "the document", sentence)]) from None
        if not isinstance(after, yaml.StreamEndEvent):
            self._fault(after, (), "has a second document after ---: keep one edition a file")
        return tree

    def _node(self, event: yaml.Event, path: Path) -> Tree:
        self.lines.note(path, _line(event))
        if len(path) > _DEEPEST:
            raise EditionError([self.lines.fault(path, "is nested too deep for an edition")])
        if getattr(event, "anchor", None) is not None:
            self._fault(event, path, "uses an anchor or alias: write it out in full")
        if getattr(event, "tag", None) is not None:
            self._fault(event, path, "has a tag: remove it")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(path)
        return _scalar(event) if isinstance(event, yaml.ScalarEvent) else None

    def _mapping(self, path: Path) -> Tree:
        tree: dict[str, Tree] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise EditionError([self.lines.fault(path, "has a key that is no word")])
            key = event.value
            if key in tree:
                self._fault(event, (*path, key), "stands here a second time: remove one")
            self.lines.note((*path, key), _line(event))
            value = self._node(next(self._events), (*path, key))
            tree.setdefault(key, value)
        return tree

    def _sequence(self, path: Path) -> Tree:
        tree: list[Tree] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            tree.append(self._node(event, (*path, len(tree))))
        return tree

    def _fault(self, event: yaml.Event, path: Path, sentence: str) -> None:
        at_line = Fault(_line(event), self.lines.fault(path, "").path, sentence)
        self.faults.append(at_line)


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


def _scalar(event: yaml.ScalarEvent) -> Tree:
    """Read plain constants and integers as JSON does; all else, and what is quoted, is a string."""
    text: str = event.value
    if event.style:
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    return int(text) if _INTEGER.fullmatch(text) else text
