"""Reading a compartment's trail: events opened, chains checked, by keys that may be used."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vault.audit.chain import Break, Link, open_event, verify
from vault.keys.key import READS, KeyKind, KeyName, Standing, WrappedKey
from vault.keys.keyring import Keyring, clock
from vault.sealed.v1 import sealed_pb2
from vault.service.key_rows import key_of
from vault.store.engine import Database
from vault.store.events import read_events
from vault.store.lookups import Lookups

log = logging.getLogger("piivault.audit")


@dataclass(frozen=True, slots=True)
class Trail:
    """Events in the order of time, and where the chains of their writers don't hold."""

    events: tuple[sealed_pb2.AuditEvent, ...]
    breaks: tuple[Break, ...]


def follow_states(name: str, keyring: Keyring, database: Database, stale_after: float) -> None:
    """Have a trail's keyring use a key only if the database let it, so many seconds ago at most.

    A worker may begin, and an officer rotate, suspend or destroy, while an auditor reads. The
    database is looked at where a key is asked for. A compartment that is suspended as a whole has
    its trail go on.
    """
    lookups = Lookups(database)

    async def look(_: Standing) -> None:
        at = clock()
        rows = [key_of(row) for row in await lookups.keyring() if row.kind == KeyKind.AUDIT]
        known, stopped = _stopped(keyring.rows), _stopped(rows)
        for version in sorted(stopped.keys() - known.keys()):
            log.warning(
                "the trail of %s: events under version %d of the audit key are not opened: %s",
                *(name, version, stopped[version]),
            )
        # What is an epoch here: a key was stopped, or goes on, so that none in clear stays.
        keyring.adopt(Standing(keyring.epoch + (known != stopped), False, rows, at))

    keyring.watch(look, stale_after)


def _stopped(rows: Iterable[WrappedKey]) -> Mapping[int, str]:
    return {row.name.version: row.state for row in rows if row.state not in READS}


@dataclass(frozen=True, slots=True)
class AuditedTrail:
    """A compartment's trail as the auditor opens it."""

    compartment: bytes
    database: Database
    keyring: Keyring

    async def of_request(self, request_id: str) -> list[sealed_pb2.AuditEvent]:
        """Return the events that a request left, in the order of time."""
        trail = await read_trail(self.compartment, self.database, self.keyring)
        return [event for event in trail.events if event.request_id == request_id]


async def read_trail(compartment: bytes, database: Database, keyring: Keyring) -> Trail:
    """Open all events of a compartment, by a login that may read them.

    Raises VaultError(STORAGE_UNAVAILABLE, KEYS_UNAVAILABLE), DamagedError.
    """
    links = [Link(*row) async for row in read_events(database)]
    events = []
    for link in links:
        key = await keyring.get(KeyName(KeyKind.AUDIT, link.key_version))
        events.append(open_event(key, compartment, link))
    events.sort(key=lambda event: event.at)
    return Trail(tuple(events), tuple(verify(compartment, links)))
