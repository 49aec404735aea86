"""Verifying trails, from their database or from an export: with public keys, and no key server."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from vault.audit.chain import Link
from vault.audit.checkpoint import Checkpoint, ControlCheckpoint
from vault.audit.claims import Claims
from vault.audit.export import Export, Header
from vault.audit.faults import Fault, Faults
from vault.audit.signed import COMPARTMENT, CONTROL, CheckpointError, Signed
from vault.audit.verification import Verdict, Verification
from vault.service.ledger import Entry
from vault.store.control import ControlChain
from vault.store.engine import Database
from vault.store.snapshot import BATCH, snapshot

Progress = Callable[[str, int, int], None]  # what, how many are done, how many there are
Keys = Mapping[bytes, bytes]  # public keys by key id
Shipped = tuple[str, Signed]  # where it was read, and what


class NoTrailError(Exception):
    """There is nothing to verify; the message says why.

    `lost` says whether there should be a trail: something was shipped, or it is another's.
    """

    def __init__(self, message: str, *, lost: bool = False) -> None:
        super().__init__(message)
        self.lost = lost


@dataclass(frozen=True, slots=True)
class ShippedFile:
    """A file of shipped checkpoints, read anew each time: it may be larger than memory.

    What else stands in it is passed over: lines of a log, or one that a crash cut off.
    """

    file: Path

    def of(self, compartment: bytes) -> Iterator[Shipped]:
        """Yield those of a compartment, their signatures unchecked."""
        return self._lines(COMPARTMENT, compartment.hex().encode())

    def control(self) -> Iterator[Shipped]:
        """Yield those of the control chain, their signatures unchecked."""
        return self._lines(CONTROL, b"")

    def is_about(self, name: str, uuid: bytes | None, keys: Keys) -> bool:
        """Tell whether a checkpoint of a compartment was shipped, by its name or its uuid.

        The name isn't signed, but whoever ships writes no other.
        """
        with self.file.open("rb") as lines:
            for line in lines:
                try:
                    signed = Signed.from_line(line)
                    checkpoint = Checkpoint.read(signed.body)
                    signed.check(keys)
                except CheckpointError:
                    continue
                if checkpoint.compartment == uuid or json.loads(line).get("name") == name:
                    return True
        return False

    def damaged(self) -> int:
        """Return how many lines speak of a checkpoint and aren't one that can be read."""
        with self.file.open("rb") as lines:
            return sum(b'"checkpoint"' in line and not _is_whole(line) for line in lines)

    def _lines(self, kind: str, mark: bytes) -> Iterator[Shipped]:
        last = b""
        with self.file.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if mark not in line or line == last:  # it may be shipped twice, after a crash
                    continue
                last = line
                try:
                    signed = Signed.from_line(line)
                    if signed.kind != kind:
                        continue
                    if kind == COMPARTMENT and Checkpoint.read(signed.body).compartment.hex() != (
                        mark.decode()
                    ):
                        continue
                except CheckpointError:
                    continue
                yield f"line {number} of {self.file}", signed


def _is_whole(line: bytes) -> bool:
    try:
        signed = Signed.from_line(line)
        read = Checkpoint.read if signed.kind == COMPARTMENT else ControlCheckpoint.read
        read(signed.body)
    except CheckpointError:
        return False
    return True


async def verify_database(
    database: Database,
    shipped: ShippedFile | None,
    keys: Keys,
    progress: Progress = lambda what, done, total: None,
    uuid: bytes | None = None,
) -> Verdict:
    """Verify a compartment's trail as it is stored.

    `uuid` is the compartment's, where it is known from elsewhere. Where it isn't, a file of shipped
    checkpoints must have some of it: else a trail put in another's place would hold. Raises
    NoTrailError, VaultError(STORAGE_UNAVAILABLE).
    """
    faults = Faults()
    async with snapshot(database) as trail:
        found = await trail.compartment()
        if found is None:
            raise NoTrailError(
                "There is no trail: no process ever served this compartment, or all of it is gone."
            )
        if uuid is not None and found != uuid:
            raise NoTrailError(
                "This database is of another compartment: check the `url` in the configuration. If "
                "that is right, somebody changed whose it is.",
                lost=True,
            )
        claims = Claims(found, keys, faults)
        _take_shipped(claims, shipped, found)
        async for rows in trail.checkpoints():
            for row in rows:
                claims.store(row.number, Signed(row.body, row.signature))
        if uuid is not None and not claims.stored:
            claims.expects_shipped = False  # a new one: what is shipped of it counts all the same
        claims.settle()
        check = Verification(found, claims, faults)
        total, done = await trail.count(), 0
        progress("events", done, total)
        async for events in trail.events():
            check.take(Link(*event) for event in events)
            done += len(events)
            progress("events", done, total)
    return check.finish()


def verify_export(
    lines: Iterable[bytes],
    shipped: ShippedFile | None,
    keys: Keys,
    progress: Progress = lambda what, done, total: None,
) -> tuple[Header, Verdict]:
    """Verify a sealed export; return what it says of itself, too. Raises ExportError."""
    export, faults = Export(iter(lines)), Faults()
    compartment = export.header.compartment
    claims = Claims(compartment, keys, faults)
    _take_shipped(claims, shipped, compartment)
    for number, signed in export.checkpoints():
        claims.store(number, signed)
    claims.settle()
    check, events, done = Verification(compartment, claims, faults), export.events(), 0
    while batch := list(islice(events, BATCH)):
        check.take(batch)
        done += len(batch)
        progress("events", done, 0)
    return export.header, check.finish()


def _take_shipped(claims: Claims, shipped: ShippedFile | None, compartment: bytes) -> None:
    if shipped is not None:
        claims.expects_shipped = True
        for where, signed in shipped.of(compartment):
            claims.ship(where, signed)


@dataclass(frozen=True, slots=True)
class ControlVerdict:
    """What was found of the control chain: its entries, and what doesn't hold."""

    entries: int
    checkpoints: int
    faults: Faults


async def verify_control(
    chain: ControlChain, shipped: ShippedFile | None, keys: Keys
) -> ControlVerdict:
    """Verify the control chain's links, and its ends that were shipped.

    Who signed an entry, and whether it may take effect, is checked by whoever reads the chain.
    Raises VaultError(STORAGE_UNAVAILABLE).
    """
    faults, count = Faults(), 0
    claimed: dict[int, tuple[bytes, str]] = {}
    for where, signed in shipped.control() if shipped else ():
        count += 1
        try:
            signed.check(keys)
            end = ControlCheckpoint.read(signed.body)
        except CheckpointError as e:
            faults.add(Fault(f"{where} {e}"))
            continue
        if claimed.setdefault(end.sequence, (end.head, where))[0] != end.head:
            faults.add(Fault(f"{where}: another entry {end.sequence} was shipped before"))
    sequence, previous = 0, bytes(32)
    for row in await chain.since(0):
        entry = Entry(row.sequence, row.previous, row.kind, row.body, row.signatures)
        if (entry.sequence, entry.previous) != (sequence + 1, previous):
            what = "doesn't follow from the one before it"
            faults.add(Fault(f"entry {entry.sequence} of the control chain {what}"))
        sequence, previous = entry.sequence, entry.hash
        head, where = claimed.pop(sequence, (previous, ""))
        if head != previous:
            what = f"entry {sequence} of the control chain isn't the one shipped in {where}"
            faults.add(Fault(what))
    for lost in sorted(claimed):
        what = f"entry {lost} of the control chain was shipped, and isn't stored: it was cut off"
        faults.add(Fault(what))
    return ControlVerdict(sequence, count, faults)
