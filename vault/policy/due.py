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
    uuid = current.compartment(compartment).uuid
    ends: dict[int, datetime] = {}
    for present in current.terms.values():
        if present.compartment != uuid:
            continue
        end = _end(editions, present, consents, registered_at)
        for uid in present.fields:
            ends[uid] = max(end, ends.get(uid, end))
    return {uid: ends.get(uid, current.in_force) for uid in held}


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
