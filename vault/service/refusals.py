"""What is refused outside every use case is an event, too: by the guard, or beside it.

Whoever is turned away before the message is read left nothing to go by: nobody parses what a
stranger sent. So it is an event in the trail of each compartment that this process writes for the
service that was called, most often one; what was read goes into the trail of the compartment that
it names. PolicyService and AuditService have no such trail: the control chain has officers' words
alone, and the auditor may only read.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.service.attempt import refused
from vault.service.call import Trace
from vault.service.flood import Flood

# Methods for many are one operation with the method for one, as in editions.
_AS_ONE = {
    "batch_reveal": "reveal",
    "stream_reveal": "reveal",
    "bulk_put": "put",
    "list_records": "list",
}
PATIENCE = 1.0  # seconds that a refusal waits for its event

_BROKERS = "piivault.v1.PseudonymService"
_KEYS = "piivault.v1.KeyService"
_WORKERS = frozenset({"piivault.v1.RecordService", "piivault.v1.SubjectService", _KEYS})


class RefusalTrail(Protocol):
    """A trail that this process writes: a compartment's, or the broker's."""

    @property
    def flood(self) -> Flood:
        """What stores refusals, and counts them where they are many."""


@dataclass(slots=True)
class Asked:
    """What is known of a call so far; `method` is its full name.

    What isn't known is empty, and so is whatever came from a caller who wasn't admitted.
    """

    method: str
    request_id: str
    edition: int = 0  # 0 where no edition could be confirmed
    service: str = audit.UNKNOWN_CALLER  # as an event has it
    owner: str = ""
    purpose: str = ""  # of the edition
    compartment: str = ""  # of the edition
    trace: Trace = field(default_factory=Trace)


class Refusals:
    """Sees to it that every refusal is an event, in the trails that this process writes."""

    def __init__(
        self, compartments: Mapping[str, RefusalTrail], broker: RefusalTrail | None
    ) -> None:
        self._compartments, self._broker = compartments, broker

    async def note(self, asked: Asked, error: VaultError) -> None:
        """Have a refusal stored, unless the request left an event.

        Waits until it is durable, but not for long: where a trail can't be written, readiness says
        so, and the event is stored when it can be.
        """
        if asked.trace.has_event:
            return
        event = refused(_event(asked), error)
        if error.reason is Reason.OVERLOADED:  # to store each would be the work that it spares
            for trail in self._trails(asked):
                trail.flood.count(event)
            return
        noted = [trail.flood.note(event) for trail in self._trails(asked)]
        if storing := [task for task in noted if task is not None]:
            await asyncio.wait(storing, timeout=PATIENCE)

    def _trails(self, asked: Asked) -> Sequence[RefusalTrail]:
        called = _service(asked.method)
        if called == _BROKERS:
            return [self._broker] if self._broker else []
        if called not in _WORKERS:
            return []
        named = self._compartments.get(asked.compartment)
        return [named] if named else list(self._compartments.values())


def _service(method: str) -> str:
    return method.strip("/").partition("/")[0]


def _event(asked: Asked) -> Event:
    called = _service(asked.method)
    return Event(
        edition=asked.edition,
        service=asked.service,
        owner=asked.owner,
        purpose=asked.purpose,
        operation=_operation(asked.method),
        request_id=asked.request_id,
        outcome=audit.DENIED,
        compartment=asked.compartment if called == _BROKERS else "",
    )


def _operation(method: str) -> str:
    """Return a method's name as events have operations: `grant_consent`, `keys.suspend`."""
    service, _, name = method.strip("/").partition("/")
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    return f"keys.{words}" if service == _KEYS else _AS_ONE.get(words, words)
