"""Capabilities: the broker's signed word that a holder may act for one subject in one compartment.

    version 1 | key id 8 | compartment uuid 16 | pseudonym 32 | holder 32 | expiry 8 | signature 64

`cap_` and base64url of that. The holder is SHA-256 of its SPIFFE id; the expiry is in seconds
since 1970. Ed25519 over a label and all that stands before the signature. Workers check it offline.

Version 2 is for an export and nothing else: behind the expiry stands the thumbprint (32 bytes) of
the one key that the export may be sealed to. Version 1 is for everything but an export.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vault.crypto.export_key import THUMBPRINT_BYTES
from vault.crypto.primitives import digest, is_signed, join
from vault.errors import Reason, VaultError
from vault.names import Pseudonym, from_base64url, to_base64url

VERSION = 1
EXPORT_VERSION = 2
_PAYLOAD_BYTES = 1 + 8 + 16 + 32 + 32 + 8
_SIGNATURE_BYTES = 64
_INVALID = "This capability isn't one that the broker issued for this compartment. Issue a new one."
_OTHER_KEY = (
    "This capability is for an export to another key. Issue one with this key's thumbprint as its "
    "`export_key`."
)
_NOT_FOR_EXPORTS = "This capability isn't for exports: issue one with an `export_key`."
_FOR_AN_EXPORT = (
    "This capability is for an export and nothing else: issue one without `export_key`."
)


@dataclass(frozen=True, slots=True)
class Capability:
    """Who may act for whom, where, and until when (seconds since 1970).

    With an export key, a thumbprint: they may export to that key, and do nothing else.
    """

    compartment: bytes
    pseudonym: Pseudonym
    holder: str = field(repr=False)
    expires: int
    export_key: bytes = b""

    def payload(self, public_key: bytes) -> bytes:
        """Return what stands before the signature of the key with this public half."""
        return b"".join(
            (
                bytes((EXPORT_VERSION if self.export_key else VERSION,)),
                key_id(public_key),
                self.compartment,
                self.pseudonym.raw,
                _holder(self.holder),
                self.expires.to_bytes(8, "big"),
                self.export_key,
            )
        )


def key_id(public_key: bytes) -> bytes:
    """Return the 8 bytes that name a capability key."""
    return digest(b"piivault/v1/capability-key", public_key)[:8]


def to_sign(payload: bytes) -> bytes:
    """Return the bytes that the broker has Transit sign."""
    return join(b"piivault/v1/capability", payload)


def encode(payload: bytes, signature: bytes) -> str:
    """Write a capability as it goes over the wire."""
    return "cap_" + to_base64url(payload + signature)


def verify(
    token: str,
    keys: Mapping[bytes, bytes],
    compartment: bytes,
    holder: str,
    now: float,
    export_key: bytes = b"",
) -> Pseudonym:
    """Return whose record the holder may act on; raise VaultError if this token doesn't say so.

    With an export key: whose record they may export to it. `keys` are public keys by key id. The
    signature is checked before anything that it covers.
    """
    try:
        raw = from_base64url(token.removeprefix("cap_")) if token.startswith("cap_") else b""
    except ValueError:
        raw = b""
    payload, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    _check_version(payload, for_export=bool(export_key))
    public_key = keys.get(payload[1:9])
    if public_key is None or not is_signed(public_key, signature, to_sign(payload)):
        raise VaultError(Reason.CAPABILITY_INVALID, _INVALID)
    if payload[9:25] != compartment:
        raise VaultError(Reason.CAPABILITY_INVALID, _INVALID)
    if payload[_PAYLOAD_BYTES:] != export_key:
        raise VaultError(Reason.CAPABILITY_INVALID, _OTHER_KEY)
    if payload[57:89] != _holder(holder):
        raise VaultError(
            Reason.CAPABILITY_BORROWED,
            "This capability was issued to another service. Each holder asks for its own.",
        )
    if int.from_bytes(payload[89:97], "big") <= now:
        raise VaultError(
            Reason.CAPABILITY_EXPIRED,
            "This capability's time is over. Ask PseudonymService.Issue for a new one.",
        )
    return Pseudonym(payload[25:57])


def _check_version(payload: bytes, *, for_export: bool) -> None:
    """Raise VaultError unless this is a payload for an export, or for all else."""
    shape = (payload[:1], len(payload))
    acting = (bytes((VERSION,)), _PAYLOAD_BYTES)
    exporting = (bytes((EXPORT_VERSION,)), _PAYLOAD_BYTES + THUMBPRINT_BYTES)
    if shape not in (acting, exporting):
        raise VaultError(Reason.CAPABILITY_INVALID, _INVALID)
    if shape != (exporting if for_export else acting):
        wrong = _NOT_FOR_EXPORTS if for_export else _FOR_AN_EXPORT
        raise VaultError(Reason.CAPABILITY_INVALID, wrong)


def _holder(spiffe_id: str) -> bytes:
    return digest(b"piivault/v1/holder", spiffe_id.encode())
