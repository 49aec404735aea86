"""Looking for traces of planted secrets: in files and tables, in every encoding that hides one."""

import os
import subprocess
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.house import House


def forms(secret: bytes) -> dict[str, bytes]:
    """Return what a secret may look like; base64 at every place that it may begin at."""
    found = {
        "as it is": secret,
        "hex": secret.hex().encode(),
        "HEX": secret.hex().upper().encode(),
        "Python": repr(secret)[2:-1].encode(),
    }
    for shift in range(3):
        first, end = -(-shift * 8 // 6), (shift + len(secret)) * 8 // 6
        for name, encode in (("base64", b64encode), ("base64url", urlsafe_b64encode)):
            found[f"{name} at {shift}"] = encode(bytes(shift) + secret)[first:end]
    if secret.isascii():
        found["UTF-16"] = secret.decode().encode("utf-16-le")
        found["UTF-16, big-endian"] = secret.decode().encode("utf-16-be")
    return found


def leaks(haystacks: Mapping[str, bytes], needles: Mapping[str, bytes]) -> list[str]:
    """Return what was found where; both are by names that may be shown."""
    return [
        f"{what} in {where}"
        for where, haystack in haystacks.items()
        for what, needle in needles.items()
        if needle in haystack
    ]


@dataclass(frozen=True, slots=True)
class Files:
    """The contents of a state folder's files, by name: those that hold rows, and all others."""

    with_rows: dict[str, bytes]
    others: dict[str, bytes]


def files(house: House) -> Files:
    """Read the files of the state folder, as they are now.

    Of files with the same content one is kept: a database server has many. A copy is read, that
    another process made: whoever closes a file of SQLite's lets go of all locks on it, its own
    process's too.
    """
    with TemporaryDirectory() as folder:
        copy = Path(folder) / "state"
        done = subprocess.run(
            ["cp", "-R", house.state, copy],
            env={**os.environ, "LC_ALL": "C"},
            check=False,
            stderr=subprocess.PIPE,
            text=True,
        )
        # A database that runs takes files away meanwhile; nothing else may be left out.
        assert all("No such file" in line for line in done.stderr.splitlines()), done.stderr
        contents = {
            file.read_bytes().rstrip(b"\0"): file.relative_to(copy)
            for file in copy.rglob("*")
            if file.is_file()
        }
    found = Files({}, {})
    for content, name in contents.items():
        with_rows = name.parts[0] in ("data", "postgres")
        (found.with_rows if with_rows else found.others)[str(name)] = content
    return found


def tables(house: House) -> Iterator[tuple[str, str, bytes]]:
    """Read every table of every database: its database, its name, and all its cells."""
    names = (
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        if house.postgres
        else "SELECT name FROM sqlite_master WHERE type = 'table'"
    )
    for database in house.running.owner_urls:
        for (table,) in house.sql(database, names):
            rows = house.sql(database, f"SELECT * FROM {table}")
            cells = (cell for row in rows for cell in row)
            raw = (
                bytes(c) if isinstance(c, bytes | memoryview) else str(c).encode() for c in cells
            )
            yield database, str(table), b"\n".join(raw)
