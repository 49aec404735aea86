"""From a root id to a pseudonym, the part that isn't the key server's."""

from vault.crypto.primitives import digest


def transit_input(compartment: bytes, root_id: bytes) -> bytes:
    """Return what Transit's HMAC is asked for: 32 bytes that differ for each compartment.

    The key server's audit log shows the same HMAC for the same input under any key: sent
    as it is, one root id would link its pseudonyms there.
    """
    return digest(b"piivault/v1/pseudonym", compartment, root_id)
