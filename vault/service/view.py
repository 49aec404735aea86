"""View: the subject sees their own record, in clear (clause 3.1.3)."""

from collections.abc import Sequence
from dataclasses import dataclass

from vault.crypto.primitives import DamagedError
from vault.errors import damaged
from vault.policy import ConsentGiven, FieldUse, Form, ask_again
from vault.service.attempt import attempt
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.consents import given
from vault.service.etags import etag_of
from vault.service.keep import KeptFields, kept_records, open_own, told
from vault.service.reveal import RevealedValue


@dataclass(frozen=True, slots=True)
class Viewed:
    """The subject's own record. If it was erased, it is what the law has kept, and has no etag."""

    kind: int
    fields: tuple[RevealedValue, ...]
    consents: Sequence[ConsentGiven]
    ask_again: frozenset[str]  # purposes that now go beyond what was agreed to
    etag: str
    restricted: bool
    erased: bool
    kept: Sequence[KeptFields]


async def view(
    served: ServedCompartment, call: Call, capability: str, names: Sequence[str]
) -> Viewed:
    """Return the subject's values, all of them if no names are given. Raises VaultError.

    Restricted or not: it is theirs.
    """
    async with attempt(served, call, "view") as attempted:
        address = served.bearer(capability, call.service.spiffe)
        compartment = call.edition.compartment(served.name)
        fields = [compartment.field(n) for n in names or compartment.fields]
        attempted.asks_for([FieldUse(f, Form.PLAIN) for f in fields])
        kept = await kept_records(served, call, address)
        record = await open_own(served, address, kept)
        attempted.met(record.about)
        await attempted.allow()
        try:
            values = record.values(f.uid for f in fields)
        except DamagedError:
            raise damaged("A value") from None
        shown = (
            RevealedValue(
                f.name,
                Form.PLAIN,
                f.uid in values,
                values[f.uid].value if f.uid in values else None,
            )
            for f in fields
        )
        erased = bool(record.about.kept)
        consents = () if erased else given(record.about)
        return Viewed(
            record.about.subject_kind,
            tuple(shown),
            consents,
            ask_again(call.policy.editions, call.edition, served.name, consents),
            "" if erased else etag_of(record.row),
            record.about.restricted,
            erased,
            told(served, call, kept),
        )
