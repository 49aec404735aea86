"""What a subject was told, and since when: the terms that bind until they agree anew.

Where consent is the basis, it is what they consented to; else what was in force when they
registered. Everything about consent begins here.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from vault.errors import Reason
from vault.frozen import dataclass
from vault.policy.decide import Denied
from vault.policy.edition import Edition, Terms
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
class Told:
    """The terms that bind, and since when."""

    terms: Terms
    since: datetime

    def end(self, present: Terms) -> datetime:
        """Return when the data is no longer used: what was told, or less if less is kept now."""
        end = self.terms.retention.end(self.since)
        if present is self.terms or present.retention == self.terms.retention:
            return end
        return min(end, present.retention.end(self.since))


def what_was_told(
    editions: Mapping[int, Edition],
    current: Edition,
    present: Terms,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    now: datetime,
) -> Told | Denied:
    """Return what binds a purpose whose present terms are these, or why nothing does."""
    purpose = present.purpose
    given = latest(consents, purpose)
    if given is not None and given.withdrawn_at is not None:
        return ask(purpose, current, "the subject withdrew their consent")
    if given is not None:
        edition, since = editions.get(given.edition), given.given_at
    elif present.basis is Basis.CONSENT:
        return ask(purpose, current, "the subject hasn't consented")
    else:
        edition, since = in_force(editions, registered_at), registered_at
    if edition is None or edition.in_force > now:
        return ask(purpose, current, "what the subject was told isn't an edition in force")
    past = edition.terms_of(purpose, present.compartment)
    if past is None:
        return ask(purpose, current, f"edition {edition.number} told the subject nothing of it")
    return Told(past, since)


def latest(consents: Sequence[ConsentGiven], purpose: str) -> ConsentGiven | None:
    """Return the last word on a purpose, None if there is none."""
    ours = [consent for consent in consents if consent.purpose == purpose]
    if len(ours) < 2:
        return ours[0] if ours else None
    return max(ours, key=lambda its: (its.given_at, its.withdrawn_at is not None))


def in_force(editions: Mapping[int, Edition], moment: datetime) -> Edition | None:
    """Return the edition that was in force at a moment, None before the first."""
    past = [edition for edition in editions.values() if edition.in_force <= moment]
    return max(past, key=lambda edition: edition.number, default=None)


def widenings(told: Terms, present: Terms, current: Edition, since: datetime) -> Iterator[str]:
    """Say in what the present terms go beyond those told: nothing where they don't.

    "shows phone of accounts masked", for after the purpose's name. `since` is when the data
    was collected: a month may be longer than thirty days, or not.
    """
    compartment = current.by_uuid[present.compartment]
    for uid, form in present.fields.items():
        before = told.fields.get(uid)
        if before is None or not form.within(before):
            instead = f" and not only {before.word}" if before else ""
            name = compartment.by_uid[uid].name
            yield f"shows {name} of {compartment.name} {form.word}{instead}"
    for recipient in sorted(present.recipients - told.recipients):
        yield f"lets data of {compartment.name} go to {recipient}"
    for other in sorted(current.by_uuid[uuid].name for uuid in present.joins - told.joins):
        yield f"may join {compartment.name} with {other}"
    if present.retention.end(since) > told.retention.end(since):
        yield f"keeps {compartment.name} for {present.retention} and not only {told.retention}"
    for uid in sorted(present.kept - told.kept):
        yield f"keeps {compartment.by_uid[uid].name} of {compartment.name} after an erasure"
    if present.basis is not told.basis:
        yield f"stands on {present.basis} and not on {told.basis}"


def ask(purpose: str, current: Edition, why: str) -> Denied:
    """Refuse until the subject consents."""
    sentence = (
        f"The purpose {purpose} isn't covered by consent: {why}. "
        f"Ask the subject, with the notice of edition {current.number}."
    )
    return Denied(Reason.CONSENT_REQUIRED, sentence)
