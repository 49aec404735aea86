"""What the law makes the operator keep of a record that its subject erases.

The edition names it: fields of a compartment, under a purpose that rests on a legal obligation.
What the subject was told at collection binds here too: what a later edition adds isn't kept.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vault.policy.edition import Edition
from vault.policy.told import ConsentGiven, Told, in_force, latest
from vault.policy.vocabulary import Basis


@dataclass(frozen=True, slots=True)
class Kept:
    """Fields, by uid, that are kept under one purpose alone, and until when."""

    purpose: str
    basis: Basis
    uids: frozenset[int]
    until: datetime


def kept_by_law(
    editions: Mapping[int, Edition],
    current: Edition,
    compartment: str,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    held: Collection[int],
    now: datetime,
) -> tuple[Kept, ...]:
    """Return what must be kept of the fields that a record holds, sorted by purpose.

    A purpose's time runs as ever: from the registration, or from the subject's own word on it.
    """
    uuid = current.compartment(compartment).uuid
    found = []
    for present in current.terms.values():
        if present.compartment != uuid or not present.kept:
            continue
        given = latest(consents, present.purpose)
        since = given.given_at if given else registered_at
        edition = editions.get(given.edition) if given else in_force(editions, registered_at)
        past = edition.terms_of(present.purpose, uuid) if edition else None
        if past is None:
            continue
        uids = present.kept & past.kept & frozenset(held)
        until = Told(past, since).end(present)
        if uids and now < until:
            found.append(Kept(present.purpose, present.basis, uids, until))
    return tuple(sorted(found, key=lambda kept: kept.purpose))


def may_keep(editions: Mapping[int, Edition], uuid: bytes) -> bool:
    """Tell whether any edition has ever kept anything in the compartment of this uuid."""
    return any(
        terms.kept
        for edition in editions.values()
        for terms in edition.terms.values()
        if terms.compartment == uuid
    )
