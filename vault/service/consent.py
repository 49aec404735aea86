"""Granting and withdrawing consent (clauses 1.2 and 2.5)."""

from collections.abc import Sequence

from vault.errors import Reason, VaultError
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment, now
from vault.service.opened import OpenedRecord
from vault.service.register import ConsentAsked, add_consents
from vault.service.repeating import request_mark
from vault.service.rewrite import Edited, Rewrite, rewrite


async def grant_consent(
    served: ServedCompartment, call: Call, capability: str, consents: Sequence[ConsentAsked]
) -> str:
    """Add or renew consents; return the new etag. Raises VaultError."""
    async with attempt(served, call, "grant_consent") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        _some(consents, "consents")
        asked = [[c.purpose, c.edition, c.language] for c in consents]
        mark = await request_mark(served, call, "grant_consent", address, asked)

        def edit(record: OpenedRecord) -> Edited:
            about = record.copied_about()
            add_consents(call, served.name, about, consents)
            return Edited(about, record.values())

        return await rewrite(served, Rewrite(attempted, address, edit, mark))


async def withdraw_consent(
    served: ServedCompartment, call: Call, capability: str, purposes: Sequence[str]
) -> str:
    """Withdraw consents; return the new etag. Raises VaultError.

    A purpose that no longer is in the edition can be withdrawn from, too. What isn't given, or
    is withdrawn already, stays as it is.
    """
    async with attempt(served, call, "withdraw_consent") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        _some(purposes, "purposes")
        mark = await request_mark(served, call, "withdraw_consent", address, sorted(purposes))

        def edit(record: OpenedRecord) -> Edited:
            about = record.copied_about()
            held = {consent.purpose for consent in about.consents}
            if not all(p in held or p in call.edition.purposes for p in purposes):
                raise VaultError(
                    Reason.UNKNOWN_PURPOSE,
                    "Neither the edition in force nor the record knows such a purpose.",
                )
            for consent in about.consents:
                if consent.purpose in purposes and not consent.withdrawn_at:
                    consent.withdrawn_at = now()
            return Edited(about, record.values())

        return await rewrite(served, Rewrite(attempted, address, edit, mark))


def _some(items: Sequence[object], name: str) -> None:
    if not items:
        raise VaultError(
            Reason.MALFORMED_REQUEST,
            f"The request names no {name}: at least one is needed.",
            violations={name: "must not be empty"},
        )
