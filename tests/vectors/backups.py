"""backup_v1.json: files of a backup, byte by byte, and what they hold."""

import hashlib
import json
from collections.abc import Sequence

from tests.vectors.formats import Vector, draw, number

Columns = Sequence[tuple[str, str]]

_COMPARTMENT = draw("uuid of accounts", 16)
_PSEUDONYMS = sorted(draw(f"pseudonym {n}") for n in range(2))

_HEADS: Columns = [("writer", "bytes"), ("sequence", "integer")]
_RECORDS: Columns = [("pseudonym", "bytes"), ("row_version", "bytes"), ("sealed", "bytes")]
_KEYRING: Columns = [
    ("kind", "text"),
    ("field", "integer"),
    ("version", "integer"),
    ("state", "text"),
    ("wrapped", "text"),
]
_APPROVALS: Columns = [
    ("statement", "bytes"),
    ("kind", "text"),
    ("body", "bytes"),
    ("signatures", "bytes"),
]


def vectors() -> Vector:
    heads: list[list[int | str]] = [[draw("writer", 16).hex(), 7]]
    records: list[list[int | str]] = [
        [p.hex(), draw("row version", 16).hex(), draw("sealed", 64).hex()] for p in _PSEUDONYMS
    ]
    keys: list[list[int | str]] = [
        ["index", 5, 2, "active", "vault:v1:AAAA"],
        ["kek", 0, 1, "active", "vault:v1:BBBB"],
    ]
    return {
        "files": [
            _file("data", [("heads", _HEADS, 1, heads), ("records", _RECORDS, 1, records)]),
            _file("keys", [("heads", _HEADS, 1, []), ("keyring", _KEYRING, 3, keys)]),
            _file("control", [("approvals", _APPROVALS, 1, [["00", "жаңы", "", "ff"]])]),
        ]
    }


def _file(
    contents: str, tables: Sequence[tuple[str, Columns, int, list[list[int | str]]]]
) -> Vector:
    header = {
        "compartment": "" if contents == "control" else _COMPARTMENT.hex(),
        "contents": contents,
        "revision": "k0001" if contents == "control" else "c0001",
        "sections": [
            {"columns": columns, "key": key, "name": name, "rows": len(rows)}
            for name, columns, key, rows in tables
        ],
    }
    raw = json.dumps(header, separators=(",", ":"), sort_keys=True).encode("ascii")
    file = _checked(b"piivault-backup\n" + number(1, 2) + number(len(raw)) + raw)
    for _, columns, _, rows in tables:
        file += _checked(b"".join(_sized(_row(columns, row)) for row in rows))
    content = [{"section": name, "rows": rows} for name, _, _, rows in tables]
    return {"name": contents, "header": header, "content": content, "file": _checked(file).hex()}


def _row(columns: Columns, row: Sequence[int | str]) -> bytes:
    return b"".join(_value(kind, value) for (_, kind), value in zip(columns, row, strict=True))


def _value(kind: str, value: int | str) -> bytes:
    if isinstance(value, int):
        return value.to_bytes(8, "big", signed=True)
    return _sized(bytes.fromhex(value) if kind == "bytes" else value.encode())


def _sized(raw: bytes) -> bytes:
    return number(len(raw)) + raw


def _checked(raw: bytes) -> bytes:
    return raw + hashlib.sha256(raw).digest()
