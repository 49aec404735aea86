"""Exports of a trail: sealed, to be verified elsewhere; or opened, to be read."""

from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from vault.audit.chain import Link
from vault.audit.export import Header, checkpoint_line, end_line, event_line
from vault.audit.signed import Signed, canonical
from vault.policy import Edition, Form
from vault.sealed.v1 import sealed_pb2
from vault.service.reading import ReadEvent, TrailReader
from vault.service.verify_chains import NoTrailError
from vault.store.engine import Database
from vault.store.snapshot import Snapshot, snapshot

Progress = Callable[[str, int, int], None]  # what, how many are done, how many there are
_UNKNOWN = "unknown"  # a number that this release has no word for
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _silent(what: str, done: int, total: int) -> None:
    pass


async def sealed_lines(
    database: Database, name: str, progress: Progress = _silent
) -> AsyncIterator[bytes]:
    """Yield a whole trail as it is stored, with its checkpoints: one moment of it.

    Raises NoTrailError, VaultError(STORAGE_UNAVAILABLE).
    """
    checkpoints = events = 0
    async with snapshot(database) as trail:
        yield Header(await _compartment(trail), name).line
        async for rows in trail.checkpoints():
            checkpoints += len(rows)
            yield b"".join(
                checkpoint_line(row.number, Signed(row.body, row.signature)) for row in rows
            )
        total = await trail.count()
        progress("events", events, total)
        async for stored in trail.events():
            events += len(stored)
            yield b"".join(event_line(Link(*row)) for row in stored)
            progress("events", events, total)
    yield end_line(checkpoints, events)


async def opened_lines(
    reader: TrailReader,
    name: str,
    editions: Mapping[int, Edition],
    progress: Progress = _silent,
) -> AsyncIterator[bytes]:
    """Yield a whole trail for people to read. No value, no pseudonym and no token is in it.

    Raises NoTrailError, VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE).
    """
    events = 0
    async with snapshot(reader.database) as trail:
        yield Header(await _compartment(trail), name, "opened").line
        total = await trail.count()
        progress("events", events, total)
        async for rows in trail.events():
            opened = await reader.opened(rows)
            events += len(opened)
            yield b"".join(canonical(told(event, name, editions)) + b"\n" for event in opened)
            progress("events", events, total)
    yield end_line(0, events)


def told(event: ReadEvent, compartment: str, editions: Mapping[int, Edition]) -> dict[str, Any]:
    """Return what an opened export says of an event."""
    body = event.body
    place = {"sequence": event.sequence, "type": "event", "writer": event.writer.hex()}
    if event.damaged:
        return {**place, "damaged": True, "reason": body.reason}
    edition = editions.get(body.edition)
    declared = edition.compartments.get(compartment) if edition else None
    names = {uid: field.name for uid, field in declared.by_uid.items()} if declared else {}
    at = _EPOCH + timedelta(microseconds=body.at)
    return {
        **place,
        "at": at.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "compartment": body.compartment,
        "count": event.stands_for,
        "edition": body.edition,
        "fields": [_use(use, names) for use in body.fields],
        "operation": body.operation,
        "outcome": _outcome(body.outcome),
        "owner": body.owner,
        "purpose": body.purpose,
        "reason": body.reason,
        "recipient": body.recipient,
        "request_id": body.request_id,
        "service": body.service,
    }


def _outcome(number: sealed_pb2.Outcome.ValueType) -> str:
    known = number in sealed_pb2.Outcome.values()
    return sealed_pb2.Outcome.Name(number).removeprefix("OUTCOME_").lower() if known else _UNKNOWN


def _use(use: sealed_pb2.FieldUse, names: Mapping[int, str]) -> dict[str, Any]:
    try:
        form = Form(use.form).word if use.form else ""
    except ValueError:
        form = _UNKNOWN
    return {"form": form, "name": names.get(use.uid, ""), "uid": use.uid}


async def _compartment(trail: Snapshot) -> bytes:
    found = await trail.compartment()
    if found is None:
        raise NoTrailError("No process ever served this compartment: it has no trail.")
    return found
