"""Verify: every envelope of a compartment opened, every row held against what belongs to it.

    report = await verify_compartment(served, editions, trail)
    report.is_clean, report.counts, report.findings

It streams: what it keeps in memory doesn't grow with the records. Traffic may run meanwhile: what
looks wrong is read once more before it is reported. It changes nothing, and shows no value.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import nullcontext

from vault.crypto.record import Address
from vault.names import PSEUDONYM_BYTES
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.trail import AuditedTrail
from vault.service.verify_record import Examiner, Looked
from vault.service.verify_report import Finding, Kind, Report
from vault.service.verify_trail import ComparedTrail, Progress
from vault.store import tables as t
from vault.store.walk import Rows, Span, count, read_one, read_rows, tombstones_among

__all__ = ["Finding", "Kind", "Report", "verify_compartment"]

_PAGE = 200
_LOOKS = 5  # at a record that keeps changing
_RUN = 32  # records side by side in a sample: pseudonyms are random, so they are strangers
_MOST_RUNS = 64


async def verify_compartment(
    served: ServedCompartment,
    editions: Editions,
    trail: AuditedTrail | None = None,
    *,
    sample: int | None = None,
    trail_begins: int | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Report:
    """Look at every record of a compartment, or at about `sample` of them.

    Without `trail` no row is held against it: neither rollbacks nor unknown changes are found.
    `trail_begins` is in microseconds since 1970, where earlier events were cut off: a record whose
    last change may be older is counted as not covered.

    Raises VaultError(KEYS_UNAVAILABLE, KEYS_SUSPENDED, STORAGE_UNAVAILABLE), ControlChainError.
    """
    report = Report(served.name, total=await count(served.database, t.records))
    whole = sample is None or sample >= report.total
    compared = ComparedTrail(trail, report, trail_begins) if trail else None
    report.trail = compared is not None
    with compared or nullcontext():
        if compared and whole:
            await compared.gather(progress)
        walk = _Walk(served, editions, compared, report)
        wanted = report.total if whole or sample is None else sample
        for most, span in _everything() if whole else _strewn(wanted):
            left: Span | None = span
            while left and (most is None or report.records < most):
                at_most = _PAGE if most is None else min(_PAGE, most - report.records)
                page, left = await read_rows(served.database, left, at_most)
                await walk.through(page)
                progress("records", report.records, max(wanted, report.records))
    return report


def _everything() -> Iterator[tuple[int | None, Span]]:
    yield None, Span()


def _strewn(wanted: int) -> Iterator[tuple[int, Span]]:
    """Yield spans that share the pseudonyms alike, from a random one on, and a growing total."""
    runs = max(1, min(_MOST_RUNS, wanted // _RUN))
    whole = 1 << 8 * PSEUDONYM_BYTES
    first = secrets.randbelow(whole)
    for run in range(runs):
        low, high = (
            ((first + whole * (run + n) // runs) % whole).to_bytes(PSEUDONYM_BYTES, "big")
            for n in (0, 1)
        )
        most = -(-wanted * (run + 1) // runs)
        if low < high:
            yield most, Span(low, high)
        else:  # past the end, and on from the start
            yield most, Span(low, None)
            yield most, Span(None, high)


class _Walk:
    """Looks at page after page, and reports."""

    def __init__(
        self,
        served: ServedCompartment,
        editions: Editions,
        compared: ComparedTrail | None,
        report: Report,
    ) -> None:
        self._served, self._editions = served, editions
        self._compared, self._report = compared, report

    async def through(self, page: Sequence[Rows]) -> None:
        """Look at each; once more, alone, at what looks wrong."""
        await self._served.look_at_keys()  # nobody else here polls who is suspended
        examiner = self._examiner()
        back = await self._tombstoned(page)
        for rows in page:
            looked = await examiner.look(rows)
            if rows.pseudonym in back:
                looked.found(Kind.ERASED_BACK)
            covered = await self._hold_against_trail(looked)
            if looked.findings:
                looked, covered = await self._again(looked)
            self._count(looked, covered)

    async def _again(self, before: Looked) -> tuple[Looked, bool | None]:
        """Look again, with the keys and editions of now, until a row stayed the same in between."""
        for _ in range(_LOOKS):
            await self._served.look_at_keys()
            await self._editions.refresh()
            rows = await read_one(self._served.database, before.rows.pseudonym)
            looked = await self._examiner().look(rows)
            if await self._tombstoned([rows]):
                looked.found(Kind.ERASED_BACK)
            covered = await self._hold_against_trail(looked)
            if not looked.findings or rows == before.rows:
                break
            before = looked
        return looked, covered

    def _examiner(self) -> Examiner:
        return Examiner(self._served, self._editions.ledger.editions)

    async def _tombstoned(self, page: Sequence[Rows]) -> frozenset[bytes]:
        """Return whose records have a tombstone: a new one lifts it, so it is an old one's."""
        tokens = {
            await self._served.tombstone(Address(self._served.uuid, rows.pseudonym)): rows.pseudonym
            for rows in page
            if rows.row is not None
        }
        found = await tombstones_among(self._served.database, tokens)
        return frozenset(tokens[token] for token in found)

    async def _hold_against_trail(self, looked: Looked) -> bool | None:
        """Compare a row with its events; return whether they cover it, None if not compared."""
        row, about = looked.rows.row, looked.about
        if self._compared is None or row is None or about is None:
            return None
        said = await self._compared.of(row, about)
        if said.over:
            kind = Kind.ERASED_BACK if said.erased else Kind.ROLLBACK
            if all(finding.kind is not kind for finding in looked.findings):
                looked.found(kind)
        elif not said.known:
            if not self._compared.is_covered(said, about):
                return False
            looked.found(Kind.UNKNOWN_CHANGE)
        return True

    def _count(self, looked: Looked, covered: bool | None) -> None:
        report, rows = self._report, looked.rows
        report.records += rows.row is not None
        report.opened += looked.is_open
        report.data_keys += len(rows.data_keys)
        report.index_rows += len(rows.index)
        report.fields += looked.fields
        report.compared += covered is True
        report.not_covered += covered is False
        report.unopened.update(looked.unopened)
        for finding in looked.findings:
            report.add(finding)
