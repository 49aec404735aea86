"""Who asks, and under which policy: fixed for the whole of one request."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vault.policy import Allowed, Edition, FieldUse, Operation, Service, decide


@dataclass(frozen=True, slots=True, eq=False)
class PolicyState:
    """The edition in force, and all editions by number: old consents are read by theirs."""

    current: Edition
    editions: Mapping[int, Edition]


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

    def granted(
        self, purpose: str, compartment: str, operation: Operation, fields: Sequence[str]
    ) -> tuple[FieldUse, ...]:
        """Return the fields in the forms that the caller's grant gives, or raise the denial.

        Decided on the edition alone, before any data is looked at: so it tells nothing about data.
        """
        decision = decide(self.edition, self.service, purpose, compartment, operation, fields)
        if isinstance(decision, Allowed):
            return decision.uses
        raise decision.error()
