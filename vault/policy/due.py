"""When data falls due for erasure: the moment from which no purpose may use it any more."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from vault.policy.edition import Edition, Terms
from vault.policy.told import ConsentGiven, Told, in_force, latest


def due(
    editions: Mapping[int, Edition],
    current: Edition,
    compartment: str,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    held: Iterable[int],
) -> dict[int, datetime]:
    """Return for each held field, by uid, when its last purpose in the current edition ends.

    A purpose's time runs from the subject's consent, withdrawn or not (they may give it again),
    or from the registration if there is none; the shorter of what was told and what is declared
    now. A field that no purpose sees any more fell due when the current edition came into force.
    """
    last: dict[int, datetime] = {}
    for purpose, end in ends(editions, current, compartment, consents, registered_at).items():
        for uid in current.terms[purpose, compartment].fields:
            last[uid] = max(end, last.get(uid, end))
    return {uid: last.get(uid, current.in_force) for uid in held}


def ends(
    editions: Mapping[int, Edition],
    current: Edition,
    compartment: str,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
) -> dict[str, datetime]:
    """Return for each purpose that the current edition has here when its time ends."""
    uuid = current.compartment(compartment).uuid
    return {
        present.purpose: _end(editions, present, consents, registered_at)
        for present in current.terms.values()
        if present.compartment == uuid
    }


def _end(
    editions: Mapping[int, Edition],
    present: Terms,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
) -> datetime:
    given = latest(consents, present.purpose)
    since = given.given_at if given else registered_at
    edition = editions.get(given.edition) if given else in_force(editions, registered_at)
    past = edition.terms_of(present.purpose, present.compartment) if edition else None
    return Told(past or present, since).end(present)
