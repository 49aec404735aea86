"""Why a service may or may not: rule by rule."""

from collections.abc import Sequence
from dataclasses import dataclass

from vault.policy.decide import Allowed, decide
from vault.policy.edition import Edition, Service
from vault.policy.vocabulary import Operation


@dataclass(frozen=True, slots=True)
class Step:
    """One rule, and whether it lets the request pass."""

    rule: str
    holds: bool
    sentence: str


def explain(
    edition: Edition,
    service: Service,
    purpose: str,
    compartment: str,
    operation: Operation,
    fields: Sequence[str],
) -> tuple[Step, ...]:
    """Return the rules in the order in which they are asked."""
    decision = decide(edition, service, purpose, compartment, operation, fields)
    if isinstance(decision, Allowed):
        return (Step("grant", True, "granted"),)
    return (Step(decision.reason.lower(), False, decision.message),)
