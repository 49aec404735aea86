"""Holdings: all that one compartment holds of a subject, in the words of the edition. Pure.

It is what an export says, as JSON of format 1; docs/export.schema.json is made from the classes
here. Nothing in it is an id of the subject's: no pseudonym and no root id.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field as Described
from pydantic import TypeAdapter

from vault.errors import VaultError
from vault.policy.consent import ask_again
from vault.policy.due import due, ends
from vault.policy.edition import Compartment, Edition, Field
from vault.policy.notice import notice
from vault.policy.told import ConsentGiven
from vault.policy.vocabulary import SubjectKind

Texts = Annotated[dict[str, str], Described(description="One text, by language.")]
Moment = Annotated[
    str,
    Described(description="A moment in UTC (RFC 3339).", json_schema_extra={"format": "date-time"}),
]


@dataclass(frozen=True, slots=True)
class Held:
    """A value that the record holds."""

    uid: int
    type: str
    value: str = field(repr=False)
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose record it is, as far as the record says so."""

    kind: Literal["person", "enterprise"]
    registered_at: Moment
    restricted: Annotated[bool, Described(description="Whether they restricted the processing.")]


@dataclass(frozen=True, slots=True)
class HeldField:
    """A value, as it was given."""

    name: Annotated[str, Described(description="In the edition in force, or the last that had it.")]
    uid: Annotated[int, Described(description="The field's number in its compartment, for ever.")]
    type: str
    title: Texts
    voluntary: bool
    value: str
    set_at: Moment
    kept_until: Annotated[Moment, Described(description="When the last purpose that sees it ends.")]


@dataclass(frozen=True, slots=True)
class HeldConsent:
    """The last word on one purpose."""

    purpose: str
    edition: Annotated[int, Described(description="The edition whose notice was accepted.")]
    language: Annotated[str, Described(description="In which the notice was shown.")]
    text: Annotated[str | None, Described(description="The notice; null if it can't be told now.")]
    digest: Annotated[str, Described(description="SHA-256 of the notice, in hexadecimal.")]
    given_at: Moment
    withdrawn_at: Moment | None
    ask_again: Annotated[
        bool, Described(description="Whether the edition in force goes beyond what was agreed to.")
    ]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A third party that the data may go to."""

    name: str
    title: Texts


@dataclass(frozen=True, slots=True)
class ForPurpose:
    """A purpose that uses the compartment, as the edition in force has it."""

    name: str
    title: Texts
    description: Texts
    basis: str
    retention: Annotated[str, Described(description='Such as "3 years".')]
    ends_at: Annotated[Moment, Described(description="When its use of this record's data ends.")]
    fields: Annotated[dict[str, str], Described(description="The form that it sees each field in.")]
    recipients: list[Recipient]


@dataclass(frozen=True, slots=True)
class Place:
    """The one compartment that all of this is from."""

    uuid: str
    name: str
    title: Texts


@dataclass(frozen=True, slots=True)
class InForce:
    """The edition of the privacy policy that was in force when this was written."""

    number: int
    digest: Annotated[str, Described(description="SHA-256, in hexadecimal.")]
    in_force: Moment
    law: Texts
    languages: list[str]


@dataclass(frozen=True, slots=True)
class Asked:
    """The request that this answers."""

    id: Annotated[str, Described(description="The request's id, in hexadecimal.")]
    at: Moment
    key: Annotated[
        str, Described(description="The JWK thumbprint of the key that it is for, in base64url.")
    ]


@dataclass(frozen=True, slots=True)
class Holdings:
    """All that one compartment holds of a subject, as it was exported for them."""

    request: Asked
    compartment: Place
    edition: InForce
    subject: Subject
    fields: list[HeldField]
    consents: list[HeldConsent]
    purposes: list[ForPurpose]
    kind: Literal["piivault-export"] = "piivault-export"
    format: Literal[1] = 1

    @property
    def text(self) -> bytes:
        """The JSON, in UTF-8."""
        return json.dumps(asdict(self), ensure_ascii=False, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Record:
    """A record with its values open."""

    kind: SubjectKind
    registered_at: datetime
    restricted: bool
    consents: Sequence[ConsentGiven]
    values: Iterable[Held]


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
    values = sorted(record.values, key=lambda held: held.uid)
    since = (record.consents, record.registered_at)
    kept = due(editions, current, compartment, *since, [held.uid for held in values])
    again = ask_again(editions, current, compartment, record.consents)
    return Holdings(
        request=request,
        compartment=Place(place.uuid.hex(), place.name, dict(place.title)),
        edition=_in_force(current),
        subject=Subject(
            "enterprise" if record.kind is SubjectKind.ENTERPRISE else "person",
            rfc3339(record.registered_at),
            record.restricted,
        ),
        fields=[_field(_declared(editions, place, held), held, kept[held.uid]) for held in values],
        consents=[
            _consent(editions, place.uuid, its, its.purpose in again) for its in record.consents
        ],
        purposes=list(_purposes(current, place, ends(editions, current, compartment, *since))),
    )


def holdings_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of an export."""
    schema = TypeAdapter(Holdings).json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_closed(schema)}


def rfc3339(at: datetime) -> str:
    """Write a moment as RFC 3339 does, in UTC and whole seconds."""
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _in_force(current: Edition) -> InForce:
    at = rfc3339(current.in_force)
    return InForce(
        current.number, current.digest.hex(), at, dict(current.law), list(current.languages)
    )


def _declared(editions: Mapping[int, Edition], place: Compartment, held: Held) -> Field | None:
    """Return the field as the edition in force has it, or the last one that did."""
    if held.uid in place.by_uid:
        return place.by_uid[held.uid]
    for _, edition in sorted(editions.items(), reverse=True):
        past = edition.by_uuid.get(place.uuid)
        if past is not None and held.uid in past.by_uid:
            return past.by_uid[held.uid]
    return None


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


def _closed(node: Any) -> Any:
    """Say of each object that it has its keys and no others; take out invented titles."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    kept = {key: _closed(value) for key, value in node.items()}
    if isinstance(kept.get("title"), str):
        del kept["title"]
    if "properties" in kept:
        kept["required"] = list(kept["properties"])
        kept["additionalProperties"] = False
    return kept
