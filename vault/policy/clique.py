"""Whether anybody would hold compartments that must not be joined (clause 2.4 d).

Hold now, by an edition's grants, or together with what they touched under earlier ones.

"Joinable" is declared, symmetric and never transitive: that A goes with B, and B with C,
says nothing of A with C. Whoever reaches several compartments must therefore be allowed each
pair of them: what they reach must be a clique. Nothing here computes a closure.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal, NamedTuple

Pair = frozenset[str]


class Holder(NamedTuple):
    """Who reaches compartments: a service by itself, or an owner through all of theirs."""

    kind: Literal["service", "owner"]
    name: str


@dataclass(frozen=True, slots=True)
class Conflict:
    """A pair of compartments that somebody would hold and that isn't joinable."""

    holder: Holder
    first: str
    second: str

    @property
    def message(self) -> str:
        """What to change, in a sentence."""
        kind, name = self.holder
        return (
            f"the {kind} {name} would hold both {self.first} and {self.second}, which aren't "
            f"joinable: take one of them away from it, or declare the pair joinable with its reason"
        )


def reach(
    grants: Iterable[tuple[str, str]], owner_of: Mapping[str, str]
) -> dict[Holder, dict[str, int]]:
    """Return what each service, and each owner through its services, reaches.

    Takes grants as (service, compartment), whatever the operation, and the owner of each service
    that isn't subject-facing; others reach nothing. Services come before owners; each compartment
    comes with the place of the last grant that reaches it.
    """
    services: dict[Holder, dict[str, int]] = {}
    owners: dict[Holder, dict[str, int]] = {}
    for place, (service, compartment) in enumerate(grants):
        if owner := owner_of.get(service):
            services.setdefault(Holder("service", service), {})[compartment] = place
            owners.setdefault(Holder("owner", owner), {})[compartment] = place
    return services | owners


def conflicts(
    reached: Mapping[Holder, Collection[str]], joinable: Collection[Pair]
) -> Iterator[Conflict]:
    """Yield every pair that a holder reaches and that isn't joinable, holders in their order."""
    for holder, compartments in reached.items():
        for first, second in combinations(sorted(compartments), 2):
            if frozenset((first, second)) not in joinable:
                yield Conflict(holder, first, second)


Reached = tuple[str, bytes]
"""An owner's id, and the uuid of a compartment that its services reach."""


def rejoined(
    held: Collection[Reached],
    granted: Iterable[Reached],
    touched: Mapping[str, Collection[bytes]],
    joinable: Collection[frozenset[bytes]],
) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield (owner, granted, touched) where a grant would join what history keeps apart.

    What an owner is granted and didn't hold under the last edition must be joinable with each
    compartment that it ever touched (uuids by the owner's id): what was seen isn't forgotten.
    """
    for owner, compartment in granted:
        if (owner, compartment) not in held:
            for other in sorted(touched.get(owner, ())):
                if other != compartment and frozenset((compartment, other)) not in joinable:
                    yield owner, compartment, other
