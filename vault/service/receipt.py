"""The receipt of an erasure: what the operator says of it, signed for the compartment."""

from collections.abc import Sequence

from vault.audit.signed import canonical
from vault.crypto.attestation import Kind
from vault.crypto.primitives import digest
from vault.crypto.record import Address
from vault.crypto.request import SubjectRequest
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.keep import KeptFields

FORMAT = 1


async def receipt(
    served: ServedCompartment,
    call: Call,
    address: Address,
    request: SubjectRequest,
    kept: Sequence[KeptFields],
) -> bytes:
    """Sign that all that was held is erased but for this. Raises VaultError(KEYS_UNAVAILABLE, …).

    The request's id is unrelated to anything: by it and their pseudonym the subject, and nobody
    else, shows whose receipt it is. The day is that of the erasure: a repetition says nothing of
    what was registered since. docs/formats.md has every key of the body.
    """
    assert request.closed is not None  # noqa: S101 -- it is done
    body = {
        "format": FORMAT,
        "id": request.id.hex(),
        "compartment": served.name,
        "subject": digest(b"piivault/v1/receipt-subject", request.id, address.pseudonym).hex(),
        "edition": call.edition.number,
        "day": request.closed.isoformat(),
        "kept": [
            {
                "purpose": its.purpose,
                "basis": its.basis,
                "fields": list(its.fields),
                "until": its.until.isoformat(),
            }
            for its in kept
        ],
    }
    return await served.attest(Kind.RECEIPT, canonical(body))
