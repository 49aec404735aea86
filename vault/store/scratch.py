"""What a whole trail says of rows, kept aside while every record is held against it.

In a nameless database of SQLite's, which spills from memory to a temporary file and is gone when it
is closed: a trail of any length fits. It holds digests and keyed marks, cut to 16 bytes.
"""

import sqlite3
from collections.abc import Iterable

_CACHE_KIB = 64 * 1024
_BYTES = 16


class ChangedRows:
    """The rows that changes left, the marks of those that they ended, the tokens of subjects."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            f"PRAGMA cache_size = -{_CACHE_KIB}; PRAGMA journal_mode = OFF;"
            "CREATE TABLE became (digest BLOB PRIMARY KEY) WITHOUT ROWID;"
            "CREATE TABLE ended (mark BLOB PRIMARY KEY, erased INTEGER NOT NULL) WITHOUT ROWID;"
            "CREATE TABLE subjects (token BLOB PRIMARY KEY) WITHOUT ROWID;"
        )

    def add(self, changes: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        """Add changes: the digest of the row that came, the mark of the one that went, the token.

        Either of the first two may be empty; where no row came, the one that went was erased.
        """
        listed = list(changes)
        execute = self._database.executemany
        self._database.execute("BEGIN")
        execute(
            "INSERT OR IGNORE INTO became VALUES (?)",
            [(digest[:_BYTES],) for digest, _, _ in listed if digest],
        )
        execute(
            "INSERT OR IGNORE INTO ended VALUES (?, ?)",
            [(mark, not digest) for digest, mark, _ in listed if mark],
        )
        execute("INSERT OR IGNORE INTO subjects VALUES (?)", [(token,) for _, _, token in listed])
        self._database.execute("COMMIT")

    def has(self, digest: bytes) -> bool:
        """Tell whether a change left this row."""
        query = "SELECT 1 FROM became WHERE digest = ?"
        return self._database.execute(query, (digest[:_BYTES],)).fetchone() is not None

    def erased(self, mark: bytes) -> bool | None:
        """Tell whether a row that ended was erased, else replaced; None if it didn't end."""
        query = "SELECT erased FROM ended WHERE mark = ?"
        found = self._database.execute(query, (mark,)).fetchone()
        return bool(found[0]) if found else None

    def has_subject(self, tokens: Iterable[bytes]) -> bool:
        """Tell whether there is a change with one of these tokens."""
        query = "SELECT 1 FROM subjects WHERE token = ?"
        return any(self._database.execute(query, (token,)).fetchone() for token in tokens)

    def close(self) -> None:
        """Let it go, with its temporary file."""
        self._database.close()
