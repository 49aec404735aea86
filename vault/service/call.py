"""Who asks, and under which policy: fixed for the whole of one request."""

from collections.abc import Mapping
from dataclasses import field

from vault.frozen import dataclass
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


@dataclass(slots=True)
class Trace:
    """Whether a request left an event of its own; whoever writes one says so."""

    has_event: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Visit:
    """One request by an officer, or (if `service` is set) a service's about the policy itself."""

    policy: PolicyState
    service: Service | None
    officer: str  # the name in the configuration; empty for a service
    request_id: str
    trace: Trace = field(default_factory=Trace)

    @property
    def edition(self) -> Edition:
        """The edition in force."""
        return self.policy.current


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One request's caller. The request id is a UUID, the caller's or drawn by the server."""

    policy: PolicyState
    service: Service
    request_id: str
    repeatable: bool  # whether the request id is the caller's, so that a repetition can be told
    trace: Trace = field(default_factory=Trace)

    @property
    def edition(self) -> Edition:
        """The edition that this request is decided under."""
        return self.policy.current

    def under(self, request_id: str) -> "Call":
        """Return the same caller, with a request of its own under an id that may come again."""
        return Call(self.policy, self.service, request_id, repeatable=True)

    def anew(self) -> "Call":
        """Return the same request, for one more thing that has an event of its own."""
        return Call(self.policy, self.service, self.request_id, self.repeatable)
