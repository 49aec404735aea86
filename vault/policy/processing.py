"""What is done with a subject's data in one compartment, in their language (clause 3.1.3). Pure.

What is held, for which purposes and on which basis, what was agreed to, how long it is kept: from
the edition in force and what binds by what the subject was told. Who read it is in the trail; what
an event of the trail says is put here into the words of the edition that it was decided under.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from vault.errors import Reason, VaultError
from vault.policy.consent import Covered, ask_again, check_consent
from vault.policy.decide import Denied
from vault.policy.due import due
from vault.policy.edition import Compartment, Edition, Field, FieldUse, Purpose, declared, some
from vault.policy.told import ConsentGiven
from vault.policy.vocabulary import Basis, Form, said
from vault.policy.wording import WORDINGS


@dataclass(frozen=True, slots=True)
class Named:
    """Something by its name in an edition, and as people call it; without a title if unknown."""

    name: str
    title: str


@dataclass(frozen=True, slots=True)
class HeldField:
    """A value that is held: which, since when, and until when at most."""

    field: Named
    voluntary: bool
    set_at: datetime
    kept_until: datetime


@dataclass(frozen=True, slots=True)
class SeenField:
    """A field in the form that a purpose sees it in."""

    field: Named
    form: Form


@dataclass(frozen=True, slots=True)
class ForPurpose:
    """One purpose of the edition in force. `closed` says why it may use nothing now."""

    purpose: Named
    description: str
    basis: Basis
    basis_text: str
    retention: str
    fields: tuple[SeenField, ...]
    recipients: tuple[Named, ...]
    joins: tuple[str, ...]
    closed: Reason | None


@dataclass(frozen=True, slots=True)
class Agreed:
    """A consent, and what its purpose was called in the edition that was agreed to."""

    consent: ConsentGiven
    title: str
    ask_again: bool  # whether the edition in force goes beyond what was agreed to


@dataclass(frozen=True, slots=True)
class RecordHeld:
    """What a record says of itself, but for its values: uids, and since when each is there."""

    registered_at: datetime
    restricted: bool
    consents: Sequence[ConsentGiven]
    fields: Iterable[tuple[int, datetime]]


@dataclass(frozen=True, slots=True)
class Processing:
    """What is done with a record, in a language; `title` is the compartment's."""

    language: str
    title: str
    law: str
    fields: tuple[HeldField, ...]
    purposes: tuple[ForPurpose, ...]
    agreed: tuple[Agreed, ...]


def processing(
    editions: Mapping[int, Edition],
    current: Edition,
    compartment: str,
    language: str,
    record: RecordHeld,
    now: datetime,
) -> Processing:
    """Say what is done with a record under the edition in force, in one of its languages."""
    place, held = current.compartment(compartment), dict(record.fields)
    again = ask_again(editions, current, compartment, record.consents)
    ends = due(editions, current, compartment, record.consents, record.registered_at, held)
    return Processing(
        language=language,
        title=said(place.title, language),
        law=said(current.law, language),
        fields=tuple(
            _held(declared(editions, place, uid), uid, held[uid], ends[uid], language)
            for uid in sorted(held)
        ),
        purposes=tuple(
            _purpose(editions, current, place, its, record, language, now)
            for _, its in sorted(current.purposes.items())
            if place.name in its.uses
        ),
        agreed=tuple(
            Agreed(
                its,
                purpose_title(editions.get(its.edition), its.purpose, language),
                its.purpose in again,
            )
            for its in record.consents
        ),
    )


def check_language(edition: Edition, language: str) -> None:
    """Raise VaultError(MALFORMED_REQUEST) unless an edition speaks a language."""
    if language not in edition.languages:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"Edition {edition.number} has no texts in that language: "
            f"it has {some(edition.languages)}.",
            violations={"language": "is none of the edition's"},
        )


def purpose_title(edition: Edition | None, name: str, language: str) -> str:
    """Return what an edition calls a purpose, or nothing."""
    purpose = edition.purposes.get(name) if edition else None
    return said(purpose.title, language) if purpose else ""


def owner_title(edition: Edition | None, name: str, language: str) -> str:
    """Return what an edition calls an owner of services, or nothing."""
    title = edition.owner_titles.get(name) if edition else None
    return said(title, language) if title else ""


def recipient_title(edition: Edition | None, name: str, language: str) -> str:
    """Return what an edition calls a third party, or nothing."""
    title = edition.recipients.get(name) if edition else None
    return said(title, language) if title else ""


def field_named(edition: Edition | None, uuid: bytes, uid: int, language: str) -> Named:
    """Return what an edition calls a field; by its number where it has none such."""
    place = edition.by_uuid.get(uuid) if edition else None
    field = place.by_uid.get(uid) if place else None
    return _named(field, uid, language)


def _named(field: Field | None, uid: int, language: str) -> Named:
    return Named(field.name, said(field.title, language)) if field else Named(str(uid), "")


def _held(
    field: Field | None, uid: int, set_at: datetime, kept_until: datetime, language: str
) -> HeldField:
    voluntary = field.voluntary if field else False
    return HeldField(_named(field, uid, language), voluntary, set_at, kept_until)


def _purpose(
    editions: Mapping[int, Edition],
    current: Edition,
    place: Compartment,
    purpose: Purpose,
    record: RecordHeld,
    language: str,
    now: datetime,
) -> ForPurpose:
    use, words = purpose.uses[place.name], WORDINGS[language]
    uses = tuple(use.fields.values())
    bound = check_consent(
        editions,
        current,
        purpose.name,
        place.name,
        uses,
        record.consents,
        record.registered_at,
        now,
    )
    joined = (
        other
        for other in sorted(purpose.uses)
        if frozenset((place.name, other)) in current.joinable
    )
    return ForPurpose(
        purpose=Named(purpose.name, said(purpose.title, language)),
        description=said(purpose.description, language),
        basis=purpose.basis,
        basis_text=words.bases[purpose.basis],
        retention=words.duration(use.retention),
        fields=tuple(
            SeenField(Named(its.field.name, said(its.field.title, language)), its.form)
            for its in _shown(bound, uses)
        ),
        recipients=tuple(
            Named(name, said(current.recipients[name], language)) for name in purpose.recipients
        ),
        joins=tuple(said(current.compartments[other].title, language) for other in joined),
        closed=_closed(bound, purpose.basis, record),
    )


def _shown(bound: Covered | Denied, uses: tuple[FieldUse, ...]) -> tuple[FieldUse, ...]:
    """Return what the purpose sees of this record; what it would see, where it sees nothing."""
    return bound.uses if isinstance(bound, Covered) else uses


def _closed(bound: Covered | Denied, basis: Basis, record: RecordHeld) -> Reason | None:
    if record.restricted and not basis.outlasts_restriction:
        return Reason.RESTRICTED
    return bound.reason if isinstance(bound, Denied) else None
