"""Packages: what a subject's export is sealed in, to a key that the subject made for it.

    version 1 | suite 1 | compartment uuid 16 | request id 16 | thumbprint 32 | enc | ciphertext

What stands before `enc` is the header; HPKE's `info` is a label and the header (RFC 9180, 8.1), so
that nothing of it can be changed. Inside, joined and padded:

    salt 32, attestation, holdings

The attestation is of kind EXPORT, over a commitment to the holdings: the key server that signs
learns nothing of them, and the subject can show them to others. It lies inside the seal, so that
nobody on the way sees who signed what.

Only the subject opens a package: the SDK does (`piivault.exports`). Frozen vectors: export_v1.json.
"""

import secrets
from dataclasses import dataclass

from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM
from cryptography.hazmat.primitives.hpke import Suite as Hpke

from vault.crypto.export_key import ExportKey, Suite
from vault.crypto.padding import export_size, pad
from vault.crypto.primitives import digest, join

VERSION = 1
SALT_BYTES = 32

_HPKE = {
    Suite.X25519: Hpke(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
    Suite.MLKEM768_X25519: Hpke(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM),
}


@dataclass(frozen=True, slots=True)
class Addressee:
    """Whom a package is for: a compartment's uuid, a request's id (16 bytes each), and a key."""

    compartment: bytes
    request_id: bytes
    key: ExportKey

    @property
    def header(self) -> bytes:
        """Return what stands in clear at the package's beginning."""
        start = bytes((VERSION, self.key.suite))
        return start + self.compartment + self.request_id + self.key.thumbprint


def new_salt() -> bytes:
    """Draw the salt of one export."""
    return secrets.token_bytes(SALT_BYTES)


def commitment(salt: bytes, holdings: bytes) -> bytes:
    """Return what is attested of the holdings: 32 bytes that tell nothing without the salt."""
    return digest(b"piivault/v1/export-content", salt, holdings)


def seal(addressee: Addressee, salt: bytes, attestation: bytes, holdings: bytes) -> bytes:
    """Seal attested holdings for whoever made the key; raise ValueError if it is no key."""
    content = join(salt, attestation, holdings)
    padded = pad(content, export_size(len(content)))
    info = join(b"piivault/v1/export", addressee.header)
    sealed = _HPKE[addressee.key.suite].encrypt(padded, addressee.key.public_key(), info)
    return addressee.header + sealed
