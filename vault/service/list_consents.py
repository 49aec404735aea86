"""ListConsents: what the subject agreed to, in the words of the edition that they were shown."""

from collections.abc import Sequence
from dataclasses import dataclass

from vault.errors import Reason, VaultError
from vault.policy import ConsentGiven, Notice, ask_again, notice
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import given


@dataclass(frozen=True, slots=True)
class ConsentShown:
    """A consent with its edition's notice; `as_shown` if its text is what was agreed to."""

    consent: ConsentGiven
    notice: Notice
    as_shown: bool
    ask_again: bool


async def list_consents(
    served: ServedCompartment, call: Call, capability: str, language: str
) -> Sequence[ConsentShown]:
    """Return all consents of a record, withdrawn ones too, sorted by purpose. Raises VaultError.

    Each with its notice in a language of its edition, or in its own if none is named.
    """
    async with attempt(served, call, "list_consents") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        record = await served.records.open(address)
        attempted.met(record.about)
        consents = given(record.about)
        again = ask_again(call.policy.editions, call.edition, served.name, consents)
        shown = [_shown(served, call, c, language, ask=c.purpose in again) for c in consents]
        await attempted.allow()
        return shown


def _shown(
    served: ServedCompartment, call: Call, consent: ConsentGiven, language: str, *, ask: bool
) -> ConsentShown:
    edition = call.policy.editions.get(consent.edition)
    compartment = edition.by_uuid.get(served.uuid) if edition else None
    if edition is None or compartment is None:
        raise VaultError(
            Reason.DAMAGED, "A consent names an edition that isn't. The security team must look."
        )
    own = notice(edition, compartment.name, consent.purpose, consent.language)
    wanted = notice(edition, compartment.name, consent.purpose, language or consent.language)
    return ConsentShown(consent, wanted, own.digest == consent.notice_digest, ask)
