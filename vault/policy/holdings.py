"""Holdings: all that one compartment holds of a subject, in the words of the edition. Pure.

It is what an export says, written as `holdings_form` has it. Nothing in it is an id of the
subject's: no pseudonym and no root id.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from vault.errors import VaultError
from vault.policy.consent import ask_again
from vault.policy.due import due, ends
from vault.policy.edition import Compartment, Edition, Field, declared
from vault.policy.holdings_form import (
    Asked,
    ForPurpose,
    HeldConsent,
    HeldField,
    Holdings,
    InForce,
    KeptValues,
    Place,
    Recipient,
    Subject,
    rfc3339,
)
from vault.policy.notice import notice
from vault.policy.told import ConsentGiven
from vault.policy.vocabulary import SubjectKind


@dataclass(frozen=True, slots=True)
class Held:
    """A value that the record holds."""

    uid: int
    type: str
    value: str = field(repr=False)
    set_at: datetime


@dataclass(frozen=True, slots=True)
class HeldByLaw:
    """Values of an erased record that the law has kept, for one purpose."""

    purpose: str
    basis: str
    until: datetime
    values: Sequence[Held]


@dataclass(frozen=True, slots=True)
class Record:
    """A record with its values open, and what is kept of erased ones."""

    kind: SubjectKind
    registered_at: datetime
    restricted: bool
    consents: Sequence[ConsentGiven]
    values: Sequence[Held]
    kept: Sequence[HeldByLaw] = ()
    erased: bool = False


def holdings(
    editions: Mapping[int, Edition],
    current: Edition,
    compartment: str,
    record: Record,
    request: Asked,
) -> Holdings:
    """Return what a record holds, in the words of the edition in force.

    A field or purpose that it no longer has is named as in the last edition that had it.
    """
    place = current.compartment(compartment)
    since = (record.consents, record.registered_at)
    kept = due(editions, current, compartment, *since, [held.uid for held in record.values])
    again = ask_again(editions, current, compartment, record.consents)
    uses = {} if record.erased else ends(editions, current, compartment, *since)
    return Holdings(
        request=request,
        compartment=Place(place.uuid.hex(), place.name, dict(place.title)),
        edition=_in_force(current),
        subject=Subject(
            "enterprise" if record.kind is SubjectKind.ENTERPRISE else "person",
            rfc3339(record.registered_at),
            record.restricted,
            record.erased,
        ),
        fields=_fields(editions, place, record.values, kept),
        consents=[
            _consent(editions, place.uuid, its, its.purpose in again) for its in record.consents
        ],
        purposes=list(_purposes(current, place, uses)),
        kept=[_kept(editions, current, place, its) for its in record.kept],
    )


def _in_force(current: Edition) -> InForce:
    at = rfc3339(current.in_force)
    return InForce(
        current.number, current.digest.hex(), at, dict(current.law), list(current.languages)
    )


def _fields(
    editions: Mapping[int, Edition],
    place: Compartment,
    values: Sequence[Held],
    kept: Mapping[int, datetime],
) -> list[HeldField]:
    ordered = sorted(values, key=lambda held: held.uid)
    return [_field(declared(editions, place, its.uid), its, kept[its.uid]) for its in ordered]


def _kept(
    editions: Mapping[int, Edition], current: Edition, place: Compartment, kept: HeldByLaw
) -> KeptValues:
    purpose = current.purposes.get(kept.purpose)
    until = {held.uid: kept.until for held in kept.values}
    return KeptValues(
        kept.purpose,
        dict(purpose.title) if purpose else {},
        kept.basis,
        rfc3339(kept.until),
        _fields(editions, place, kept.values, until),
    )


def _field(declared: Field | None, held: Held, kept_until: datetime) -> HeldField:
    return HeldField(
        name=declared.name if declared else "",
        uid=held.uid,
        type=held.type,
        title=dict(declared.title) if declared else {},
        voluntary=declared.voluntary if declared else False,
        value=held.value,
        set_at=rfc3339(held.set_at),
        kept_until=rfc3339(kept_until),
    )


def _consent(
    editions: Mapping[int, Edition], uuid: bytes, given: ConsentGiven, again: bool
) -> HeldConsent:
    return HeldConsent(
        purpose=given.purpose,
        edition=given.edition,
        language=given.language,
        text=_shown(editions.get(given.edition), uuid, given),
        digest=given.notice_digest.hex(),
        given_at=rfc3339(given.given_at),
        withdrawn_at=rfc3339(given.withdrawn_at) if given.withdrawn_at else None,
        ask_again=again,
    )


def _shown(edition: Edition | None, uuid: bytes, given: ConsentGiven) -> str | None:
    """Return the very text that was agreed to, by its digest."""
    place = edition.by_uuid.get(uuid) if edition else None
    if edition is None or place is None:
        return None
    try:
        shown = notice(edition, place.name, given.purpose, given.language)
    except VaultError:
        return None
    return shown.text if shown.digest == given.notice_digest else None


def _purposes(
    current: Edition, place: Compartment, ends_at: Mapping[str, datetime]
) -> Iterator[ForPurpose]:
    for name, end in sorted(ends_at.items()):
        purpose = current.purposes[name]
        use = purpose.uses[place.name]
        yield ForPurpose(
            name=name,
            title=dict(purpose.title),
            description=dict(purpose.description),
            basis=purpose.basis,
            retention=str(use.retention),
            ends_at=rfc3339(end),
            fields={its.field.name: its.form.word for its in use.fields.values()},
            recipients=[Recipient(r, dict(current.recipients[r])) for r in purpose.recipients],
        )
