"""Issuing, as it is served: no pseudonym is answered before its event is durable.

The event says who asked for which compartment, and what became of it. Nothing in it comes from the
subject: its token is random, as that of an event that met no record.
"""

import asyncio

from vault.audit import event as audit
from vault.audit.event import Event
from vault.errors import Reason, VaultError
from vault.service.attempt import refused, unanswered
from vault.service.broker_trail import BrokerTrail
from vault.service.call import Call
from vault.service.issue import Broker, Issued

OPERATION = "issue"


class Issuing:
    """The broker, with its trail."""

    def __init__(self, broker: Broker, trail: BrokerTrail) -> None:
        self._broker = broker
        self.trail = trail

    async def issue(
        self,
        call: Call,
        compartment: str,
        root_id: bytes,
        subject_assertion: str = "",
        export_key: bytes = b"",
    ) -> Issued:
        """Return what the broker issues, once the trail says so.

        Whatever it raises is recorded before the caller hears of it. If the trail can't be
        written, the answer is VaultError(AUDIT_UNAVAILABLE). Raises what `Broker.issue` raises.
        """
        event, call.trace.has_event = _event(call, compartment), True
        try:
            issued = await self._broker.issue(
                call, compartment, root_id, subject_assertion, export_key
            )
        except asyncio.CancelledError:
            self.trail.flood.note(unanswered(event))
            raise
        except VaultError as e:
            await self.trail.flood.refuse(refused(event, e))
            raise
        except Exception:
            fault = VaultError(Reason.INTERNAL, "a fault of the server's")
            await self.trail.flood.refuse(refused(event, fault))
            raise
        try:
            await self.trail.record(event)
        except VaultError as e:
            self.trail.flood.count(refused(event, e))
            raise
        return issued


def _event(call: Call, compartment: str) -> Event:
    # A name that isn't in the edition may be anything: only known words enter the trail.
    known = compartment if compartment in call.edition.compartments else ""
    return Event(
        edition=call.edition.number,
        service=call.service.name,
        owner=call.service.owner,
        purpose="",
        operation=OPERATION,
        request_id=call.request_id,
        outcome=audit.ALLOWED,
        compartment=known,
    )
