"""Whether a subject's word covers what an edition would now allow (clauses 1.1 g, 1.2, 2.4 b).

What was told at collection binds: a later edition may show less than that at once, but never
more, and never for longer, until the subject agrees anew. A withdrawal ends a purpose whatever
its basis: the basis is never switched to get round it.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from vault.errors import Reason
from vault.frozen import dataclass
from vault.policy.decide import Denied
from vault.policy.edition import Edition, Field, FieldUse, Terms, some
from vault.policy.told import ConsentGiven, Told, ask, latest, what_was_told, widenings


@dataclass(frozen=True, slots=True)
class Covered:
    """What the subject's word covers, never nothing; `withheld` is what they weren't told of."""

    uses: tuple[FieldUse, ...]
    withheld: tuple[Field, ...] = ()


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
) -> Covered | Denied:
    """Return the uses that the subject's word covers, narrowed where needed, or why none.

    `uses` are what `decide` allowed under the current edition; `consents` may be of any
    purposes. Fields that the subject wasn't told of are withheld; if none is left, it is a
    denial. What the purpose may now join, or on what basis, can't be taken back by showing
    less: there the whole is denied.
    """
    bound = _bound(editions, current, purpose, compartment, consents, registered_at, now)
    if isinstance(bound, Denied):
        return bound
    told, present = bound
    if now >= told.end(present):
        sentence = f"What was collected for the purpose {purpose} was kept as long as was declared."
        return Denied(Reason.RETENTION_EXPIRED, f"{sentence} The subject can agree anew.")
    return _within(told.terms, present, current, uses)


def check_recipient(
    editions: Mapping[int, Edition],
    current: Edition,
    purpose: str,
    compartment: str,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    now: datetime,
    recipient: str,
) -> Denied | None:
    """Say why what a purpose sees may not go to this third party, None if it may (clause 1.2).

    The recipient must be in the current edition, and in what the subject was told. That it goes
    there and nowhere else is the caller's statement.
    """
    present = terms(current, purpose, compartment)
    if present is not None and recipient not in present.recipients:
        # What the caller named isn't repeated: it may be a value in the wrong place.
        sentence = f"Edition {current.number} doesn't let data of the purpose {purpose} go there"
        return _not_to(f"{sentence}: it may go to {some(sorted(present.recipients))}.")
    bound = _bound(editions, current, purpose, compartment, consents, registered_at, now)
    if isinstance(bound, Denied):
        return bound
    if recipient not in bound[0].terms.recipients:
        sentence = f"The subject wasn't told that data of the purpose {purpose} may go to"
        return _not_to(
            f"{sentence} {recipient}: ask them, with the notice of edition {current.number}."
        )
    return None


def ask_again(
    editions: Mapping[int, Edition],
    current: Edition,
    compartment: str,
    consents: Sequence[ConsentGiven],
) -> frozenset[str]:
    """Return the purposes that would now do more than the subject consented to.

    Nobody is asked again for what they withdrew, or for what the edition no longer does.
    """
    purposes = {consent.purpose for consent in consents}
    return frozenset(
        purpose
        for purpose in purposes
        if (present := terms(current, purpose, compartment))
        and (given := latest(consents, purpose))
        and given.withdrawn_at is None
        and _wider(editions.get(given.edition), present, current, given)
    )


def _wider(told: Edition | None, present: Terms, current: Edition, given: ConsentGiven) -> bool:
    past = told.terms_of(given.purpose, present.compartment) if told else None
    return past is None or any(widenings(past, present, current, given.given_at))


def _bound(
    editions: Mapping[int, Edition],
    current: Edition,
    purpose: str,
    compartment: str,
    consents: Sequence[ConsentGiven],
    registered_at: datetime,
    now: datetime,
) -> tuple[Told, Terms] | Denied:
    """Return what the subject was told, and what they would be told now."""
    present = terms(current, purpose, compartment)
    if present is None:
        return ask(purpose, current, f"edition {current.number} no longer has it in {compartment}")
    told = what_was_told(editions, current, present, consents, registered_at, now)
    return told if isinstance(told, Denied) else (told, present)


def _within(
    told: Terms, present: Terms, current: Edition, uses: tuple[FieldUse, ...]
) -> Covered | Denied:
    """Keep to what both the past and the present terms allow."""
    if told is present:  # nothing was changed since
        return Covered(uses)
    if present.basis is not told.basis:
        return ask(
            told.purpose, current, "its lawful basis isn't the one that the subject was told"
        )
    if not present.joins <= told.joins:
        why = "it may now join compartments that the subject wasn't told of"
        return ask(told.purpose, current, why)
    covered = tuple(
        use.narrowed(told.fields[use.field.uid]) for use in uses if use.field.uid in told.fields
    )
    withheld = tuple(use.field for use in uses if use.field.uid not in told.fields)
    if not covered:
        untold = ", ".join(field.name for field in withheld)
        return ask(told.purpose, current, f"the subject wasn't told of {untold}")
    return Covered(covered, withheld)


def _not_to(sentence: str) -> Denied:
    return Denied(Reason.RECIPIENT_NOT_ALLOWED, sentence)
