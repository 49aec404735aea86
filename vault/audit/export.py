"""A trail as JSON lines: sealed, as it is stored, so that whoever has it can verify it.

    header       what this is, and of which compartment
    checkpoint   as stored, one a line, by number
    event        as stored, one a line, by writer and sequence
    end          how many there were of each: a file without it was cut off

Bytes are in base64. `docs/audit-export.schema.json` has every key. Nothing in it is in clear, and
no key is needed to verify it.
"""

import binascii
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from vault.audit.chain import Link
from vault.audit.signed import Signed, canonical
from vault.names import NAME

FORMAT = 1
KIND = "piivault-audit-export"

_UUID_BYTES = 16
_NUMBERS = 2**63  # a database's whole numbers are below it

Form = Literal["sealed", "opened"]
# A stored checkpoint: its number, and what is signed.
Stored = tuple[int, Signed]


class ExportError(Exception):
    """A file that isn't an export, or not a whole one; the message says what is wrong where."""


@dataclass(frozen=True, slots=True)
class Header:
    """Of which compartment an export is. `name` is a label for people, spelt as in an edition."""

    compartment: bytes
    name: str
    form: Form = "sealed"

    @property
    def line(self) -> bytes:
        """The first line."""
        said = {
            "compartment": self.compartment.hex(),
            "form": self.form,
            "format": FORMAT,
            "kind": KIND,
            "name": self.name,
            "type": "header",
        }
        return canonical(said) + b"\n"


def checkpoint_line(number: int, signed: Signed) -> bytes:
    """Write a stored checkpoint."""
    body, signature = _text(signed.body), _text(signed.signature)
    said = {"body": body, "number": number, "signature": signature, "type": "checkpoint"}
    return canonical(said) + b"\n"


def event_line(link: Link) -> bytes:
    """Write a stored event."""
    said = {
        "previous": _text(link.previous),
        "sealed": _text(link.sealed),
        "sequence": link.sequence,
        "token": _text(link.token),
        "type": "event",
        "writer": _text(link.writer),
    }
    return canonical(said) + b"\n"


def end_line(checkpoints: int, events: int) -> bytes:
    """Write the last line."""
    return canonical({"checkpoints": checkpoints, "events": events, "type": "end"}) + b"\n"


class Export:
    """Reads a sealed export, once: its header, then its checkpoints, then its events.

    All raise ExportError.
    """

    def __init__(self, lines: Iterator[bytes]) -> None:
        self._lines = enumerate(lines, 1)
        self._at = 0
        self._next = self._read()
        self.header = self._header()
        self._checkpoints = self._events = 0

    def checkpoints(self) -> Iterator[Stored]:
        """Yield the stored checkpoints."""
        self._next = self._read()
        while self._next.get("type") == "checkpoint":
            said, self._next = self._next, {}
            with _Reading(self._at):
                number, body, signature = said["number"], said["body"], said["signature"]
                stored = (_number(number), Signed(_bytes(body), _bytes(signature)))
            self._checkpoints += 1
            yield stored
            self._next = self._read()

    def events(self) -> Iterator[Link]:
        """Yield the events; then hold their number against the file's end."""
        said = self._next
        while said.get("type") == "event":
            try:
                yield Link(
                    _bytes(said["writer"]),
                    _number(said["sequence"], -_NUMBERS),  # below 0 is for verification to find
                    _bytes(said["previous"]),
                    _bytes(said["token"]),
                    _bytes(said["sealed"]),
                )
            except (KeyError, TypeError, ValueError):
                raise _no_export(self._at) from None
            self._events += 1
            said = self._read()
        found = {"checkpoints": self._checkpoints, "events": self._events, "type": "end"}
        if said != found:
            raise ExportError(
                f"line {self._at} isn't the end of {self._events} events and {self._checkpoints} "
                "checkpoints: lines were lost or put in. Export it again."
            )
        for at, _ in self._lines:
            raise _no_export(at)

    def _read(self) -> dict[str, Any]:
        for at, line in self._lines:
            self._at = at
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                raise _no_export(at) from None
            if not isinstance(said, dict):
                raise _no_export(at)
            return said
        raise ExportError(
            f"the file ends after line {self._at}, where more should follow: it was cut off. "
            "Export it again."
        )

    def _header(self) -> Header:
        said = self._next
        if said.get("kind") != KIND or said.get("type") != "header":
            raise ExportError("this is no export of a trail: `piivault audit export` writes one.")
        if said.get("format") != FORMAT:
            raise ExportError("it is of a format that this release doesn't know: use a newer one.")
        if said.get("form") != "sealed":
            raise ExportError(
                "it is an opened export, for reading: nothing in it can be verified. Export the "
                "trail with --sealed."
            )
        with _Reading(self._at):
            header = Header(bytes.fromhex(said["compartment"]), said["name"])
            if len(header.compartment) != _UUID_BYTES or not NAME.fullmatch(header.name):
                raise ValueError("no compartment")
            return header


class _Reading:
    """Turns whatever a line lacks into an ExportError that names the line."""

    def __init__(self, at: int) -> None:
        self._at = at

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, (KeyError, TypeError, ValueError)):
            raise _no_export(self._at) from None


def _no_export(at: int) -> ExportError:
    return ExportError(f"line {at} isn't a line of an export: it was changed. Export it again.")


def _text(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode()


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text, strict_mode=True)


def _number(value: object, least: int = 0) -> int:
    if type(value) is not int or not least <= value < _NUMBERS:
        raise ValueError("not a number")
    return value
