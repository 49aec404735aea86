"""The edition: one immutable version of the policy, compiled for deciding by look-up.

Made by `compile_edition` alone. Nothing here is computed when a request is decided: grants,
terms and names are laid out as dictionaries beforehand. An edition equals itself only;
compare two by their digests.
"""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from vault.errors import Reason, VaultError
from vault.policy.vocabulary import (
    Basis,
    FieldType,
    Form,
    Index,
    Operation,
    Retention,
    SubjectKind,
    Text,
)


@dataclass(frozen=True, slots=True)
class Field:
    """One kind of value in a compartment. Ciphertexts are bound to its uid, never to its name."""

    name: str
    uid: int
    type: FieldType
    title: Text = field(hash=False)
    voluntary: bool = False
    index: Index | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Compartment:
    """A database of personal data, created for one set of purposes (clause 2.4 d)."""

    name: str
    uuid: bytes  # 16 bytes; ciphertexts and pseudonyms are bound to it, never to the name
    title: Text
    subjects: frozenset[SubjectKind]
    fields: Mapping[str, Field]  # in the order of the edition
    by_uid: Mapping[int, Field]

    def field(self, name: str) -> Field:
        """Return a field; raise VaultError(UNKNOWN_FIELD) if there is none."""
        found = self.fields.get(name)
        if found is None:
            # What the caller asked for isn't repeated: it may be a value in the wrong place.
            raise VaultError(
                Reason.UNKNOWN_FIELD,
                f"The compartment {self.name} has no such field: it has {some(self.fields)}.",
            )
        return found


@dataclass(frozen=True, slots=True)
class FieldUse:
    """A field in the form that a purpose sees it in."""

    field: Field
    form: Form

    def narrowed(self, form: Form) -> "FieldUse":
        """Return it in whichever of the two forms shows less."""
        shown = self.form.narrower(form)
        return self if shown is self.form else FieldUse(self.field, shown)

    def serves(self, operation: Operation) -> bool:
        """Tell whether an operation can do anything with the field in this form."""
        if operation is Operation.PUT:
            return self.form is Form.PLAIN  # nobody writes what they may not see
        if operation is Operation.FIND:
            return self.field.index is not None
        return True


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """What a purpose does with one compartment."""

    retention: Retention
    fields: Mapping[str, FieldUse]  # in the order of the compartment
    kept: tuple[Field, ...] = ()  # what the law makes the operator keep after an erasure


@dataclass(frozen=True, slots=True, eq=False)
class Purpose:
    """Why data is used."""

    name: str
    title: Text
    description: Text
    basis: Basis
    uses: Mapping[str, Use]  # by compartment
    recipients: tuple[str, ...]  # third parties that the data may go to (clause 1.2)


@dataclass(frozen=True, slots=True)
class Limit:
    """How often a service may do something; None where the edition sets no limit."""

    per_second: float | None = None
    per_day: int | None = None


@dataclass(frozen=True, slots=True)
class Service:
    """A caller, known by the SPIFFE id in its certificate."""

    name: str
    owner: str
    owner_id: str
    spiffe: str
    subject_facing: bool
    require_subject_assertion: bool  # whether it acts only for subjects who are there
    limits: Mapping[Operation, Limit] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Grant:
    """What a service may do, as the edition writes it: before anything is forbidden."""

    service: str
    purpose: str
    compartment: str
    operations: tuple[Operation, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Forbid:
    """What stays denied whatever is granted; None matches everything."""

    service: str | None
    owner: str | None
    purpose: str | None
    compartment: str | None
    fields: frozenset[str] | None
    operations: frozenset[Operation] | None
    reason: Text

    def concerns(
        self, service: Service, purpose: str, compartment: str, operation: Operation
    ) -> bool:
        """Tell whether any field is forbidden here."""
        return (
            self.service in (None, service.name)
            and self.owner in (None, service.owner)
            and self.purpose in (None, purpose)
            and self.compartment in (None, compartment)
            and (self.operations is None or operation in self.operations)
        )

    def covers(self, field: str) -> bool:
        """Tell whether a field is among those forbidden, where this concerns the request."""
        return self.fields is None or field in self.fields


@dataclass(frozen=True, slots=True)
class Terms:
    """What a subject is told of one purpose in one compartment, as far as it binds.

    Two editions with equal digests ask nothing new of the subject. Immutable ids stand for
    compartment and fields, so that renaming changes no terms.
    """

    purpose: str
    compartment: bytes  # uuid
    fields: Mapping[int, Form] = field(hash=False)  # by uid
    recipients: frozenset[str]
    basis: Basis
    retention: Retention
    joins: frozenset[bytes]  # uuids of compartments that the purpose may join this one with
    kept: frozenset[int] = frozenset()  # uids of what outlasts an erasure

    @property
    def digest(self) -> bytes:
        """SHA-256 of the terms in canonical JSON."""
        # Only where there is any: what a later release added leaves old digests alone.
        kept = {"kept": sorted(self.kept)} if self.kept else {}
        return canonical_digest(
            {
                "purpose": self.purpose,
                "compartment": self.compartment.hex(),
                "fields": [[uid, form.word] for uid, form in sorted(self.fields.items())],
                "recipients": sorted(self.recipients),
                "basis": self.basis,
                "retention": str(self.retention),
                "joins": sorted(other.hex() for other in self.joins),
                **kept,
            }
        )


GrantKey = tuple[str, str, str, Operation]  # service, purpose, compartment, operation


@dataclass(frozen=True, slots=True, eq=False)
class Edition:
    """One version of the policy: what isn't in it doesn't happen."""

    number: int
    digest: bytes  # SHA-256 of the document in canonical JSON
    predecessor: bytes | None  # the digest of the edition before
    posted: datetime
    in_force: datetime  # never before posted (clause 1.1 g)
    law: Text  # what governs all that the edition leaves open (clause 5.1)
    answer_within: Retention  # by when a subject's request must be answered
    trust_domain: str
    region: str | None  # completes telephone numbers without a country code, for the index
    languages: tuple[str, ...]
    owners: Mapping[str, str]  # immutable ids by name
    owner_titles: Mapping[str, Text]
    recipients: Mapping[str, Text]
    compartments: Mapping[str, Compartment]
    purposes: Mapping[str, Purpose]
    services: Mapping[str, Service]
    joinable: Mapping[frozenset[str], Text]  # pairs of compartments, each with its reason
    grants: tuple[Grant, ...]
    forbids: tuple[Forbid, ...]
    # What the two come to: the fields that each operation may touch. Never empty.
    granted: Mapping[GrantKey, Mapping[str, FieldUse]]
    terms: Mapping[tuple[str, str], Terms]  # by purpose and compartment
    by_spiffe: Mapping[str, Service]
    by_uuid: Mapping[bytes, Compartment]

    def service_of(self, spiffe_id: str) -> Service | None:
        """Return the service that this SPIFFE id is, None if it is nobody's."""
        return self.by_spiffe.get(spiffe_id)

    def terms_of(self, purpose: str, uuid: bytes) -> Terms | None:
        """Return what subjects are told of a purpose in the compartment of this uuid, if anything.

        By uuid, since a compartment may have had another name in an earlier edition.
        """
        compartment = self.by_uuid.get(uuid)
        return self.terms.get((purpose, compartment.name)) if compartment else None

    def compartment(self, name: str) -> Compartment:
        """Return a compartment; raise VaultError(UNKNOWN_COMPARTMENT) if there is none."""
        found = self.compartments.get(name)
        if found is None:
            raise VaultError(
                Reason.UNKNOWN_COMPARTMENT,
                f"Edition {self.number} has no such compartment: it has {some(self.compartments)}.",
            )
        return found


def declared(editions: Mapping[int, Edition], place: Compartment, uid: int) -> Field | None:
    """Return a field as its compartment has it now, or else as the last edition that had it did."""
    if uid in place.by_uid:
        return place.by_uid[uid]
    for _, edition in sorted(editions.items(), reverse=True):
        past = edition.by_uuid.get(place.uuid)
        if past is not None and uid in past.by_uid:
            return past.by_uid[uid]
    return None


def canonical_digest(tree: object) -> bytes:
    """Return the SHA-256 of a JSON tree without insignificant space, in UTF-8.

    Keys stay in their order: the order of fields is part of what people are shown.
    """
    text = json.dumps(tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).digest()


def some(names: Collection[str], most: int = 20) -> str:
    """List names for a sentence, cut off where there are too many to read."""
    listed = list(names)
    shown = ", ".join(listed[:most]) or "none"
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most} more"
