"""What a subject is shown before they consent, made from the edition alone (clause 1.2).

The same edition, compartment, purpose and language give the same text to the byte, always: a
consent carries the text's digest, and can be checked against the edition years later.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from vault.errors import Reason, VaultError
from vault.policy.edition import Compartment, Edition, FieldUse, Purpose, some
from vault.policy.vocabulary import Basis
from vault.policy.wording import WORDINGS, Wording


@dataclass(frozen=True, slots=True)
class Notice:
    """What to show to a subject, for one purpose in one compartment."""

    purpose: str
    edition: int
    language: str
    text: str
    digest: bytes  # SHA-256 of the text in UTF-8
    consent_needed: bool  # else the notice informs and asks nothing


def notices(edition: Edition, compartment: str, language: str) -> tuple[Notice, ...]:
    """Return the notices of all purposes that use a compartment, sorted by purpose.

    Raises VaultError: UNKNOWN_COMPARTMENT, or MALFORMED_REQUEST for an unknown language.
    """
    edition.compartment(compartment)
    _wording(edition, language)
    purposes = sorted(edition.purposes.values(), key=lambda purpose: purpose.name)
    return tuple(
        notice(edition, compartment, purpose.name, language)
        for purpose in purposes
        if compartment in purpose.uses
    )


@lru_cache(maxsize=1024)  # it is the same always, and every consent is held against one
def notice(edition: Edition, compartment: str, purpose: str, language: str) -> Notice:
    """Return the notice of one purpose in one compartment.

    Raises VaultError: UNKNOWN_COMPARTMENT, UNKNOWN_PURPOSE where the purpose doesn't use the
    compartment, or MALFORMED_REQUEST for an unknown language.
    """
    its, used = edition.compartment(compartment), edition.purposes.get(purpose)
    if used is None or compartment not in used.uses:
        known = [name for name, other in edition.purposes.items() if compartment in other.uses]
        raise VaultError(
            Reason.UNKNOWN_PURPOSE,
            f"No such purpose uses {compartment} in edition {edition.number}: {some(known)} do.",
        )
    wording = _wording(edition, language)
    text = "\n".join(_lines(edition, its, used, language, wording)) + "\n"
    digest = hashlib.sha256(text.encode()).digest()
    needed = used.basis is Basis.CONSENT
    return Notice(purpose, edition.number, language, text, digest, needed)


def verify_notice(
    edition: Edition, compartment: str, purpose: str, language: str, digest: bytes
) -> Notice:
    """Return the notice that a consent refers to.

    Raises VaultError(NOTICE_MISMATCH) if its digest is another, and whatever `notice` raises.
    """
    shown = notice(edition, compartment, purpose, language)
    if shown.digest != digest:
        raise VaultError(
            Reason.NOTICE_MISMATCH,
            f"The consent to {purpose} carries the digest of another text than the notice of "
            f"edition {edition.number} in {language}: show that notice, and send its digest back.",
        )
    return shown


def _wording(edition: Edition, language: str) -> Wording:
    if language not in edition.languages:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"Edition {edition.number} has no notices in that language: "
            f"it has {some(edition.languages)}.",
        )
    return WORDINGS[language]


def _lines(
    edition: Edition, compartment: Compartment, purpose: Purpose, language: str, words: Wording
) -> Iterator[str]:
    use = purpose.uses[compartment.name]
    recipients = [edition.recipients[name][language] for name in purpose.recipients]
    in_force = edition.in_force.strftime(words.date)
    yield purpose.title[language]
    yield purpose.description[language]
    yield ""
    yield f"{words.basis}: {words.bases[purpose.basis]}."
    yield f"{words.fields} ({words.quote(compartment.title[language])}):"
    yield from (_field(its, language, words) for its in use.fields.values())
    yield f"{words.recipients}: {'; '.join(recipients) or words.no_recipients}."
    joins = list(_joins(edition, compartment, purpose, language, words))
    yield f"{words.joins}: {'; '.join(joins) or words.no_joins}."
    yield f"{words.retention}: {words.duration(use.retention)}."
    if use.kept:  # else not a word, so that older notices stay as they are
        titles = "; ".join(field.title[language] for field in use.kept)
        yield f"{words.kept}: {titles}."
    yield f"{words.law}: {edition.law[language]}."
    yield f"{words.edition.format(number=edition.number, date=in_force)}."
    yield words.consent if purpose.basis is Basis.CONSENT else words.no_consent


def _field(use: FieldUse, language: str, words: Wording) -> str:
    voluntary = f" ({words.voluntary})" if use.field.voluntary else ""
    return f"– {use.field.title[language]}{voluntary}: {words.forms[use.form]}"


def _joins(
    edition: Edition, compartment: Compartment, purpose: Purpose, language: str, words: Wording
) -> Iterator[str]:
    for other in sorted(purpose.uses):
        reason = edition.joinable.get(frozenset((compartment.name, other)))
        if reason:
            title = words.quote(edition.compartments[other].title[language])
            yield f"{title} – {reason[language].rstrip('.')}"
