"""Who asks, and under which policy: fixed for the whole of one request."""

from collections.abc import Mapping
from dataclasses import dataclass

from vault.policy import Edition, Service
from vault.service.ledger import Ledger


@dataclass(frozen=True, slots=True, eq=False)
class PolicyState:
    """The edition in force, and all else that the control chain says."""

    current: Edition
    ledger: Ledger

    @property
    def editions(self) -> Mapping[int, Edition]:
        """All editions by number: old consents are read by theirs."""
        return self.ledger.editions


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One request about the policy itself, by an officer or (if `service` is set) a service."""

    policy: PolicyState
    service: Service | None


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request's caller. The request id is a UUID, the caller's or drawn by the server."""

    policy: PolicyState
    service: Service
    request_id: str
    repeatable: bool  # whether the request id is the caller's, so that a repetition can be told

    @property
    def edition(self) -> Edition:
        """The edition that this request is decided under."""
        return self.policy.current
