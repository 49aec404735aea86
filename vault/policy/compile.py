"""From the text of an edition to what decisions are made by."""

from collections.abc import Collection, Iterator

from vault.policy import document
from vault.policy.document import Document
from vault.policy.edition import (
    Compartment,
    Edition,
    Field,
    FieldUse,
    GrantKey,
    Purpose,
    Service,
    Terms,
    Use,
    canonical_digest,
)
from vault.policy.faults import EditionError
from vault.policy.parse import parse
from vault.policy.rules import refusals
from vault.policy.vocabulary import Form, Operation, Retention, SubjectKind


def compile_edition(yaml_text: str) -> Edition:
    """Compile an edition; raise EditionError with all that is wrong with it.

    Faults of spelling come first and alone: what the parts say to each other is checked once
    each part can be read.
    """
    written, lines = parse(yaml_text)
    faults = [lines.fault(path, sentence) for path, sentence in refusals(written)]
    if faults:
        raise EditionError(faults)
    return _build(written)


def _build(written: Document) -> Edition:
    compartments = {name: _compartment(name, its) for name, its in written.compartments.items()}
    purposes = {name: _purpose(name, its, compartments) for name, its in written.purposes.items()}
    services = {name: _service(name, its, written) for name, its in written.services.items()}
    joinable = {frozenset(pair.between): pair.reason for pair in written.joinable}
    return Edition(
        number=written.edition,
        # Without defaults: what a later release adds to the shape leaves old digests alone.
        digest=canonical_digest(written.model_dump(mode="json", exclude_defaults=True)),
        predecessor=bytes.fromhex(written.predecessor) if written.predecessor else None,
        posted=written.posted,
        in_force=written.in_force,
        law=written.law,
        trust_domain=written.trust_domain,
        region=written.region,
        languages=tuple(written.languages),
        owners={name: str(owner.id) for name, owner in written.owners.items()},
        recipients={name: recipient.title for name, recipient in written.recipients.items()},
        compartments=compartments,
        purposes=purposes,
        services=services,
        joinable=joinable,
        granted=dict(_granted(written, purposes)),
        terms={
            (purpose.name, used): _terms(purpose, compartments[used], compartments, joinable.keys())
            for purpose in purposes.values()
            for used in purpose.uses
        },
        by_spiffe={service.spiffe: service for service in services.values()},
    )


def _compartment(name: str, written: document.Compartment) -> Compartment:
    fields = {
        field: Field(field, its.uid, its.type, its.title, its.voluntary, its.index)
        for field, its in written.fields.items()
    }
    return Compartment(
        name=name,
        uuid=written.uuid.bytes,
        title=written.title,
        subjects=frozenset(SubjectKind[kind.upper()] for kind in written.subjects),
        fields=fields,
        by_uid={field.uid: field for field in fields.values()},
    )


def _purpose(name: str, written: document.Purpose, compartments: dict[str, Compartment]) -> Purpose:
    return Purpose(
        name=name,
        title=written.title,
        description=written.description,
        basis=written.basis,
        uses={used: _use(use, compartments[used]) for used, use in written.uses.items()},
        recipients=tuple(written.recipients),
    )


def _use(written: document.Use, compartment: Compartment) -> Use:
    fields = {
        name: FieldUse(field, Form[written.fields[name].upper()])
        for name, field in compartment.fields.items()
        if name in written.fields
    }
    return Use(Retention.parse(written.retention), fields)


def _service(name: str, written: document.Service, edition: Document) -> Service:
    owner_id = str(edition.owners[written.owner].id)
    return Service(name, written.owner, owner_id, written.spiffe, written.subject_facing)


def _granted(
    written: Document, purposes: dict[str, Purpose]
) -> Iterator[tuple[GrantKey, dict[str, FieldUse]]]:
    for grant in written.grants:
        use = purposes[grant.purpose].uses[grant.compartment]
        for operation in grant.operations:
            fields = {name: its for name, its in use.fields.items() if _may_touch(operation, its)}
            yield (grant.service, grant.purpose, grant.compartment, operation), fields


def _may_touch(operation: Operation, use: FieldUse) -> bool:
    if operation is Operation.PUT:
        return use.form is Form.PLAIN  # nobody writes what they may not see
    if operation is Operation.FIND:
        return use.field.index is not None
    return True


def _terms(
    purpose: Purpose,
    compartment: Compartment,
    compartments: dict[str, Compartment],
    joinable: Collection[frozenset[str]],
) -> Terms:
    use = purpose.uses[compartment.name]
    return Terms(
        purpose=purpose.name,
        compartment=compartment.uuid,
        fields={its.field.uid: its.form for its in use.fields.values()},
        recipients=frozenset(purpose.recipients),
        basis=purpose.basis,
        retention=use.retention,
        joins=frozenset(
            compartments[other].uuid
            for other in purpose.uses
            if frozenset((compartment.name, other)) in joinable
        ),
    )
