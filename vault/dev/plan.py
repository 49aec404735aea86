"""What a stack is planned by, and the servers that it is planned to have."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vault.setup.configuration import Section
from vault.setup.processes import Process


@dataclass(frozen=True, slots=True)
class Plan:
    """What the stack has to know of an edition; `services` maps names to SPIFFE ids.

    `identity_providers` are those of the broker's configuration, as `vault.config` reads them.
    """

    trust_domain: str
    compartments: tuple[str, ...]
    services: Mapping[str, str]
    officers: tuple[str, ...] = ("aida", "bakyt")
    identity_providers: tuple[Section, ...] = ()

    def officer_id(self, name: str) -> str:
        """Return an officer's SPIFFE id."""
        return f"spiffe://{self.trust_domain}/officer/{name}"


@dataclass(frozen=True, slots=True)
class Server:
    """A gRPC server that the stack is made for: the parts that it plays, and its configuration."""

    name: str
    played: tuple[Process, ...]
    config: Path
    address: str

    @property
    def compartments(self) -> tuple[str, ...]:
        """The compartments that it is the worker of."""
        return tuple(c for p in self.played if p.role == "worker" for c in p.compartments)
