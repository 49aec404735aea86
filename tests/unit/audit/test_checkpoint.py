"""Checkpoints and exports as bytes: what was written once is read for ever, in one spelling."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trails import COMPARTMENT, KEYS, fits, made, signed
from tests.vectors import generate
from vault.audit.chain import Link
from vault.audit.checkpoint import Base, Checkpoint, ControlCheckpoint, Head
from vault.audit.claims import claims_of
from vault.audit.export import (
    Export,
    ExportError,
    Header,
    checkpoint_line,
    end_line,
    event_line,
)
from vault.audit.faults import Faults
from vault.audit.signed import CheckpointError, Signed, by_id, key_id, to_sign
from vault.audit.verification import Verification

hashes = st.binary(min_size=32, max_size=32)
counts = st.integers(0, 2**63 - 1)
heads = st.dictionaries(st.binary(min_size=16, max_size=16), st.builds(Head, counts, hashes))
bases = st.none() | st.builds(Base, counts, hashes)
CHECKPOINTS = st.builds(Checkpoint, st.just(COMPARTMENT), counts, hashes, counts, heads, bases)


@given(CHECKPOINTS)
def test_what_is_written_is_read_back(checkpoint: Checkpoint) -> None:
    assert Checkpoint.read(checkpoint.body) == checkpoint
    line = signed(checkpoint).line("accounts")
    assert Signed.from_line(line) == signed(checkpoint)
    assert "\n" not in line


@given(CHECKPOINTS, st.integers(0, 10_000))
def test_a_changed_body_is_refused(checkpoint: Checkpoint, bit: int) -> None:
    whole = signed(checkpoint)
    body = bytearray(whole.body)
    body[bit // 8 % len(body)] ^= 1 << bit % 8
    with pytest.raises(CheckpointError, match="isn't what the auditor signed"):
        Signed(bytes(body), whole.signature).check(KEYS)


def test_what_is_signed_grows_with_no_writer() -> None:
    """A key server takes requests of a bounded size: Transit of 32 MiB."""
    many = {n.to_bytes(16, "big"): Head(n, bytes(32)) for n in range(20_000)}
    checkpoint = Checkpoint.first(COMPARTMENT, 0, many)
    assert len(checkpoint.body) > 2_000_000
    assert len(to_sign(checkpoint.body)) < 100
    signed(checkpoint).check(KEYS)


@given(st.builds(ControlCheckpoint, counts, counts, hashes))
def test_a_checkpoint_of_control_is_read_back(checkpoint: ControlCheckpoint) -> None:
    assert ControlCheckpoint.read(checkpoint.body) == checkpoint
    with pytest.raises(CheckpointError):
        Checkpoint.read(checkpoint.body)


NO_LINES = ["", "{}", "[]", "null", "2026-11-22 INFO serving", '{"checkpoint":{},"key":"zz"}', "{"]


@pytest.mark.parametrize("line", NO_LINES)
def test_other_lines_are_no_checkpoints(line: str) -> None:
    with pytest.raises(CheckpointError):
        Signed.from_line(line)


@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_no_bytes_raise_anything_else(body: bytes) -> None:
    for read in (Checkpoint.read, ControlCheckpoint.read, Signed.from_line):
        with pytest.raises(CheckpointError):
            read(body)


# Exports.

KEPT = made([(3, 2), (1, 0)])
LINES = [
    Header(COMPARTMENT, "accounts").line,
    *(checkpoint_line(number, its) for number, its in KEPT.stored),
    *map(event_line, KEPT.links),
    end_line(2, 6),
]


def _read(lines: list[bytes]) -> tuple[list[tuple[int, Signed]], list[Link]]:
    export = Export(iter(lines))
    return list(export.checkpoints()), list(export.events())


def test_an_export_is_read_back() -> None:
    assert _read(LINES) == (list(KEPT.stored), list(KEPT.links))


BROKEN = {
    "cut off": (LINES[:-1], "cut off"),
    "cut off among the checkpoints": (LINES[:2], "cut off"),
    "empty": ([], "cut off"),
    "an event lost": ([*LINES[:-2], LINES[-1]], "isn't the end of 5 events"),
    "a checkpoint lost": ([LINES[0], *LINES[2:]], "isn't the end of 6 events and 1 checkpoints"),
    "more behind the end": ([*LINES, LINES[-1]], "line 11 isn't a line of an export"),
    "a checkpoint among events": ([*LINES[:4], LINES[1], *LINES[4:]], "isn't the end"),
    "another file": ([b'{"kind":"other"}\n'], "no export"),
    "no JSON": ([b"\xff\n"], "line 1 isn't"),
    "a format to come": ([LINES[0].replace(b'"format":1', b'"format":2')], "newer"),
    "opened": ([Header(COMPARTMENT, "accounts", "opened").line], "--sealed"),
    "no base64": ([*LINES[:3], LINES[3].replace(b'"token":"', b'"token":"!')], "line 4 isn't"),
    "a name that is none": (
        [LINES[0].replace(b'"accounts"', b'"\\u001b[2Jall hold"')], "line 1 isn't"),
    "a name of half a letter": ([LINES[0].replace(b'"accounts"', b'"\\ud800"')], "line 1 isn't"),
    "a name that is a number": ([LINES[0].replace(b'"accounts"', b"5")], "line 1 isn't"),
    "of no compartment": ([Header(b"", "accounts").line], "line 1 isn't"),
    "a sequence that is none": (
        [*LINES[:3], LINES[3].replace(b'"sequence":0', b'"sequence":true')], "line 4 isn't"),
}  # fmt: skip


@pytest.mark.parametrize(("lines", "said"), BROKEN.values(), ids=BROKEN)
def test_what_is_no_whole_export_is_refused(lines: list[bytes], said: str) -> None:
    with pytest.raises(ExportError, match=said):
        _read(lines)


def test_the_schema_describes_a_sealed_export() -> None:
    assert all(fits(line, "sealed") for line in LINES)
    assert not fits(event_line(KEPT.links[0]), "opened")


# The frozen vectors; see tests/vectors/README.md.

VECTORS: dict[str, Any] = json.loads(
    (Path(generate.__file__).parent / "checkpoint_v1.json").read_text(encoding="utf-8")
)
PUBLISHED = by_id([bytes.fromhex(VECTORS["public_key"])])


def _signed(vector: dict[str, Any]) -> Signed:
    return Signed(vector["body"].encode(), bytes.fromhex(vector["signature"]))


@pytest.mark.parametrize("vector", [*VECTORS["checkpoints"], VECTORS["control"]])
def test_a_published_checkpoint_is_read(vector: dict[str, Any]) -> None:
    found = _signed(vector)
    found.check(PUBLISHED)
    assert found.hash.hex() == vector["hash"]
    assert Signed.from_line(vector["line"]) == found
    assert found.line("control" if found.kind == "control" else "accounts") == vector["line"]
    assert key_id(bytes.fromhex(VECTORS["public_key"])).hex() == VECTORS["key_id"]
    read = ControlCheckpoint.read if found.kind == "control" else Checkpoint.read
    assert read(found.body).body == found.body


def _take(found: Signed) -> None:
    found.check(PUBLISHED)
    Checkpoint.read(found.body)


@pytest.mark.parametrize(
    "vector", VECTORS["refused"], ids=[vector["name"] for vector in VECTORS["refused"]]
)
def test_what_must_be_refused_is(vector: dict[str, Any]) -> None:
    found = _signed(vector)
    with pytest.raises(CheckpointError):
        _take(found)


def test_the_published_export_holds() -> None:
    export, faults = Export(line.encode() for line in VECTORS["export"]), Faults()
    compartment = export.header.compartment
    claims = claims_of(compartment, PUBLISHED, export.checkpoints(), (), faults)
    check = Verification(compartment, claims, faults)
    check.take(export.events())
    verdict = check.finish()
    assert verdict.holds
    assert (verdict.events, verdict.checkpoints, verdict.uncovered) == (3, 2, 0)
