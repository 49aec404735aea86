"""What a compartment signs for a subject: receipts and exports. Verified without a server.

    receipt = subject.erase("accounts")
    keep(receipt.signed)                                   # bytes, to be shown to whoever asks
    said = attestation.verify(receipt.signed, ["…"], "receipt")

The keys are the compartment's public ones, in base64url, as its operator publishes them; whoever
only has them from the service that relayed the bytes has that service's word for it. Needs the
extra `piivault[subject]`.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from piivault._encoding import from_base64url, join
from piivault.errors import AttestationError, ConfigurationError

AttestationKind = Literal["receipt", "export", "report"]

_VERSION = 1
_KINDS: Mapping[int, AttestationKind] = {1: "receipt", 2: "export", 3: "report"}
_KEY_BYTES = 32
_HEAD_BYTES = 1 + 1 + 16 + 8  # version, kind, compartment, key id
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class Attestation:
    """What was signed, for the compartment with this uuid (16 bytes)."""

    kind: AttestationKind
    compartment: bytes
    body: bytes = field(repr=False)


def verify(
    signed: bytes, keys: Iterable[str], kind: AttestationKind, compartment: bytes = b""
) -> Attestation:
    """Return what one of these keys signed; of another compartment or kind it is refused.

    Raises AttestationError, and ConfigurationError where a key is none or there are none.
    """
    known = {_key_id(raw): raw for raw in map(_public_key, keys)}
    if not known:
        raise ConfigurationError(
            "No public key is known for this compartment: give those that its operator publishes "
            "(PIIVAULT_COMPARTMENT_<NAME>_SIGNING_KEYS, or signing_keys)."
        )
    payload, signature = signed[:-_SIGNATURE_BYTES], signed[-_SIGNATURE_BYTES:]
    if len(payload) < _HEAD_BYTES or payload[0] != _VERSION:
        raise AttestationError("These bytes are no attestation, or one of a newer release.")
    key = known.get(payload[18:_HEAD_BYTES])
    if key is None or not _is_signed(key, signature, join(b"piivault/v1/attestation", payload)):
        raise AttestationError("No key of this compartment signed this, or it was changed since.")
    found = _KINDS.get(payload[1])
    if found != kind:
        raise AttestationError(f"This was signed as something else than a {kind}.")
    if compartment and payload[2:18] != compartment:
        raise AttestationError("This was signed for another compartment.")
    return Attestation(kind, payload[2:18], payload[_HEAD_BYTES:])


def _public_key(text: str) -> bytes:
    try:
        raw = from_base64url(text)
    except ValueError:
        raw = b""
    if len(raw) != _KEY_BYTES:
        raise ConfigurationError("A signing key is 32 bytes in base64url: `piivault keys status`.")
    return raw


def _is_signed(public_key: bytes, signature: bytes, message: bytes) -> bool:
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise ConfigurationError("To verify, install the extra: piivault[subject].") from None
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def _key_id(public_key: bytes) -> bytes:
    return hashlib.sha256(join(b"piivault/v1/attestation-key", public_key)).digest()[:8]
