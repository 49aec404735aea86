"""What a new edition changes for subjects: what they are told, what they agreed to, what goes.

Terms are compared by purpose and by the uuid of their compartment. A purpose has no id beside
its name: under a new name it is a new purpose, to which nobody has consented.
"""

from collections.abc import Iterator
from datetime import datetime

from vault.policy.compare import Named, gone, kept, listed, new
from vault.policy.edition import Edition, Terms
from vault.policy.told import widenings
from vault.policy.vocabulary import Basis, Retention, english


def purposes(before: Edition, after: Edition) -> Named:
    """Say which purposes there are now, and which go by other words."""
    for purpose in new(before.purposes, after.purposes):
        yield purpose.name, f"The purpose {purpose.name} is new: {english(purpose.title)}."
    for purpose in gone(before.purposes, after.purposes):
        yield purpose.name, f"The purpose {purpose.name} is gone."
    for was, now in kept(before.purposes, after.purposes):
        if (was.title, was.description) != (now.title, now.description):
            sentence = f"The purpose {now.name} is put in other words, and old consents count for"
            yield now.name, f"{sentence} it: make sure that it means the same."


def uses(before: Edition, after: Edition) -> Named:
    """Say what purposes now do otherwise with each compartment."""
    were, are = _told(before), _told(after)
    for terms in new(were, are):
        names = after.by_uuid[terms.compartment].by_uid
        fields = [f"{names[uid].name} {form.word}" for uid, form in terms.fields.items()]
        where = f"{_name(after, terms)}, for {terms.retention} on {terms.basis}"
        yield terms.purpose, f"{terms.purpose} now uses {where}: {listed(fields)}."
    for terms in gone(were, are):
        yield terms.purpose, f"{terms.purpose} no longer uses {_name(before, terms)}."
    for was, now in kept(were, are):
        changes = (*_fields(was, now, before, after), *_others(was, now, before, after))
        for sentence in changes:
            yield now.purpose, f"{now.purpose} {sentence}."


def _fields(was: Terms, now: Terms, before: Edition, after: Edition) -> Iterator[str]:
    old, compartment = before.by_uuid[was.compartment], after.by_uuid[now.compartment]
    for uid, form in now.fields.items():
        if was.fields.get(uid) is not form:
            instead = f" and no longer {was.fields[uid].word}" if uid in was.fields else ""
            name = f"{compartment.by_uid[uid].name} of {compartment.name}"
            yield f"now sees {name} {form.word}{instead}"
    for uid in was.fields:
        if uid not in now.fields:
            yield f"no longer sees {old.by_uid[uid].name} of {compartment.name}"


def _others(was: Terms, now: Terms, before: Edition, after: Edition) -> Iterator[str]:
    name = _name(after, now)
    if was.retention != now.retention:
        yield f"uses {name} for {now.retention} and no longer {was.retention}"
    if was.basis is not now.basis:
        yield f"now stands on {now.basis} and no longer on {was.basis}"
    for uid in sorted(now.kept - was.kept):
        field = after.by_uuid[now.compartment].by_uid[uid].name
        yield f"keeps {field} of {name} after an erasure, as the law demands"
    for uid in sorted(was.kept - now.kept):
        field = before.by_uuid[was.compartment].by_uid[uid].name
        yield f"no longer keeps {field} of {name} after an erasure"
    for recipient in sorted(now.recipients - was.recipients):
        yield f"lets data of {name} go to {recipient} now"
    for recipient in sorted(was.recipients - now.recipients):
        yield f"no longer lets data of {name} go to {recipient}"
    for uuid in sorted(now.joins - was.joins):
        yield f"may now join {name} with {after.by_uuid[uuid].name}"
    for uuid in sorted(was.joins - now.joins):
        yield f"may no longer join {name} with {before.by_uuid[uuid].name}"


def recipients(before: Edition, after: Edition) -> Named:
    """Say which third parties there are now."""
    were = {name: (name, title) for name, title in before.recipients.items()}
    are = {name: (name, title) for name, title in after.recipients.items()}
    for name, title in new(were, are):
        yield name, f"The third party {name} is new: {english(title)}."
    for name, _ in gone(were, are):
        yield name, f"The third party {name} is gone."
    for (_, was), (name, now) in kept(were, are):
        if was != now:
            sentence = (
                f"The third party {name} is called {english(now)} now, and old consents count"
            )
            yield name, f"{sentence} for it: make sure that it is the same."


def consents(before: Edition, after: Edition) -> Named:
    """Say which consents no longer cover what, and who must be asked."""
    were, are = _told(before), _told(after)
    for terms in new(were, are):
        where = f"{terms.purpose} in {_name(after, terms)}"
        whom = "consented to" if terms.basis is Basis.CONSENT else "was told of"
        yield terms.purpose, f"Nobody {whom} {where} yet: it is denied until they consent."
    for was, now in kept(were, are):
        wider = list(widenings(was, now, after, after.in_force))
        given = f"Consent given before to {now.purpose} in {_name(after, now)}"
        if was.basis is not now.basis or not now.joins <= was.joins:
            yield (
                now.purpose,
                f"{given} covers nothing any more: {now.purpose} now {listed(wider)}.",
            )
        elif wider:
            yield now.purpose, f"{given} doesn't cover that {now.purpose} now {listed(wider)}."


def erasures(before: Edition, after: Edition) -> Named:
    """Say what falls due for erasure when the edition comes into force, or sooner than before."""
    day = after.in_force.date().isoformat()
    were, are = (_longest(edition, after.in_force) for edition in (before, after))
    for was in before.compartments.values():
        now = after.by_uuid.get(was.uuid)
        if now is None:
            yield (
                was.name,
                f"All that {was.name} holds falls due on {day}: the compartment is gone.",
            )
            continue
        old, present = were[was.uuid], are[now.uuid]
        orphans = [was.by_uid[uid].name for uid in old if uid not in present]
        if orphans:
            falls = f"of {now.name} {'falls' if len(orphans) == 1 else 'fall'} due on {day}"
            yield now.name, f"{listed(orphans)} {falls}: no purpose sees it any more."
        sooner: dict[tuple[Retention, Retention], list[str]] = {}
        for uid, retention in present.items():
            if uid in old and retention.end(after.in_force) < old[uid].end(after.in_force):
                sooner.setdefault((retention, old[uid]), []).append(now.by_uid[uid].name)
        for (short, long), names in sooner.items():
            is_used = f"of {now.name} {'is' if len(names) == 1 else 'are'} used for"
            yield now.name, f"{listed(names)} {is_used} {short} and no longer {long}."


def _longest(edition: Edition, since: datetime) -> dict[bytes, dict[int, Retention]]:
    """Return how long each field is used by any purpose, by uuid and uid."""
    longest: dict[bytes, dict[int, Retention]] = {uuid: {} for uuid in edition.by_uuid}
    for terms in edition.terms.values():
        fields = longest[terms.compartment]
        for uid in terms.fields:
            known = fields.get(uid, terms.retention)
            fields[uid] = max(known, terms.retention, key=lambda period: period.end(since))
    return longest


def _told(edition: Edition) -> dict[tuple[str, bytes], Terms]:
    return {(its.purpose, its.compartment): its for its in edition.terms.values()}


def _name(edition: Edition, terms: Terms) -> str:
    return edition.by_uuid[terms.compartment].name
