"""What a new edition changes, in plain sentences, and for whom.

    for change in diff(before, after):
        print(f"{change.concerns}: {change.sentence}")

Compartments and fields are compared by uuid and uid, owners by id, services by SPIFFE id: a new
name is a new name. How much data it is about, no sentence says: `due` tells, record by record.
What subjects were told and agreed to is in `diff_terms`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from vault.policy import diff_terms
from vault.policy.compare import Named, gone, kept, listed, new
from vault.policy.edition import Compartment, Edition, Field, Forbid, Limit, Service
from vault.policy.vocabulary import Operation, Text, english


class Concerns(StrEnum):
    """Whom a change is for, in the order of `diff`."""

    POLICY = "policy"
    SUBJECTS = "subjects"
    CONSENT = "consent"
    ERASURE = "erasure"
    SERVICES = "services"
    OWNERS = "owners"


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is otherwise from the new edition on."""

    concerns: Concerns
    name: str  # of the purpose, compartment, service, owner or third party; "" for the whole
    sentence: str


def diff(before: Edition, after: Edition) -> tuple[Change, ...]:
    """Return what changes from one edition to the next; nothing where both say the same."""
    return tuple(
        Change(concerns, name, sentence)
        for concerns, compare in _PARTS
        for name, sentence in compare(before, after)
    )


def _policy(before: Edition, after: Edition) -> Named:
    if before.law != after.law:
        yield "", f"The law that governs what is left open is now: {english(after.law)}."
    if before.answer_within != after.answer_within:
        yield "", f"Subjects must be answered within {after.answer_within}."
    if before.trust_domain != after.trust_domain:
        yield "", f"Services are now of the trust domain {after.trust_domain}."
    if before.languages != after.languages:
        yield "", f"Its languages are now {listed(after.languages)}."


def _compartments(before: Edition, after: Edition) -> Named:
    for now in new(before.by_uuid, after.by_uuid):
        yield now.name, f"The compartment {now.name} is new."
    for was in gone(before.by_uuid, after.by_uuid):
        yield was.name, f"The compartment {was.name} is gone."
    for was, now in kept(before.by_uuid, after.by_uuid):
        if was.name != now.name:
            yield now.name, f"The compartment {was.name} is now called {now.name}."
        for sentence in _fields(was, now):
            yield now.name, sentence


def _fields(before: Compartment, after: Compartment) -> Iterator[str]:
    for field in new(before.by_uid, after.by_uid):
        who = "" if field.voluntary else ", which whoever registers must give"
        yield f"{after.name} has a new field, {field.name}{who}."
    for field in gone(before.by_uid, after.by_uid):
        yield f"{after.name} no longer has the field {field.name}."
    for was, now in kept(before.by_uid, after.by_uid):
        yield from _field(was, now, f"{now.name} of {after.name}")


def _field(was: Field, now: Field, name: str) -> Iterator[str]:
    if was.name != now.name:
        yield f"{name} was called {was.name} before."
    if was.title != now.title:
        yield f"{name} reads {english(now.title)} now: make sure that it means the same."
    if was.voluntary != now.voluntary:
        yield f"{name} is now {'voluntary' if now.voluntary else 'required of whoever registers'}."
    if was.index != now.index and now.index:
        yield f"{name} can now be found by, where its value was written since."
    elif was.index != now.index:
        yield f"{name} can no longer be found by."


def _pairs(before: Edition, after: Edition) -> Named:
    were, are = _joinable(before), _joinable(after)
    for names, reason in new(were, are):
        yield names[0], f"{listed(names)} may now be joined: {english(reason)}."
    for names, _ in gone(were, are):
        yield names[0], f"{listed(names)} may no longer be joined."


def _joinable(edition: Edition) -> dict[frozenset[bytes], tuple[list[str], Text]]:
    return {
        frozenset(edition.compartments[name].uuid for name in pair): (sorted(pair), reason)
        for pair, reason in edition.joinable.items()
    }


def _services(before: Edition, after: Edition) -> Named:
    for service in new(before.by_spiffe, after.by_spiffe):
        acts = ", which acts for subjects" if service.subject_facing else ""
        if service.require_subject_assertion:
            acts += " who are there"
        yield service.name, f"{service.name}, of {service.owner}, is a new service{acts}."
    for service in gone(before.by_spiffe, after.by_spiffe):
        yield service.name, f"{service.name}, of {service.owner}, is no longer let in."
    for was, now in kept(before.by_spiffe, after.by_spiffe):
        if was.name != now.name:
            yield now.name, f"The service {was.name} is now called {now.name}."
        for operation in Operation:
            limit = now.limits.get(operation, Limit())
            if limit != was.limits.get(operation, Limit()):
                yield now.name, f"{now.name} may {operation} {_often(limit)} now."


def _often(limit: Limit) -> str:
    each = {"second": limit.per_second, "day": limit.per_day}
    said = [f"{count:,.15g} times a {unit}" for unit, count in each.items() if count is not None]
    return f"at most {' and '.join(said)}" if said else "as often as the server lets it"


def _presence(before: Edition, after: Edition) -> Named:
    """Compare owners: a subject-facing service is its owner's only one, whatever it is called."""
    were, are = _acting(before), _acting(after)
    for was, now in kept(were, are):
        if now.require_subject_assertion and not was.require_subject_assertion:
            sentence = f"{now.name} from now on acts only for subjects who are there"
            yield now.name, f"{sentence}: it must show an assertion of each."
        if was.require_subject_assertion and not now.require_subject_assertion:
            sentence = f"{now.name} NO LONGER HAS TO SHOW THAT A SUBJECT IS THERE"
            yield now.name, f"{sentence}: it may act for whomever it has a root id of, at any time."


def _acting(edition: Edition) -> dict[str, Service]:
    return {its.owner_id: its for its in edition.services.values() if its.subject_facing}


_Access = tuple[str, str, bytes, Operation]  # SPIFFE id, purpose, uuid of the compartment


def _access(edition: Edition) -> dict[_Access, dict[int, str]]:
    """Return the forms that services get, by field uid."""
    return {
        (
            edition.services[service].spiffe,
            purpose,
            edition.compartments[compartment].uuid,
            operation,
        ): {use.field.uid: use.form.word for use in uses.values()}
        for (service, purpose, compartment, operation), uses in edition.granted.items()
    }


def _grants(before: Edition, after: Edition) -> Named:
    were, are = _access(before), _access(after)
    for access in {**are, **were}:
        service = after.by_spiffe.get(access[0])
        if service is None:
            continue  # that it is gone says it all
        _, purpose, uuid, operation = access
        compartment = after.by_uuid.get(uuid) or before.by_uuid[uuid]
        where = f"of {compartment.name} for {purpose}"
        had, has = were.get(access, {}), are.get(access, {})
        now = [_shown(compartment, uid, has[uid], had) for uid in has if has[uid] != had.get(uid)]
        if now:
            yield service.name, f"{service.name} may now {operation} {listed(now)} {where}."
        lost = [before.by_uuid[uuid].by_uid[uid].name for uid in had if uid not in has]
        if lost:
            what = listed(lost) if has else "anything"
            yield service.name, f"{service.name} may no longer {operation} {what} {where}."


def _shown(compartment: Compartment, uid: int, form: str, had: Mapping[int, str]) -> str:
    instead = f" and not {had[uid]}" if uid in had else ""
    return f"{compartment.by_uid[uid].name} {form}{instead}"


def _forbids(before: Edition, after: Edition) -> Named:
    were, are = _bans(before), _bans(after)
    for ban, reason in new(were, are):
        yield "", f"Whatever is granted, {ban}: {reason}."
    for ban, _ in gone(were, are):
        yield "", f"It is no longer so that {ban}."


def _bans(edition: Edition) -> dict[str, tuple[str, str]]:
    return {banned(forbid): (banned(forbid), english(forbid.reason)) for forbid in edition.forbids}


def banned(forbid: Forbid) -> str:
    """Say what is forbidden: "no service may find anything of charts"."""
    who = "no service may"
    if forbid.service or forbid.owner:
        who = f"{forbid.service or f'the services of {forbid.owner}'} must not"
    do = listed(sorted(forbid.operations), "or") if forbid.operations else "use"
    what = listed(sorted(forbid.fields)) if forbid.fields else "anything"
    where = f" of {forbid.compartment}" if forbid.compartment else ""
    why = f" for {forbid.purpose}" if forbid.purpose else ""
    return f"{who} {do} {what}{where}{why}"


def _owners(before: Edition, after: Edition) -> Named:
    were = {owner_id: name for name, owner_id in before.owners.items()}
    are = {owner_id: name for name, owner_id in after.owners.items()}
    for name in new(were, are):
        yield name, f"The owner {name} is new."
    for name in gone(were, are):
        yield name, f"The owner {name} is gone; what its services saw stays counted."
    for was, now in kept(were, are):
        if was != now:
            yield now, f"The owner {was} is now called {now}."
    reached = _reach(before)
    for owner_id, uuids in _reach(after).items():
        names = sorted(after.by_uuid[uuid].name for uuid in uuids)
        if uuids != reached.get(owner_id, set()) and owner_id in were:
            yield are[owner_id], f"{are[owner_id]} reaches {listed(names)} now."


def _reach(edition: Edition) -> dict[str, set[bytes]]:
    reached: dict[str, set[bytes]] = {owner_id: set() for owner_id in edition.owners.values()}
    for grant in edition.grants:
        owner_id = edition.services[grant.service].owner_id
        reached[owner_id].add(edition.compartments[grant.compartment].uuid)
    return reached


_PARTS: tuple[tuple[Concerns, Callable[[Edition, Edition], Named]], ...] = (
    (Concerns.POLICY, _policy),
    (Concerns.POLICY, _presence),
    (Concerns.POLICY, _compartments),
    (Concerns.POLICY, _pairs),
    (Concerns.SUBJECTS, diff_terms.purposes),
    (Concerns.SUBJECTS, diff_terms.uses),
    (Concerns.SUBJECTS, diff_terms.recipients),
    (Concerns.CONSENT, diff_terms.consents),
    (Concerns.ERASURE, diff_terms.erasures),
    (Concerns.SERVICES, _services),
    (Concerns.SERVICES, _grants),
    (Concerns.SERVICES, _forbids),
    (Concerns.OWNERS, _owners),
)
