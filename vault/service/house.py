"""All that one process serves."""

from collections.abc import Mapping
from dataclasses import dataclass

from vault.errors import Reason, VaultError
from vault.service.approve import Approvals
from vault.service.audits import Audits
from vault.service.call import Call, Visit
from vault.service.compartment import ServedCompartment
from vault.service.editions import Editions
from vault.service.issuing import Issuing


@dataclass(frozen=True, slots=True, eq=False)
class House:
    """The editions, and where served: a worker's compartments, the broker, approvals, trails."""

    editions: Editions
    compartments: Mapping[str, ServedCompartment]
    broker: Issuing | None
    approvals: Approvals | None
    audits: Audits | None

    def served(self, call: Call | Visit, name: str) -> ServedCompartment:
        """Return a compartment; raise VaultError(UNKNOWN_COMPARTMENT) if it isn't served here."""
        compartment = call.edition.compartment(name)
        found = self.compartments.get(name)
        if found is None or found.uuid != compartment.uuid:
            raise VaultError(
                Reason.UNKNOWN_COMPARTMENT,
                f"The compartment {name} isn't served by this process. Ask its own worker.",
            )
        return found
