"""Why a service may or may not: rule by rule, in the order in which `decide` refuses.

Read from what the edition declares, not from the table that `decide` looks things up in: so
the two check each other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from vault.policy.decide import forbidden
from vault.policy.edition import Edition, FieldUse, Service, some
from vault.policy.vocabulary import Basis, Operation


@dataclass(frozen=True, slots=True)
class Step:
    """One rule, and whether it lets the request pass."""

    rule: str  # "fields", "compartment", "purpose", "field", "forbid", "grant", "form", "record"
    holds: bool
    sentence: str


@dataclass(frozen=True, slots=True)
class _Asked:
    edition: Edition
    service: Service
    purpose: str
    compartment: str
    operation: Operation
    fields: Sequence[str]


def explain(
    edition: Edition,
    service: Service,
    purpose: str,
    compartment: str,
    operation: Operation,
    fields: Sequence[str],
) -> tuple[Step, ...]:
    """Return every rule that was asked; all hold exactly where `decide` allows.

    What a rule can't be asked of (a purpose that doesn't exist has no fields) isn't asked.
    """
    asked = _Asked(edition, service, purpose, compartment, operation, fields)
    steps = [*_named(asked)]
    if all(step.holds for step in steps):
        steps += [*_forbids(asked), *_grant(asked), *_forms(asked)]
    if all(step.holds for step in steps):
        steps.append(_record(asked))
    return tuple(steps)


def _named(asked: _Asked) -> Iterator[Step]:
    """Ask whether the request names what there is. What it named wrongly isn't repeated."""
    edition, compartment = asked.edition, asked.edition.compartments.get(asked.compartment)
    once = len(set(asked.fields)) == len(asked.fields) > 0
    wanted = "names each field once" if once else "has to name fields, and each field once"
    yield Step("fields", once, f"The request {wanted}.")
    if compartment is None:
        sentence = f"Edition {edition.number} has no such compartment: it has"
        yield Step("compartment", False, f"{sentence} {some(edition.compartments)}.")
    else:
        yield Step("compartment", True, f"The edition has the compartment {compartment.name}.")
    if asked.purpose not in edition.purposes:
        sentence = f"Edition {edition.number} has no such purpose: it has"
        yield Step("purpose", False, f"{sentence} {some(edition.purposes)}.")
    else:
        basis = edition.purposes[asked.purpose].basis
        yield Step("purpose", True, f"The edition has the purpose {asked.purpose}, on {basis}.")
    if compartment is not None and not set(asked.fields) <= compartment.fields.keys():
        sentence = f"The compartment {compartment.name} has no such field: it has"
        yield Step("field", False, f"{sentence} {some(compartment.fields)}.")


def _forbids(asked: _Asked) -> Iterator[Step]:
    found = False
    for name in asked.fields:
        why = forbidden(
            asked.edition, asked.service, asked.purpose, asked.compartment, asked.operation, name
        )
        if why:
            found = True
            yield Step("forbid", False, why)
    if not found:
        yield Step("forbid", True, f"Nothing forbids {asked.service.name} this.")


def _grant(asked: _Asked) -> Iterator[Step]:
    name, what = asked.service.name, f"{asked.operation} in {asked.compartment}"
    if asked.service.subject_facing:
        whom = "subjects who are there" if asked.service.require_subject_assertion else "subjects"
        sentence = f"{name} is subject-facing: it acts for {whom}, and no grant is possible."
        yield Step("grant", False, sentence)
        return
    key = (name, asked.purpose, asked.compartment)
    granted = any(
        (grant.service, grant.purpose, grant.compartment) == key
        and asked.operation in grant.operations
        for grant in asked.edition.grants
    )
    has = "has a grant" if granted else "has no grant"
    sentence = f"{name}, of {asked.service.owner}, {has} to {what} for {asked.purpose}."
    yield Step("grant", granted, sentence)


def _forms(asked: _Asked) -> Iterator[Step]:
    use = asked.edition.purposes[asked.purpose].uses.get(asked.compartment)
    if use is None:
        sentence = f"The purpose {asked.purpose} doesn't use {asked.compartment}."
        yield Step("form", False, sentence)
        return
    for name in asked.fields:
        yield _form(asked, name, use.fields.get(name))


def _form(asked: _Asked, name: str, its: FieldUse | None) -> Step:
    if its is None:
        return Step("form", False, f"The purpose {asked.purpose} doesn't see {name}.")
    sees = f"The purpose {asked.purpose} sees {name} {its.form.word}"
    if its.serves(asked.operation):
        return Step("form", True, f"{sees}.")
    why = "only what is plain is written" if asked.operation is Operation.PUT else "it has no index"
    return Step("form", False, f"{sees}, but {why}: no {asked.operation}.")


def _record(asked: _Asked) -> Step:
    purpose = asked.edition.purposes[asked.purpose]
    retention = purpose.uses[asked.compartment].retention
    did = "consented" if purpose.basis is Basis.CONSENT else "been told when they registered"
    sentence = f"Each record decides the rest: the subject must have {did}, and not have withdrawn"
    return Step("record", True, f"{sentence}; it is used for {retention}.")
