"""What the parts of an edition owe each other: each rule a function that yields its refusals.

A refusal is a path and a sentence that says what to change. Rules don't stop at the first
fault, and a reference that leads nowhere is one rule's concern alone: the others skip it.
"""

from collections.abc import Collection, Hashable, Iterable, Iterator
from datetime import UTC, datetime

from vault.policy import clique
from vault.policy.document import Document, Forbid, Grant, Service, Text, Use
from vault.policy.faults import Path, Refusals
from vault.policy.vocabulary import Basis, Operation
from vault.policy.wording import WORDINGS


def refusals(edition: Document) -> Refusals:
    """Yield every reason to refuse the edition."""
    for rule in _RULES:
        yield from rule(edition)


def _moments(edition: Document) -> Refusals:
    for key, moment in (("posted", edition.posted), ("in_force", edition.in_force)):
        if not _is_plausible(moment):
            yield (key,), "lies outside the years 2000 to 2999: correct the date"
    if edition.in_force < edition.posted:
        yield ("in_force",), "lies before posted: an edition binds nobody who couldn't read it"
    if (edition.edition == 1) != (edition.predecessor is None):
        rule = "should be null in edition 1 and the digest of the edition before in all others"
        yield ("predecessor",), rule


def _is_plausible(moment: datetime) -> bool:
    # At the ends of the calendar a moment has no UTC form, so its own year is looked at first.
    return 1999 <= moment.year <= 3000 and 2000 <= moment.astimezone(UTC).year <= 2999


def _languages(edition: Document) -> Refusals:
    for path in _repeated((("languages", i), name) for i, name in enumerate(edition.languages)):
        yield path, "stands twice: remove one"
    for i, language in enumerate(edition.languages):
        if language not in WORDINGS:
            known = ", ".join(sorted(WORDINGS))
            yield ("languages", i), f"has no wording for notices: take some of {known}"


def _texts(edition: Document) -> Refusals:
    for path, text in _all_texts(edition):
        for language in edition.languages:
            if language not in text and language in WORDINGS:
                yield (*path, language), "is missing: say it in every language of the edition"
        for language in text.keys() - set(edition.languages):
            yield (*path, language), "isn't a language of the edition: add it there or remove this"


def _all_texts(edition: Document) -> Iterator[tuple[Path, Text]]:
    yield ("law",), edition.law
    for name, owner in edition.owners.items():
        yield ("owners", name, "title"), owner.title
    for name, compartment in edition.compartments.items():
        yield ("compartments", name, "title"), compartment.title
        for field, its in compartment.fields.items():
            yield ("compartments", name, "fields", field, "title"), its.title
    for i, pair in enumerate(edition.joinable):
        yield ("joinable", i, "reason"), pair.reason
    for name, purpose in edition.purposes.items():
        yield ("purposes", name, "title"), purpose.title
        yield ("purposes", name, "description"), purpose.description
    for name, recipient in edition.recipients.items():
        yield ("recipients", name, "title"), recipient.title
    for i, forbid in enumerate(edition.forbid):
        yield ("forbid", i, "reason"), forbid.reason


def _identities(edition: Document) -> Refusals:
    owners = edition.owners.items()
    for path in _repeated((("owners", name, "id"), owner.id) for name, owner in owners):
        yield path, "is another owner's id: an id is one team's for ever, so make a new one"
    compartments = edition.compartments.items()
    for path in _repeated((("compartments", name, "uuid"), its.uuid) for name, its in compartments):
        yield path, "is another compartment's uuid: make a new one"
    services = edition.services.items()
    for path in _repeated((("services", name, "spiffe"), its.spiffe) for name, its in services):
        yield path, "is another service's SPIFFE id: give each service its own"


def _fields(edition: Document) -> Refusals:
    for name, compartment in edition.compartments.items():
        at = ("compartments", name, "fields")
        fields = compartment.fields.items()
        for path in _repeated(((*at, field, "uid"), its.uid) for field, its in fields):
            yield path, "is another field's uid in this compartment: take one never used before"
        for field, its in fields:
            if its.index and not its.type.indexable:
                sentence = f"isn't for values of type {its.type}, which many share: remove it"
                yield (*at, field, "index"), sentence
        for i, kind in enumerate(compartment.subjects):
            if kind in compartment.subjects[:i]:
                yield ("compartments", name, "subjects", i), "stands twice: remove one"


def _joinable(edition: Document) -> Refusals:
    for i, pair in enumerate(edition.joinable):
        for j, name in enumerate(pair.between):
            if name not in edition.compartments:
                yield ("joinable", i, "between", j), _nowhere("compartment", name)
        if pair.between[0] == pair.between[1]:
            yield ("joinable", i, "between"), "names one compartment twice: name two"
    pairs = (frozenset(pair.between) for pair in edition.joinable)
    for path in _repeated((("joinable", i), pair) for i, pair in enumerate(pairs)):
        yield path, "declares a pair a second time: remove one"


def _purposes(edition: Document) -> Refusals:
    for name, purpose in edition.purposes.items():
        at = ("purposes", name)
        for i, recipient in enumerate(purpose.recipients):
            if recipient not in edition.recipients:
                yield (*at, "recipients", i), _nowhere("recipient", recipient)
            elif recipient in purpose.recipients[:i]:
                yield (*at, "recipients", i), "stands twice: remove one"
        for used, use in purpose.uses.items():
            compartment = edition.compartments.get(used)
            if compartment is None:
                yield (*at, "uses", used), _nowhere("compartment", used)
                continue
            for field in use.fields:
                if field not in compartment.fields:
                    sentence = _nowhere("field", field, f" in the compartment {used}")
                    yield (*at, "uses", used, "fields", field), sentence


def _kept(edition: Document) -> Refusals:
    for name, purpose in edition.purposes.items():
        for used, use in purpose.uses.items():
            at = ("purposes", name, "uses", used, "kept_after_erasure")
            if use.kept_after_erasure and purpose.basis is not Basis.LEGAL_OBLIGATION:
                sentence = (
                    f"is for purposes on a legal obligation, and {name} stands on {purpose.basis}: "
                    "nothing else outlasts an erasure, so remove it"
                )
                yield at, sentence
            for i, field in enumerate(use.kept_after_erasure):
                if field in use.kept_after_erasure[:i]:
                    yield (*at, i), "stands twice: remove one"
                if use.fields.get(field) in (None, "present"):
                    sentence = (
                        f"{field} isn't shown to {name} plain or masked: nobody would have a use "
                        "for what is kept, so show it or remove it here"
                    )
                    yield (*at, i), sentence


def _services(edition: Document) -> Refusals:
    mates: dict[str, list[str]] = {}
    for name, service in edition.services.items():
        mates.setdefault(service.owner, []).append(name)
    for name, service in edition.services.items():
        at = ("services", name)
        if service.owner not in edition.owners:
            yield (*at, "owner"), _nowhere("owner", service.owner)
        if not service.spiffe.startswith(f"spiffe://{edition.trust_domain}/"):
            domain = edition.trust_domain
            yield (*at, "spiffe"), f"is outside the trust domain: begin it with spiffe://{domain}/"
        others = [mate for mate in mates[service.owner] if mate != name]
        if service.subject_facing and others:
            sentence = (
                f"belongs to an owner of {', '.join(others)} too: whoever acts for subjects "
                f"knows who they are, so give {name} an owner of its own"
            )
            yield (*at, "owner"), sentence
        if service.require_subject_assertion and not service.subject_facing:
            sentence = f"is for services that act for subjects: remove it, {name} acts for none"
            yield (*at, "require_subject_assertion"), sentence
        yield from _limits(service, at)


def _limits(service: Service, at: Path) -> Refusals:
    if service.subject_facing and service.limits:
        yield (*at, "limits"), "are for operations that nobody subject-facing has: remove them"
    for operation, limit in service.limits.items():
        if limit.per_second is None and limit.per_day is None:
            sentence = "says no limit: add per_second or per_day, or remove it"
            yield (*at, "limits", operation.value), sentence


def _grants(edition: Document) -> Refusals:
    keys = ((grant.service, grant.purpose, grant.compartment) for grant in edition.grants)
    for path in _repeated((("grants", i), key) for i, key in enumerate(keys)):
        yield path, "grants to the same service, purpose and compartment again: make it one grant"
    for i, grant in enumerate(edition.grants):
        at = ("grants", i)
        yield from _grant_refers(edition, grant, at)
        service = edition.services.get(grant.service)
        if service and service.subject_facing:
            sentence = (
                f"{grant.service} is subject-facing and acts for subjects alone: remove the grant"
            )
            yield (*at, "service"), sentence
        purpose = edition.purposes.get(grant.purpose)
        if purpose is None or grant.compartment not in edition.compartments:
            continue
        use = purpose.uses.get(grant.compartment)
        if use is None:
            sentence = (
                f"the purpose {grant.purpose} doesn't use {grant.compartment}: no grant exceeds "
                f"its purpose, so remove the grant or add the use, of which subjects are then told"
            )
            yield (*at, "compartment"), sentence
        else:
            yield from _grant_operates(edition, grant, use, at)


def _grant_refers(edition: Document, grant: Grant, at: Path) -> Refusals:
    if grant.service not in edition.services:
        yield (*at, "service"), _nowhere("service", grant.service)
    if grant.purpose not in edition.purposes:
        yield (*at, "purpose"), _nowhere("purpose", grant.purpose)
    if grant.compartment not in edition.compartments:
        yield (*at, "compartment"), _nowhere("compartment", grant.compartment)


def _grant_operates(edition: Document, grant: Grant, use: Use, at: Path) -> Refusals:
    fields = edition.compartments[grant.compartment].fields
    within = f"of {grant.compartment} within the purpose {grant.purpose}"
    for i, operation in enumerate(grant.operations):
        if operation in grant.operations[:i]:
            yield (*at, "operations", i), "stands twice: remove one"
        if operation is Operation.PUT and "plain" not in use.fields.values():
            yield (*at, "operations", i), f"put needs a plain field {within}: there is none"
        if operation is Operation.FIND and not any(
            name in fields and fields[name].index for name in use.fields
        ):
            yield (*at, "operations", i), f"find needs an indexed field {within}: there is none"


def _forbids(edition: Document) -> Refusals:
    for i, forbid in enumerate(edition.forbid):
        at = ("forbid", i)
        named: dict[str, tuple[str | None, Collection[str]]] = {
            "service": (forbid.service, edition.services),
            "owner": (forbid.owner, edition.owners),
            "purpose": (forbid.purpose, edition.purposes),
            "compartment": (forbid.compartment, edition.compartments),
        }
        if not any(name for name, _ in named.values()):
            yield at, "forbids everything: name a service, an owner, a purpose or a compartment"
        for key, (name, known) in named.items():
            if name is not None and name not in known:
                yield (*at, key), _nowhere(key, name)
        service = edition.services.get(forbid.service or "")
        if service and service.subject_facing:
            sentence = f"{forbid.service} is subject-facing and has no grants: remove it"
            yield (*at, "service"), sentence
        if service and forbid.owner not in (None, service.owner):
            sentence = f"isn't the owner of {forbid.service}, so nothing is forbidden: remove one"
            yield (*at, "owner"), sentence
        yield from _forbids_fields(edition, forbid, at)
        for path in _repeated(
            ((*at, "operations", j), o) for j, o in enumerate(forbid.operations or ())
        ):
            yield path, "stands twice: remove one"


def _forbids_fields(edition: Document, forbid: Forbid, at: Path) -> Refusals:
    if forbid.fields and forbid.compartment is None:
        yield (*at, "fields"), "are fields of some compartment: name it, too"
    compartment = edition.compartments.get(forbid.compartment or "")
    for i, field in enumerate(forbid.fields or ()):
        if compartment and field not in compartment.fields:
            where = f" in the compartment {forbid.compartment}"
            yield (*at, "fields", i), _nowhere("field", field, where)
        elif field in (forbid.fields or ())[:i]:
            yield (*at, "fields", i), "stands twice: remove one"


def _cliques(edition: Document) -> Refusals:
    """Count grants as written: what is forbidden today may be allowed again tomorrow."""
    services = edition.services.items()
    owner_of = {name: its.owner for name, its in services if not its.subject_facing}
    granted = ((grant.service, grant.compartment) for grant in edition.grants)
    reached = clique.reach(granted, owner_of)
    joinable = {frozenset(pair.between) for pair in edition.joinable}
    blamed = set()
    for conflict in clique.conflicts(reached, joinable):
        holder, first, second = conflict.holder, conflict.first, conflict.second
        if not {first, second} <= edition.compartments.keys():
            continue
        # What one service would hold, its owner would: say it once.
        owner = owner_of[holder.name] if holder.kind == "service" else holder.name
        if (owner, first, second) not in blamed or holder.kind == "service":
            last_grant = max(reached[holder][first], reached[holder][second])
            yield ("grants", last_grant, "compartment"), conflict.message
        blamed.add((owner, first, second))


def _repeated(items: Iterable[tuple[Path, Hashable]]) -> Iterator[Path]:
    """Yield the paths of what stands after its equal."""
    seen: set[Hashable] = set()
    for path, item in items:
        if item in seen:
            yield path
        seen.add(item)


def _nowhere(kind: str, name: str, where: str = "") -> str:
    return f"there is no {kind} {name}{where}: declare it, or correct the name"


_RULES = (
    _moments,
    _languages,
    _texts,
    _identities,
    _fields,
    _joinable,
    _purposes,
    _kept,
    _services,
    _grants,
    _forbids,
    _cliques,
)
