"""From the text of an edition to what decisions are made by."""

from collections.abc import Collection, Iterator, Mapping

from vault.policy import document, rules, succession
from vault.policy.document import Document
from vault.policy.edition import (
    Compartment,
    Edition,
    Field,
    FieldUse,
    Forbid,
    Grant,
    GrantKey,
    Limit,
    Purpose,
    Service,
    Terms,
    Use,
    canonical_digest,
)
from vault.policy.parse import parse
from vault.policy.vocabulary import Form, Retention, SubjectKind


def compile_edition(yaml_text: str) -> Edition:
    """Compile an edition; raise EditionError with all that is wrong with it.

    Faults of spelling come first and alone: what the parts say to each other is checked once
    each part can be read.
    """
    written, lines = parse(yaml_text)
    lines.refuse(rules.refusals(written))
    return _build(written)


def compile_successor(
    yaml_text: str, before: Mapping[int, Edition], touched: Mapping[str, frozenset[bytes]]
) -> Edition:
    """Compile an edition that is to follow others: `check_succession`, with lines.

    Raises EditionError with all that is wrong with it: what it owes the editions before it is
    checked once it holds by itself.
    """
    written, lines = parse(yaml_text)
    lines.refuse(rules.refusals(written))
    edition = _build(written)
    lines.refuse(succession.refusals(before, edition, touched))
    return edition


def _build(written: Document) -> Edition:
    compartments = {name: _compartment(name, its) for name, its in written.compartments.items()}
    purposes = {name: _purpose(name, its, compartments) for name, its in written.purposes.items()}
    services = {name: _service(name, its, written) for name, its in written.services.items()}
    grants = tuple(_grant(grant) for grant in written.grants)
    forbids = tuple(_forbid(forbid) for forbid in written.forbid)
    joinable = {frozenset(pair.between): pair.reason for pair in written.joinable}
    return Edition(
        number=written.edition,
        # Without defaults: what a later release adds to the shape leaves old digests alone.
        digest=canonical_digest(written.model_dump(mode="json", exclude_defaults=True)),
        predecessor=bytes.fromhex(written.predecessor) if written.predecessor else None,
        posted=written.posted,
        in_force=written.in_force,
        law=written.law,
        answer_within=Retention.parse(written.answer_within),
        trust_domain=written.trust_domain,
        region=written.region,
        languages=tuple(written.languages),
        owners={name: str(owner.id) for name, owner in written.owners.items()},
        owner_titles={name: owner.title for name, owner in written.owners.items()},
        recipients={name: recipient.title for name, recipient in written.recipients.items()},
        compartments=compartments,
        purposes=purposes,
        services=services,
        joinable=joinable,
        grants=grants,
        forbids=forbids,
        granted=dict(_granted(grants, forbids, services, purposes)),
        terms={
            (purpose.name, used): _terms(purpose, compartments[used], compartments, joinable.keys())
            for purpose in purposes.values()
            for used in purpose.uses
        },
        by_spiffe={service.spiffe: service for service in services.values()},
        by_uuid={compartment.uuid: compartment for compartment in compartments.values()},
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
    kept = tuple(its.field for name, its in fields.items() if name in written.kept_after_erasure)
    return Use(Retention.parse(written.retention), fields, kept)


def _service(name: str, written: document.Service, edition: Document) -> Service:
    return Service(
        name=name,
        owner=written.owner,
        owner_id=str(edition.owners[written.owner].id),
        spiffe=written.spiffe,
        subject_facing=written.subject_facing,
        require_subject_assertion=written.require_subject_assertion,
        limits={op: Limit(its.per_second, its.per_day) for op, its in written.limits.items()},
    )


def _grant(written: document.Grant) -> Grant:
    operations = tuple(written.operations)
    return Grant(written.service, written.purpose, written.compartment, operations)


def _forbid(written: document.Forbid) -> Forbid:
    return Forbid(
        service=written.service,
        owner=written.owner,
        purpose=written.purpose,
        compartment=written.compartment,
        fields=frozenset(written.fields) if written.fields else None,
        operations=frozenset(written.operations) if written.operations else None,
        reason=written.reason,
    )


def _granted(
    grants: tuple[Grant, ...],
    forbids: tuple[Forbid, ...],
    services: dict[str, Service],
    purposes: dict[str, Purpose],
) -> Iterator[tuple[GrantKey, dict[str, FieldUse]]]:
    for grant in grants:
        service, purpose, compartment = services[grant.service], grant.purpose, grant.compartment
        use = purposes[purpose].uses[compartment]
        for operation in grant.operations:
            bans = [
                its for its in forbids if its.concerns(service, purpose, compartment, operation)
            ]
            fields = {
                name: its
                for name, its in use.fields.items()
                if its.serves(operation) and not any(ban.covers(name) for ban in bans)
            }
            if fields:
                yield (grant.service, purpose, compartment, operation), fields


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
        kept=frozenset(its.uid for its in use.kept),
    )
