"""What an edition owes the editions before it."""

from collections.abc import Mapping

from vault.policy.edition import Edition
from vault.policy.faults import EditionError, Fault


def check_succession(
    before: Mapping[int, Edition], edition: Edition, touched: Mapping[str, frozenset[bytes]]
) -> None:
    """Raise EditionError unless the edition may follow those before it."""
    newest = before[max(before)] if before else None
    number = newest.number + 1 if newest else 1
    if edition.number != number or edition.predecessor != (newest.digest if newest else None):
        raise EditionError([Fault(1, "edition", f"should be {number}, and name its predecessor")])


def needs_officers(before: Edition | None, edition: Edition) -> int:
    """Return how many officers must sign an edition."""
    new = edition.joinable.keys() - (before.joinable.keys() if before else set())
    return 2 if before and new else 1
