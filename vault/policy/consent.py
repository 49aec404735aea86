"""Whether a subject's word covers what an edition would now allow (clauses 1.1 g, 1.2, 2.4 b).

What was told at collection binds: a later edition may show less than that at once, but never
more, and never for longer, until the subject agrees anew. A withdrawal ends a purpose whatever
its basis: the basis is never switched to get round it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vault.errors import Reason
from vault.policy.decide import Denied
from vault.policy.edition import Edition, FieldUse, Terms
from vault.policy.vocabulary import Basis


@dataclass(frozen=True, slots=True)
class ConsentGiven:
    """A subject's agreement to one purpose, as the record keeps it. Moments are aware."""

    purpose: str
    edition: int
    language: str
    notice_digest: bytes
    given_at: datetime
    withdrawn_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Told:
    """The terms that bind, and since when."""

    terms: Terms
    since: datetime


def terms(edition: Edition, purpose: str, compartment: str) -> Terms | None:
    """Return what an edition tells subjects of a purpose in a compartment, None if nothing."""
    return edition.terms.get((purpose, compartment))


def check_consent(
    editions: Mapping[int, Edition],
    current: Edition,
    purpose: str,
    compartment: str,
    uses: tuple[FieldUse, ...],
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    now: datetime,
) -> tuple[FieldUse, ...] | Denied:
    """Return the uses that the subject's word covers, narrowed where needed, or why not.

    `uses` are what `decide` allowed under the current edition; `consents` may be of any
    purposes. A field that the subject wasn't told of denies the whole.
    """
    present = terms(current, purpose, compartment)
    if present is None:
        return _ask(purpose, current, f"edition {current.number} no longer has it in {compartment}")
    told = _told(editions, current, purpose, compartment, consents, registered_at, now)
    if isinstance(told, Denied):
        return told
    if now >= min(told.terms.retention.end(told.since), present.retention.end(told.since)):
        sentence = f"What was collected for the purpose {purpose} was kept as long as was declared."
        return Denied(Reason.RETENTION_EXPIRED, f"{sentence} The subject can agree anew.")
    return _within(told.terms, present, current, uses)


def _told(
    editions: Mapping[int, Edition],
    current: Edition,
    purpose: str,
    compartment: str,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    now: datetime,
) -> _Told | Denied:
    given = _latest(consents, purpose)
    if given is not None and given.withdrawn_at is not None:
        return _ask(purpose, current, "the subject withdrew their consent")
    if given is not None:
        edition, since = editions.get(given.edition), given.given_at
    elif current.purposes[purpose].basis is Basis.CONSENT:
        return _ask(purpose, current, "the subject hasn't consented")
    else:
        edition, since = _in_force(editions, registered_at), registered_at
    if edition is None or edition.in_force > now:
        return _ask(purpose, current, "what the subject was told isn't an edition in force")
    past = terms(edition, purpose, compartment)
    if past is None:
        return _ask(purpose, current, f"edition {edition.number} told the subject nothing of it")
    return _Told(past, since)


def _latest(consents: Sequence[ConsentGiven], purpose: str) -> ConsentGiven | None:
    ours = [consent for consent in consents if consent.purpose == purpose]
    return max(ours, key=lambda its: (its.given_at, its.withdrawn_at is not None), default=None)


def _in_force(editions: Mapping[int, Edition], moment: datetime) -> Edition | None:
    past = [edition for edition in editions.values() if edition.in_force <= moment]
    return max(past, key=lambda edition: edition.number, default=None)


def _within(
    told: Terms, present: Terms, current: Edition, uses: tuple[FieldUse, ...]
) -> tuple[FieldUse, ...] | Denied:
    """Keep to what both the past and the present terms allow."""
    if present.basis is not told.basis:
        return _ask(
            told.purpose, current, "its lawful basis isn't the one that the subject was told"
        )
    if not present.joins <= told.joins:
        why = "it may now join compartments that the subject wasn't told of"
        return _ask(told.purpose, current, why)
    untold = [use.field.name for use in uses if use.field.uid not in told.fields]
    if untold:
        return _ask(told.purpose, current, f"the subject wasn't told of {', '.join(untold)}")
    return tuple(FieldUse(use.field, use.form.narrower(told.fields[use.field.uid])) for use in uses)


def _ask(purpose: str, current: Edition, why: str) -> Denied:
    sentence = (
        f"The purpose {purpose} isn't covered by consent: {why}. "
        f"Ask the subject, with the notice of edition {current.number}."
    )
    return Denied(Reason.CONSENT_REQUIRED, sentence)
