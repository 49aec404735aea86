"""The processes of a deployment: a worker a compartment, the broker, control, the auditor."""

from collections.abc import Iterable
from dataclasses import dataclass

from vault.config import Role
from vault.names import BROKER
from vault.store.rights import auditor_role, control_role, worker_role


@dataclass(frozen=True, slots=True)
class Process:
    """One process, and the compartments whose databases it opens."""

    name: str
    role: Role
    compartments: tuple[str, ...] = ()

    @property
    def login(self) -> str | None:
        """Its policy and AppRole at the key server; control has no business there."""
        return None if self.role == "control" else f"piivault-{self.name}"

    @property
    def control_role(self) -> str:
        """Its role in the control database."""
        if self.role == "control":
            return control_role()
        return control_role(self.compartments[0] if self.role == "worker" else self.name)

    def database_role(self, compartment: str) -> str:
        """Its role in a compartment's database, or in that of the broker's trail."""
        of = auditor_role if self.role == "auditor" else worker_role
        return of(compartment)

    @property
    def trail_role(self) -> str | None:
        """Its role in the database of the broker's trail: the broker's own, the auditor's."""
        return self.database_role(BROKER) if self.role in ("broker", "auditor") else None


def processes(compartments: Iterable[str]) -> tuple[Process, ...]:
    """Return all processes of a deployment."""
    compartments = tuple(compartments)
    workers = (Process(f"worker-{c}", "worker", (c,)) for c in compartments)
    auditor = Process("auditor", "auditor", compartments)
    return (Process("control", "control"), Process("broker", "broker"), *workers, auditor)
