"""What the audit trail says of rows: that a change left one, that a change ended one.

A change's event has the digest of the row that came, and a mark of the row that went. The mark is
keyed by the salt inside that row: so a row that is opened can be told to be over, exactly, and
the trail alone shows nobody which changes were of one record.

The whole trail is read once, before the rows: what ended by then can't be there any more. A row
that came since is looked for by its subject's tokens. For a sample, all is looked for so.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

from vault.audit.chain import Link, open_event
from vault.audit.event import ALLOWED, replaced_mark, token
from vault.crypto.primitives import DamagedError
from vault.crypto.record import SealedRecord
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, WrappedKey
from vault.sealed.v1 import sealed_pb2
from vault.service.trail import AuditedTrail
from vault.service.verify_report import MOST_FINDINGS, Finding, Kind, Report
from vault.store import tables as t
from vault.store.events import StoredEvent, read_events
from vault.store.lookups import Lookups
from vault.store.scratch import ChangedRows
from vault.store.walk import count, events_of

_BATCH = 500
_SECOND = 1_000_000  # in microseconds, as the trail counts
_DAY = 24 * 3600 * _SECOND

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Said:
    """What the trail says of one row.

    known    a change left it
    over     a change ended it; `erased` if nothing came in its place
    changed  some change of its subject is in the trail, this row's or another's
    """

    known: bool = False
    over: bool = False
    erased: bool = False
    changed: bool = False


class ComparedTrail:
    """A trail to hold rows against. `begins` is in microseconds: earlier events were cut off.

    It reports how many events it read, and those that didn't open.
    """

    def __init__(self, trail: AuditedTrail, report: Report, begins: int | None = None) -> None:
        self._trail = trail
        self._report = report
        self._begins = begins
        self._damaged: set[str] = set()
        self._unread: set[int] = set()  # versions of the audit key that nobody may read with
        self._gathered: ChangedRows | None = None
        self._since = time.time_ns() // 1000

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._gathered is not None:
            self._gathered.close()

    async def gather(self, progress: Progress) -> None:
        """Read the whole trail. Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE)."""
        database = self._trail.database
        total = await count(database, t.audit)
        gathered = self._gathered = ChangedRows()
        read, batch = 0, []
        async for stored in read_events(database):
            read += 1
            body = await self._open(stored)
            if body is not None and _is_change(body):
                batch.append((body.row_digest, body.replaces, stored[3]))
            if read % _BATCH == 0:
                gathered.add(batch)
                batch.clear()
                progress("audit trail", read, max(total, read))
        gathered.add(batch)
        progress("audit trail", read, read)
        self._report.events = read

    async def of(self, row: SealedRecord, about: sealed_pb2.Record) -> Said:
        """Return what the trail says of a row that was just read.

        Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE).
        """
        salt, mark = about.audit_salt, replaced_mark(about.audit_salt, row.digest)
        since, known, changed = self._first_day(about), False, False
        if self._gathered is not None:
            erased = self._gathered.erased(mark)
            known = self._gathered.has(row.digest)
            if known or erased is not None:
                return Said(known, erased is not None, bool(erased), True)
            changed = self._is_cut(about) and self._gathered.has_subject(
                subject_tokens(salt, since)
            )
            since = max(since, self._since - _DAY)
        said = Said(changed=changed)
        for tokens in batches(subject_tokens(salt, since)):
            said = await self._look_up(tokens, row.digest, mark, said)
            if said.over or (said.known and self._gathered is not None):
                break
        return said

    def is_covered(self, said: Said, about: sealed_pb2.Record) -> bool:
        """Tell whether the trail would have the row's change: it reaches back far enough.

        Nothing is told of a row whose change may be among events that can't be read.
        """
        return not self._unread and (said.changed or not self._is_cut(about))

    def _is_cut(self, about: sealed_pb2.Record) -> bool:
        return self._begins is not None and about.registered_at * _SECOND < self._begins

    def _first_day(self, about: sealed_pb2.Record) -> int:
        return max(first_day(about), (self._begins or 0) - _DAY)

    async def _look_up(
        self, tokens: Sequence[bytes], digest: bytes, mark: bytes, said: Said
    ) -> Said:
        known, over, erased, changed = said.known, said.over, said.erased, said.changed
        for stored in await events_of(self._trail.database, tokens):
            body = await self._open(stored)
            if body is not None and _is_change(body):
                changed = True
                known |= body.row_digest == digest
                if body.replaces == mark:
                    over, erased = True, not body.row_digest
        return Said(known, over, erased, changed)

    async def _open(self, stored: StoredEvent) -> sealed_pb2.AuditEvent | None:
        link = Link(*stored)
        try:
            key = await self._key(link.key_version)
            return None if key is None else open_event(key, self._trail.compartment, link)
        except DamagedError:
            where = f"{link.writer.hex()} {link.sequence}"
            if where not in self._damaged and len(self._damaged) < MOST_FINDINGS:
                self._damaged.add(where)
                finding = Finding(Kind.DAMAGED_EVENT, "audit", "writer, sequence", where)
                self._report.add(finding)
            return None

    async def _key(self, version: int) -> bytes | None:
        """Return a version of the audit key; None where it was stopped, which is noted."""
        try:
            return await self._found_key(KeyName(KeyKind.AUDIT, version))
        except VaultError as e:
            if e.reason not in (Reason.KEYS_SUSPENDED, Reason.KEY_DESTROYED):
                raise
            if version not in self._unread:
                self._unread.add(version)
                self._report.unopened[str(e.reason)] += 1
        return None

    async def _found_key(self, name: KeyName) -> bytes:
        keyring = self._trail.keyring
        try:
            return await keyring.get(name)
        except VaultError as e:
            if e.reason is not Reason.DAMAGED:
                raise
        rows = await Lookups(self._trail.database).keyring()  # is it newer than our start?
        names = [KeyName(KeyKind(row.kind), row.version, row.field) for row in rows]
        keyring.hold(
            [WrappedKey(n, row.state, row.wrapped) for n, row in zip(names, rows, strict=True)]
        )
        try:
            return await keyring.get(name)
        except VaultError as e:
            if e.reason is Reason.DAMAGED:
                raise DamagedError("its key isn't in the keyring, or doesn't open") from None
            raise


def _is_change(body: sealed_pb2.AuditEvent) -> bool:
    return body.outcome == ALLOWED and bool(body.row_digest or body.replaces)


def first_day(about: sealed_pb2.Record) -> int:
    """Return a moment, in microseconds, before which a record has no events."""
    # A day's grace: clocks differ, and an event has the time at which its request came.
    return about.registered_at * _SECOND - _DAY


def subject_tokens(salt: bytes, since: int, until: int | None = None) -> Iterator[bytes]:
    """Yield a subject's tokens of each day, from a moment's back to another's.

    From tomorrow's, unless told otherwise: clocks differ.
    """
    day = time.time_ns() // 1000 + _DAY if until is None else until
    while day // _DAY >= since // _DAY:
        yield token(salt, day)
        day -= _DAY


def batches(tokens: Iterator[bytes]) -> Iterator[list[bytes]]:
    """Yield tokens, as many at a time as are looked up together."""
    while batch := list(islice(tokens, _BATCH)):
        yield batch
