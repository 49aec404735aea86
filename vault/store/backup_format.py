r"""The format of a backup's file. Frozen: every later release reads it.

    magic      16 bytes: "piivault-backup\n"
    format     u16: 1
    header     u32 length, then JSON (ASCII, sorted keys, no spaces):
                 contents     "data", "keys" or "control"
                 revision     of the database's schema
                 compartment  its uuid, 32 hexadecimal digits; "" for control
                 sections     in the order of the file, each:
                   name       of the table
                   columns    [name, "bytes" | "integer" | "text"], those of the key first
                   key        how many columns make the key
                   rows       how many rows follow
    checksum   32 bytes: SHA-256 of all bytes before it
    sections   one for each in the header:
                 rows by their key, ascending, each a u32 length, then the values: an integer
                 is i64, bytes and text (UTF-8) are a u32 length and bytes
                 checksum, 32 bytes: SHA-256 of the section's bytes before it
    checksum   32 bytes: SHA-256 of all bytes before it

Numbers are big-endian. Nothing follows the last checksum. Checksums find damage, not forgery:
what keeps content from being forged are the seals within it.

There is no date in a file, no name of a host, a release or another file, and no order but that of
the keys. It says nothing that its tables don't say: whoever holds successive backups of two
compartments must not find out which rows came together.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

MAGIC = b"piivault-backup\n"
FORMAT = 1
MOST_A_ROW = 1 << 24  # bytes: a damaged length must not ask for all memory

U16, U32, _I64 = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">q")

Row = tuple[Any, ...]


class Contents(StrEnum):
    """What a file holds: a compartment's data, its keys, or the control database."""

    DATA = "data"
    KEYS = "keys"
    CONTROL = "control"


class Kind(StrEnum):
    """What a column holds."""

    BYTES = "bytes"
    INTEGER = "integer"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a section, those of its key first."""

    name: str
    columns: tuple[tuple[str, Kind], ...]
    key: int

    def pack(self, row: Sequence[Any]) -> bytes:
        """Write a row, without its length."""
        parts: list[bytes] = []
        for (_, kind), value in zip(self.columns, row, strict=True):
            if kind is Kind.INTEGER:
                parts.append(_I64.pack(value))
            else:
                raw = value.encode() if kind is Kind.TEXT else value
                parts += (U32.pack(len(raw)), raw)
        return b"".join(parts)

    def unpack(self, raw: bytes) -> Row:
        """Read a row; raise ValueError or struct.error if these bytes are none."""
        values: list[bytes | int | str] = []
        at = 0
        for _, kind in self.columns:
            if kind is Kind.INTEGER:
                values.append(_I64.unpack_from(raw, at)[0])
                at += _I64.size
                continue
            start = at + U32.size
            at = start + U32.unpack_from(raw, at)[0]
            values.append(raw[start:at].decode() if kind is Kind.TEXT else raw[start:at])
        if at != len(raw):
            raise ValueError("a row of another length")
        return tuple(values)


@dataclass(frozen=True, slots=True)
class Section:
    """A table in a file, and how many rows of it follow."""

    layout: Layout
    rows: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself; `compartment` is a uuid's 16 bytes, empty for control."""

    contents: Contents
    revision: str
    compartment: bytes
    sections: tuple[Section, ...]

    def to_json(self) -> bytes:
        """Write it in its one spelling."""
        tree = {
            "contents": self.contents,
            "revision": self.revision,
            "compartment": self.compartment.hex(),
            "sections": [asdict(s.layout) | {"rows": s.rows} for s in self.sections],
        }
        return json.dumps(tree, sort_keys=True, separators=(",", ":")).encode("ascii")

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Read it; raise ValueError, KeyError or TypeError if it is none."""
        tree = json.loads(raw)
        sections = []
        for s in tree["sections"]:
            columns = tuple((name, Kind(kind)) for name, kind in s["columns"])
            sections.append(Section(Layout(s["name"], columns, s["key"]), s["rows"]))
        compartment = bytes.fromhex(tree["compartment"])
        read = cls(Contents(tree["contents"]), tree["revision"], compartment, tuple(sections))
        if read.to_json() != raw:
            raise ValueError("not its one spelling")
        return read
