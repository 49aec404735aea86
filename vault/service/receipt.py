"""The receipt of an erasure: what the operator says of it, signed for the compartment."""

from collections.abc import Sequence

from vault.audit.signed import canonical
from vault.crypto.attestation import Kind
from vault.crypto.primitives import digest
from vault.crypto.record import Address
from vault.service.call import Call
from vault.service.compartment import ServedCompartment
from vault.service.keep import KeptFields
from vault.service.requests import today

FORMAT = 1


async def receipt(
    served: ServedCompartment, call: Call, address: Address, id_: bytes, kept: Sequence[KeptFields]
) -> bytes:
    """Sign that all that was held is erased but for this. Raises VaultError(KEYS_UNAVAILABLE, …).

    `id_` is the request's: unrelated to anything. By it and their pseudonym the subject, and nobody
    else, shows whose receipt it is. docs/formats.md has every key of the body.
    """
    body = {
        "format": FORMAT,
        "id": id_.hex(),
        "compartment": served.name,
        "subject": digest(b"piivault/v1/receipt-subject", id_, address.pseudonym).hex(),
        "edition": call.edition.number,
        "day": today().isoformat(),
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
