"""Reading a compartment's trail: events opened, chains checked."""

from dataclasses import dataclass

from vault.audit.chain import Break, Link, open_event, verify
from vault.keys.keyring import KeyKind, KeyName, Keyring
from vault.sealed.v1 import sealed_pb2
from vault.store.engine import Database
from vault.store.events import read_events


@dataclass(frozen=True, slots=True)
class Trail:
    """Events in the order of time, and where the chains of their writers don't hold."""

    events: tuple[sealed_pb2.AuditEvent, ...]
    breaks: tuple[Break, ...]


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
