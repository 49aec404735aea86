"""Writing and reading the files of a backup; `backup_format` says what stands in them."""

import contextlib
import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from vault.store.backup_format import FORMAT, MAGIC, MOST_A_ROW, U16, U32, Header, Row, Section

_BUFFER = 1 << 20  # bytes
_CHECKSUM_BYTES = hashlib.sha256().digest_size


class BackupError(Exception):
    """A backup can't be written or restored; the message says why and what to do."""


class BackupWriter:
    """Writes a file, readable by its owner alone; it gets its name once it is whole.

        with BackupWriter(path, header) as writer:
            for section in header.sections:
                writer.write(section, rows)  # as often as it takes
                writer.close_section(section)
        print(writer.digest)

    `digest` is what `sha256sum` says of the file. Everything raises BackupError.
    """

    def __init__(self, path: Path, header: Header) -> None:
        self.digest = ""
        self._path, self._header = path, header
        self._part = path.with_name(path.name + ".part")
        self._whole, self._section, self._rows = hashlib.sha256(), hashlib.sha256(), 0
        refuse_existing(path)
        with _disk_errors(self._part):
            self._file = os.fdopen(_create(self._part), "wb", buffering=_BUFFER)

    def __enter__(self) -> Self:
        raw = self._header.to_json()
        self._put(MAGIC + U16.pack(FORMAT) + U32.pack(len(raw)) + raw)
        self._put(self._whole.digest())
        self._section = hashlib.sha256()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._put(self._whole.digest())
                self._publish()
        finally:
            with contextlib.suppress(OSError):
                self._file.close()
            self._part.unlink(missing_ok=True)

    def write(self, section: Section, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows to the section, which is the header's next."""
        for row in rows:
            raw = section.layout.pack(row)
            if len(raw) > MOST_A_ROW:
                raise BackupError(
                    f"A row of {section.layout.name} has more than {MOST_A_ROW} bytes, and "
                    "piivault writes none such. Have the security team look at this database."
                )
            self._put(U32.pack(len(raw)) + raw)
            self._rows += 1

    def close_section(self, section: Section) -> None:
        """End a section with its checksum."""
        if self._rows != section.rows:
            raise BackupError(
                f"{section.layout.name} had {section.rows} rows when counted and {self._rows} when "
                "read: the database gave no consistent snapshot. Nothing was written."
            )
        self._put(self._section.digest())
        self._section, self._rows = hashlib.sha256(), 0

    def _put(self, raw: bytes) -> None:
        self._whole.update(raw)
        self._section.update(raw)
        try:
            self._file.write(raw)
        except OSError as e:
            raise _disk_error(self._part, e) from None

    def _publish(self) -> None:
        with _disk_errors(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            refuse_existing(self._path)  # whoever else writes one holds another `.part`
            self._part.rename(self._path)
            _sync_folder(self._path.parent)
        self.digest = self._whole.hexdigest()


class BackupReader:
    """Reads a file and refuses it at the first byte that doesn't hold.

        with BackupReader(path) as reader:
            for section in reader.header.sections:
                for row in reader.rows(section): …
            reader.finish()

    A row is known to hold only after `finish`: do nothing before that can't be undone. `digest`
    is then what `sha256sum` says of the file. Everything raises BackupError.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.digest = path, ""
        self._whole, self._section = hashlib.sha256(), hashlib.sha256()
        with _disk_errors(path):
            self._file = path.open("rb", buffering=_BUFFER)

    def __enter__(self) -> Self:
        try:
            self.header = self._read_header()
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def rows(self, section: Section) -> Iterator[Row]:
        """Yield the rows of the header's next section, then check what was read."""
        self._section = hashlib.sha256()
        layout, last = section.layout, None
        for _ in range(section.rows):
            raw = self._take_sized()
            try:
                row = layout.unpack(raw)
            except (ValueError, struct.error):
                raise self.damaged(f"a row of {layout.name} can't be read") from None
            key = row[: layout.key]
            if last is not None and key <= last:
                raise self.damaged(f"{layout.name} isn't in the order of its key")
            last = key
            yield row
        self._check(self._section.digest(), layout.name)

    def finish(self) -> None:
        """Check that the whole file was read and holds."""
        self._check(self._whole.digest(), "the whole")
        with _disk_errors(self.path):
            if self._file.read(1):
                raise self.damaged("something follows its end")
        self.digest = self._whole.hexdigest()

    def damaged(self, what: str) -> BackupError:
        """Return the error for a file that doesn't hold."""
        return BackupError(f"{self.path} is damaged: {what}. Nothing was restored. Use a copy.")

    def _read_header(self) -> Header:
        if self._take(len(MAGIC)) != MAGIC:
            raise BackupError(f"{self.path} is no backup of piivault.")
        (format_,) = U16.unpack(self._take(U16.size))
        if format_ != FORMAT:
            raise BackupError(
                f"{self.path} is of format {format_}, or damaged; this release reads {FORMAT}. "
                "Use a release that knows it."
            )
        raw = self._take_sized()
        self._check(self._whole.digest(), "the header")
        try:
            return Header.from_json(raw)
        except (ValueError, KeyError, TypeError):
            raise self.damaged("its header can't be read") from None

    def _check(self, wanted: bytes, what: str) -> None:
        if self._take(_CHECKSUM_BYTES) != wanted:
            raise self.damaged(f"the checksum of {what} doesn't hold")

    def _take_sized(self) -> bytes:
        (size,) = U32.unpack(self._take(U32.size))
        if size > MOST_A_ROW:
            raise self.damaged("a length in it is impossible")
        return self._take(size)

    def _take(self, size: int) -> bytes:
        try:
            raw = self._file.read(size)
        except OSError as e:
            raise _disk_error(self.path, e) from None
        if len(raw) < size:
            raise self.damaged("it was cut off")
        self._whole.update(raw)
        self._section.update(raw)
        return raw


def refuse_existing(path: Path) -> None:
    """Raise BackupError if there is something under this name."""
    if path.exists() or path.is_symlink():
        raise BackupError(f"{path} exists, and nothing is overwritten. Choose another name.")


def _create(part: Path) -> int:
    try:
        return os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise BackupError(
            f"{part} exists: another backup is being written there, or one was killed. "
            "If none is running, remove it."
        ) from None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise _disk_error(path, e) from None


def _disk_error(path: Path, error: OSError) -> BackupError:
    """Say which file it was: an OSError would else be taken for the database's."""
    return BackupError(f"{path}: {error.strerror}.")
