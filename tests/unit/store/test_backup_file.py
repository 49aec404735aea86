"""The files of a backup: frozen, whole or not there, and refused at any byte that changed."""

import json
import resource
import stat
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.vectors import generate
from vault.store.backup_file import BackupError, BackupReader, BackupWriter
from vault.store.backup_format import MOST_A_ROW, Contents, Header, Kind, Layout, Row, Section

VECTORS = json.loads((Path(generate.__file__).parent / "backup_v1.json").read_text("utf-8"))[
    "files"
]
IDS = [vector["name"] for vector in VECTORS]

KEYS = Layout("keys", (("name", Kind.TEXT), ("number", Kind.INTEGER), ("raw", Kind.BYTES)), 2)
ROWS: tuple[Row, ...] = (("a", -1, b""), ("a", 2, b"\0" * 9), ("б", 0, b"raw"))
SECTION, NONE = Section(KEYS, len(ROWS)), Section(Layout("none", (("raw", Kind.BYTES),), 1), 0)
HEADER = Header(Contents.KEYS, "c0001", b"accounts: 16 byt", (SECTION, NONE))


def write(path: Path, header: Header = HEADER, *content: Sequence[Row]) -> str:
    with BackupWriter(path, header) as writer:
        for section, rows in zip(header.sections, content or (ROWS, ()), strict=True):
            writer.write(section, rows)
            writer.close_section(section)
    return writer.digest


def read(path: Path) -> tuple[Header, list[list[Row]], str]:
    with BackupReader(path) as reader:
        content = [list(reader.rows(section)) for section in reader.header.sections]
        reader.finish()
        return reader.header, content, reader.digest


@pytest.fixture
def file(tmp_path: Path) -> Path:
    write(tmp_path / "backup")
    return tmp_path / "backup"


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """And both say of it what `sha256sum` says."""
    digest = write(tmp_path / "backup")
    assert read(tmp_path / "backup") == (HEADER, [list(ROWS), []], digest)
    assert sha256((tmp_path / "backup").read_bytes()).hexdigest() == digest


def test_only_its_owner_may_read_it(file: Path) -> None:
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def _values(columns: Sequence[Any], row: Sequence[Any]) -> Row:
    kinds = [kind for _, kind in columns]
    return tuple(
        bytes.fromhex(v) if kind == "bytes" else v for kind, v in zip(kinds, row, strict=True)
    )


@pytest.mark.parametrize("vector", VECTORS, ids=IDS)
def test_a_frozen_file_is_read_and_written_alike(vector: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "frozen").write_bytes(bytes.fromhex(vector["file"]))
    header, content, _ = read(tmp_path / "frozen")
    layouts = [s["columns"] for s in vector["header"]["sections"]]
    assert content == [
        [_values(columns, row) for row in section["rows"]]
        for columns, section in zip(layouts, vector["content"], strict=True)
    ]
    assert json.loads(header.to_json()) == vector["header"]
    write(tmp_path / "again", header, *content)
    assert (tmp_path / "again").read_bytes().hex() == vector["file"]


def test_every_byte_is_held_by_a_checksum(file: Path) -> None:
    """Each byte, flipped in one bit and in all, is refused; no other error comes out."""
    whole = file.read_bytes()
    for at in range(len(whole)):
        for flip in (1, 0x80, 0xFF):
            file.write_bytes(whole[:at] + bytes((whole[at] ^ flip,)) + whole[at + 1 :])
            with pytest.raises(BackupError):
                read(file)


def test_a_file_cut_anywhere_is_refused(file: Path) -> None:
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        with pytest.raises(BackupError, match="was cut off"):
            read(file)


def _resealed(header: bytes, rest: bytes = b"") -> bytes:
    """A file whose checksums hold, for what no checksum finds."""
    start = b"piivault-backup\n\0\1" + len(header).to_bytes(4, "big") + header
    return _checked(_checked(start) + rest)


def _checked(raw: bytes) -> bytes:
    return raw + sha256(raw).digest()


def _section(*rows: bytes) -> bytes:
    return _checked(b"".join(len(row).to_bytes(4, "big") + row for row in rows))


_ONE = Header(Contents.DATA, "c0001", b"", (Section(KEYS, 2),))
_ORDERED = [KEYS.pack(row) for row in ROWS[:2]]
REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "an empty file": (lambda whole: b"", "was cut off"),
    "another kind of file": (lambda whole: b"PGDMP" + bytes(200), "is no backup of piivault"),
    "a later format": (
        lambda whole: whole[:16] + b"\0\2" + whole[18:],
        "of format 2, or damaged; this release reads 1",
    ),
    "something behind the end": (lambda whole: whole + b"\n", "something follows its end"),
    "a header that is no JSON": (lambda whole: _resealed(b"{"), "its header can't be read"),
    "a header that lacks a key": (lambda whole: _resealed(b"{}"), "its header can't be read"),
    "a header in another spelling": (
        lambda whole: _resealed(HEADER.to_json() + b" "),
        "its header can't be read",
    ),
    "an impossible length": (
        lambda whole: _resealed(_ONE.to_json(), b"\xff" * 64),
        "a length in it is impossible",
    ),
    "a row that is none": (
        lambda whole: _resealed(_ONE.to_json(), _section(b"\0\0\0\1a", b"")),
        "a row of keys can't be read",
    ),
    "a row with more than its columns": (
        lambda whole: _resealed(_ONE.to_json(), _section(_ORDERED[0] + b"\0")),
        "a row of keys can't be read",
    ),
    "text that is none": (
        lambda whole: _resealed(_ONE.to_json(), _section(_ORDERED[0].replace(b"a", b"\xff"))),
        "a row of keys can't be read",
    ),
    "rows in another order": (
        lambda whole: _resealed(_ONE.to_json(), _section(*reversed(_ORDERED))),
        "keys isn't in the order of its key",
    ),
    "a row twice": (
        lambda whole: _resealed(_ONE.to_json(), _section(_ORDERED[0], _ORDERED[0])),
        "keys isn't in the order of its key",
    ),
}


@pytest.mark.parametrize(("change", "said"), REFUSED.values(), ids=REFUSED)
def test_refused_and_said_why(file: Path, change: Callable[[bytes], bytes], said: str) -> None:
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(BackupError, match=said):
        read(file)


def test_nothing_is_overwritten(file: Path) -> None:
    whole = file.read_bytes()
    with pytest.raises(BackupError, match="exists, and nothing is overwritten"):
        write(file)
    assert file.read_bytes() == whole


def test_a_name_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "backup"
    header = Header(Contents.DATA, "c0001", b"", ())
    with pytest.raises(BackupError, match="exists"), BackupWriter(path, header):
        path.write_text("somebody else's")
    assert path.read_text() == "somebody else's"
    assert list(tmp_path.iterdir()) == [path]


def test_two_write_no_file_together(tmp_path: Path) -> None:
    (tmp_path / "backup.part").write_text("half of it")
    with pytest.raises(BackupError, match="another backup is being written there"):
        write(tmp_path / "backup")
    assert (tmp_path / "backup.part").read_text() == "half of it"


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match=r"nowhere/backup\.part: No such file or directory"):
        write(tmp_path / "nowhere" / "backup")


def test_a_disk_that_takes_no_more_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(BackupError, match="backup: File too large"):
            write(tmp_path / "backup")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def rows() -> Iterator[Row]:
        yield ROWS[0]
        raise error

    writer = BackupWriter(tmp_path / "backup", HEADER)
    with pytest.raises(error), writer:
        writer.write(SECTION, rows())
    assert list(tmp_path.iterdir()) == []


def test_rows_that_vanish_while_they_are_read_are_noticed(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="had 3 rows when counted and 2 when read"):
        write(tmp_path / "backup", HEADER, ROWS[:2], ())
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    row = ("a", 1, bytes(MOST_A_ROW))
    with pytest.raises(BackupError, match="more than 16777216 bytes"):
        write(tmp_path / "backup", HEADER, [row, *ROWS[1:]], ())
