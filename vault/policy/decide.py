"""Whether a service may: decided from the edition alone, by look-up, before any data is seen.

    decision = decide(edition, service, "services", "accounts", Operation.REVEAL, ["phone"])

The policy is public, so a refusal says precisely what is missing. It never repeats names that
the edition doesn't know: a caller may have put a value where a name belongs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vault.errors import Reason, VaultError
from vault.policy.edition import Compartment, Edition, Field, FieldUse, Service, some
from vault.policy.vocabulary import Form, Operation, english


@dataclass(frozen=True, slots=True)
class Allowed:
    """Yes: the fields in the order asked, each in the form that the purpose gives it."""

    uses: tuple[FieldUse, ...]


@dataclass(frozen=True, slots=True)
class Denied:
    """No, and what would have to change."""

    reason: Reason
    message: str

    def error(self) -> VaultError:
        """Return the refusal as the error that a caller sees."""
        return VaultError(self.reason, self.message)


@dataclass(frozen=True, slots=True)
class FieldDescription:
    """A field as a service may use it for a purpose."""

    field: Field
    form: Form
    findable: bool  # whether this service may find by it


@dataclass(frozen=True, slots=True)
class Description:
    """All that a service may do in a compartment for a purpose."""

    operations: tuple[Operation, ...]
    fields: tuple[FieldDescription, ...]  # those that it may touch, in the order of the edition


def decide(
    edition: Edition,
    service: Service,
    purpose: str,
    compartment: str,
    operation: Operation,
    fields: Sequence[str],
) -> Allowed | Denied:
    """Decide whether a service may do something to fields of a compartment for a purpose.

    Allows only what a grant and its purpose declare and nothing forbids: all fields or none
    (clauses 2.4 b and c).
    """
    granted = edition.granted.get((service.name, purpose, compartment, operation))
    if granted is not None and fields and len(set(fields)) == len(fields):
        uses = tuple([granted[name] for name in fields if name in granted])
        if len(uses) == len(fields):
            return Allowed(uses)
    return _denial(edition, service, purpose, compartment, operation, fields)


def denied(
    edition: Edition, service: Service, purpose: str, compartment: str, operation: Operation
) -> Denied | None:
    """Say why a service may do something to no field at all, or None: to some it may."""
    if (service.name, purpose, compartment, operation) in edition.granted:
        return None
    unknown = _unknown(edition, purpose, compartment)
    return unknown or _not_granted(service, purpose, compartment, operation)


def describe(
    edition: Edition, service: Service, purpose: str, compartment: str
) -> Description | Denied:
    """Say what a service may do in a compartment for a purpose."""
    if unknown := _unknown(edition, purpose, compartment):
        return unknown
    granted = {
        operation: edition.granted[key]
        for operation in Operation
        if (key := (service.name, purpose, compartment, operation)) in edition.granted
    }
    if not granted:
        return _not_granted(service, purpose, compartment, "do anything")
    findable = granted.get(Operation.FIND, {})
    return Description(
        tuple(granted),
        tuple(
            FieldDescription(use.field, use.form, use.field.name in findable)
            for use in edition.purposes[purpose].uses[compartment].fields.values()
            if any(use.field.name in fields for fields in granted.values())
        ),
    )


def _denial(
    edition: Edition,
    service: Service,
    purpose: str,
    compartment: str,
    operation: Operation,
    fields: Sequence[str],
) -> Denied:
    """Find out why not, in the fixed order of refusals."""
    if not fields:
        sentence = (
            "The request names no field: name those that you need, there is no way to say all."
        )
        return Denied(Reason.MALFORMED_REQUEST, sentence)
    if len(set(fields)) < len(fields):
        sentence = "The request names a field twice: name each field once."
        return Denied(Reason.MALFORMED_REQUEST, sentence)
    if unknown := _unknown(edition, purpose, compartment):
        return unknown
    its = edition.compartments[compartment]
    try:
        for name in fields:
            its.field(name)
    except VaultError as error:
        return Denied(error.reason, error.message)
    for name in fields:
        if forbid := forbidden(edition, service, purpose, compartment, operation, name):
            return Denied(Reason.NOT_GRANTED, forbid)
    granted = edition.granted.get((service.name, purpose, compartment, operation))
    if granted is None:
        return _not_granted(service, purpose, compartment, operation)
    beyond = next(name for name in fields if name not in granted)
    return _beyond(edition, purpose, its, operation, beyond)


def forbidden(
    edition: Edition,
    service: Service,
    purpose: str,
    compartment: str,
    operation: Operation,
    field: str,
) -> str | None:
    """Say that the edition forbids this, and why; None if it doesn't."""
    for forbid in edition.forbids:
        concerned = forbid.concerns(service, purpose, compartment, operation)
        if concerned and forbid.covers(field):
            return (
                f"Edition {edition.number} forbids {service.name} to {operation} {field} of "
                f"{compartment} for the purpose {purpose}: {english(forbid.reason).rstrip('.')}. "
                f"No grant changes this."
            )
    return None


def _unknown(edition: Edition, purpose: str, compartment: str) -> Denied | None:
    try:
        edition.compartment(compartment)
    except VaultError as error:
        return Denied(error.reason, error.message)
    if purpose not in edition.purposes:
        sentence = f"Edition {edition.number} has no such purpose: it has {some(edition.purposes)}."
        return Denied(Reason.UNKNOWN_PURPOSE, sentence)
    return None


def _not_granted(service: Service, purpose: str, compartment: str, operation: str) -> Denied:
    sentence = (
        f"The service {service.name} has no grant to {operation} in {compartment} "
        f"for the purpose {purpose}: an edition would have to add one."
    )
    return Denied(Reason.NOT_GRANTED, sentence)


def _beyond(
    edition: Edition, purpose: str, compartment: Compartment, operation: Operation, field: str
) -> Denied:
    use = edition.purposes[purpose].uses[compartment.name].fields.get(field)
    where = f"the field {field} of {compartment.name}"
    if use is None:
        why = f"doesn't see {where}"
    elif operation is Operation.PUT:
        why = f"sees {where} {use.form.word} and not plain, so nobody may write it"
    else:
        why = f"sees {where}, but it has no index to find by"
    sentence = f"The purpose {purpose} {why}: leave it out, or have an edition change this."
    return Denied(Reason.FIELD_BEYOND_PURPOSE, sentence)
