"""Who calls: the SPIFFE id in the client's certificate, and nothing else.

Never the common name, never a request field: a name that a caller can choose names nobody.
"""

from collections.abc import Container, Iterable, Mapping
from enum import Enum, auto

from vault.errors import Reason, VaultError
from vault.policy import Edition, Service


class Caller(Enum):
    """What kind of identity calls."""

    SUBJECT_FACING = auto()
    INTERNAL = auto()
    OFFICER = auto()
    STRANGER = auto()  # has a certificate of our CA, but is nobody in the edition


def spiffe_id(auth_context: Mapping[str, Iterable[bytes]]) -> str:
    """Return the peer's SPIFFE id; raise VaultError(IDENTITY_MISSING) unless there is exactly one.

    gRPC fills `peer_spiffe_id` only for a certificate whose one URI name is a SPIFFE id.
    """
    ids = list(auth_context.get("peer_spiffe_id", ()))
    if len(ids) != 1:
        raise VaultError(
            Reason.IDENTITY_MISSING,
            "The client certificate must hold exactly one URI name, a SPIFFE id; "
            "the common name is never read. Have a new certificate issued.",
        )
    return ids[0].decode("ascii", "replace")


def identify(
    edition: Edition, officers: Container[str], peer: str
) -> tuple[Caller, Service | None]:
    """Return what kind of caller a SPIFFE id is, and its service if it is one.

    An officer is an officer, whatever an edition says: officers sign editions, and none may make
    a service of herself.
    """
    if peer in officers:
        return Caller.OFFICER, None
    service = edition.service_of(peer)
    if service is None:
        return Caller.STRANGER, None
    return (Caller.SUBJECT_FACING if service.subject_facing else Caller.INTERNAL), service
