"""What an edition owes the editions before it, and what was seen under them.

Identities are the ids: a compartment's uuid, a field's uid, an owner's id, a service's SPIFFE
id. Names may change, ids keep what was written and seen under them. Three rules together keep
a team from shedding its history: its name doesn't go to another id, its services' names and
SPIFFE ids don't go to another owner, and whoever acted for subjects never asks for itself.
"""

from collections.abc import Iterator, Mapping

from vault.policy.clique import Reached, rejoined
from vault.policy.edition import Compartment, Edition, Field
from vault.policy.faults import EditionError, Fault, Refusals, spell

WORKERS = "piivault"
"""Under whom `touched` has the compartments that workers opened: no owner's id, which is a UUID."""

Before = Mapping[int, Edition]
Touched = Mapping[str, frozenset[bytes]]


def check_succession(before: Before, edition: Edition, touched: Touched) -> None:
    """Raise EditionError, with all faults, unless the edition may follow those before it.

    `before` has every edition ever published, by number; `touched` the uuids of all compartments
    that services of an owner ever touched, by the owner's id.
    """
    found = refusals(before, edition, touched)
    if faults := [Fault(None, spell(path), sentence) for path, sentence in found]:
        raise EditionError(faults)


def needs_officers(before: Edition | None, edition: Edition) -> int:
    """Return how many officers must sign an edition after another.

    Two where a pair becomes joinable that wasn't, where a service begins to act for subjects (by
    its SPIFFE id), or where one no longer has to show that its subjects are there. The first
    edition takes one: nothing was collected apart before it.
    """
    if before is None:
        return 1
    widened = _joinable(edition) - _joinable(before) or _acts_unseen(before, edition)
    return 2 if widened else 1


def _acts_unseen(before: Edition, edition: Edition) -> bool:
    """Tell whether a service newly acts for subjects, or for those who needn't be there now."""
    acting = {its.spiffe: its for its in before.services.values() if its.subject_facing}
    return any(
        its.spiffe not in acting
        or (acting[its.spiffe].require_subject_assertion and not its.require_subject_assertion)
        for its in edition.services.values()
        if its.subject_facing
    )


def _joinable(edition: Edition) -> set[frozenset[bytes]]:
    uuid = {name: compartment.uuid for name, compartment in edition.compartments.items()}
    return {frozenset(uuid[name] for name in pair) for pair in edition.joinable}


def refusals(before: Before, edition: Edition, touched: Touched) -> Refusals:
    """Yield every reason why the edition may not follow those before it."""
    yield from _place(before, edition)
    past = [before[number] for number in sorted(before)]
    for name, compartment in edition.compartments.items():
        yield from _compartment(past, name, compartment)
    yield from _provisioned(past, edition, touched)
    yield from _owners(past, edition)
    yield from _services(past, edition)
    yield from _history(past, edition, touched)


def _place(before: Before, edition: Edition) -> Refusals:
    last = before[max(before)] if before else None
    number, predecessor = (last.number + 1, last.digest) if last else (1, None)
    if edition.number != number:
        yield ("edition",), f"should be {number}, the number after the last edition's"
    if edition.predecessor != predecessor:
        digest = predecessor.hex() if predecessor else "null"
        yield ("predecessor",), f"should be {digest}, the digest of the last edition"
    if last and edition.posted < last.posted:
        yield ("posted",), "lies before the last edition's: an edition is posted after it"
    if last and edition.region != last.region:
        sentence = (
            f"was {last.region or 'left out'} and never changes: telephone numbers were indexed by "
            f"it, and would no longer be found"
        )
        yield ("region",), sentence


def _compartment(past: list[Edition], name: str, compartment: Compartment) -> Refusals:
    for edition in reversed(past):
        namesake = edition.compartments.get(name)
        if namesake and namesake.uuid != compartment.uuid:
            sentence = (
                f"was another in edition {edition.number}, and data and consents stand under it: "
                f"take it back, or give the new compartment another name"
            )
            yield ("compartments", name, "uuid"), sentence
            break
    for field in compartment.fields.values():
        earlier = [
            (edition.number, held.by_uid[field.uid])
            for edition in reversed(past)
            if (held := edition.by_uuid.get(compartment.uuid)) and field.uid in held.by_uid
        ]
        for key, sentence in _field(field, earlier):
            yield ("compartments", name, "fields", field.name, key), sentence


def _provisioned(past: list[Edition], edition: Edition, touched: Touched) -> Refusals:
    """Refuse a new compartment that no worker opened. The first edition comes before workers."""
    opened = touched.get(WORKERS, frozenset())
    for name, compartment in edition.compartments.items() if past else ():
        known = any(compartment.uuid in other.by_uuid for other in past)
        if not known and compartment.uuid not in opened:
            sentence = (
                "isn't provisioned: no worker has opened its database and keys. Start one with "
                "this `uuid` in its configuration, then publish"
            )
            yield ("compartments", name), sentence


def _field(field: Field, earlier: list[tuple[int, Field]]) -> Iterator[tuple[str, str]]:
    anew = "make a new field, with a uid never used before"
    for number, its in earlier:
        if its.type is not field.type:
            was = f"was {its.name} of type {its.type} in edition {number}"
            yield "uid", f"{was}, and its values are still there: {anew}"
            break
    for number, its in earlier:
        if field.index and its.index not in (None, field.index):
            yield "index", f"was {its.index} in edition {number}, and values are indexed so: {anew}"
            break


def _owners(past: list[Edition], edition: Edition) -> Refusals:
    for name, owner_id in edition.owners.items():
        for other in reversed(past):
            if other.owners.get(name, owner_id) != owner_id:
                sentence = (
                    f"was another in edition {other.number}, and what the team saw counts under "
                    f"it: take it back, or give the new team another name"
                )
                yield ("owners", name, "id"), sentence
                break
        names = [_name_of(other, owner_id) for other in past]
        last = next((other for other in reversed(names) if other), name)
        # Renamed from one edition to the next, it is the same team. Gone for a while, who knows?
        if names and names[-1] is None and last != name:
            sentence = f"was the id of {last}, who is gone: bring it back so, or make a new id"
            yield ("owners", name, "id"), sentence


def _name_of(edition: Edition, owner_id: str) -> str | None:
    return next((name for name, its in edition.owners.items() if its == owner_id), None)


def _services(past: list[Edition], edition: Edition) -> Refusals:
    services = [its for other in past for its in other.services.values()]
    by_spiffe = {its.spiffe: its for its in services}
    by_name = {its.name: its for its in services}
    by_owner = {its.owner_id: its for its in services}
    for name, service in edition.services.items():
        same = by_spiffe.get(service.spiffe, service)
        if same.owner_id != service.owner_id:
            sentence = f"was a service of {same.owner} and stays with what {same.owner} saw"
            yield ("services", name, "spiffe"), f"{sentence}: take a SPIFFE id never used before"
        elif (namesake := by_name.get(name, service)).owner_id != service.owner_id:
            sentence = f"was a service of {namesake.owner}, and blocks and the trail speak of names"
            yield ("services", name, "owner"), f"{sentence}: give this service another name"
        mate = by_owner.get(service.owner_id, service)
        if mate.subject_facing and not service.subject_facing:
            sentence = f"acted for subjects as {mate.name} and knows who they are"
            yield ("services", name, "owner"), f"{sentence}: give {name} another owner"
        if service.subject_facing and not mate.subject_facing:
            sentence = f"holds data as {mate.name}, and mustn't learn whose it is"
            yield ("services", name, "owner"), f"{sentence}: give {name} another owner"


def _history(past: list[Edition], edition: Edition, touched: Touched) -> Refusals:
    """Hold what owners are newly granted against all that they ever touched."""
    held = _reached(past[-1]) if past else {}
    granted = _reached(edition)
    for owner_id, new, old in rejoined(held, granted, touched, _joinable(edition)):
        at = ("grants", granted[owner_id, new], "compartment")
        yield at, _remembers(past, edition, owner_id, new, old)


def _reached(edition: Edition) -> dict[Reached, int]:
    """Return what owners' grants reach, each with the place of the first that does."""
    reached: dict[Reached, int] = {}
    for place, grant in enumerate(edition.grants):
        owner_id = edition.services[grant.service].owner_id
        reached.setdefault((owner_id, edition.compartments[grant.compartment].uuid), place)
    return reached


def _remembers(
    past: list[Edition], edition: Edition, owner_id: str, granted: bytes, touched: bytes
) -> str:
    known = (other.by_uuid[touched].name for other in reversed(past) if touched in other.by_uuid)
    if touched in edition.by_uuid:
        seen = f"{edition.by_uuid[touched].name} before"
        remedy = "declare the pair joinable with its reason"
    else:
        seen = f"{next(known, 'a compartment')} before it was removed"
        remedy = "bring that back and declare the pair joinable with its reason"
    return (
        f"the owner {_name_of(edition, owner_id)} touched {seen} and would now hold "
        f"{edition.by_uuid[granted].name}, which isn't joinable with it: what was seen isn't "
        f"forgotten, so grant this to another owner, or {remedy}"
    )
