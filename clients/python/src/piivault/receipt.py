"""The receipt of an erasure: what the operator signed, and whose it is.

erasure = subject.erase("accounts")
keep(erasure.receipt)                                       # bytes

receipt = Receipt.open(kept, ["…public key of accounts…"])  # years later, without a server
receipt.is_of(pseudonym)
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Self

from piivault import attestation
from piivault._requests import Erasure, KeptByLaw
from piivault.errors import AttestationError

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class Receipt:
    """What was signed: all that was held when it was asked for is erased, but for `kept`."""

    id: bytes
    compartment: str
    compartment_uuid: bytes
    subject: bytes
    edition: int
    day: date
    kept: tuple[KeptByLaw, ...]

    @classmethod
    def open(cls, signed: bytes, keys: Iterable[str]) -> Self:
        """Verify a receipt by the compartment's public keys, and read it.

        Raises AttestationError, and ConfigurationError where a key is none or there are none.
        """
        said = attestation.verify(signed, keys, "receipt")
        try:
            body = json.loads(said.body)
            if body["format"] != _FORMAT:
                raise AttestationError("This receipt is of a later format: use a newer release.")
            return cls(
                bytes.fromhex(body["id"]),
                body["compartment"],
                said.compartment,
                bytes.fromhex(body["subject"]),
                body["edition"],
                date.fromisoformat(body["day"]),
                tuple(_kept(its) for its in body["kept"]),
            )
        except (ValueError, TypeError, KeyError):
            raise AttestationError("This was signed, and is no receipt.") from None

    def is_of(self, pseudonym: str) -> bool:
        """Tell whether it is the receipt of the subject with this pseudonym there."""
        try:
            raw = base64.b64decode(pseudonym.removeprefix("psn_") + "=", altchars=b"-_")
        except ValueError:
            return False
        parts = (b"piivault/v1/receipt-subject", self.id, raw)
        joined = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.compare_digest(hashlib.sha256(joined).digest(), self.subject)


def checked(erasure: Erasure, keys: Sequence[str], pseudonym: str) -> Erasure:
    """Return an erasure with its receipt verified, or as it is where no key is known.

    Raises AttestationError if it isn't what the compartment signed for this subject.
    """
    if not keys:
        return erasure
    if not Receipt.open(erasure.receipt, keys).is_of(pseudonym):
        raise AttestationError("This is another subject's receipt.")
    return replace(erasure, verified=True)


def _kept(its: dict[str, object]) -> KeptByLaw:
    fields = its["fields"]
    if not isinstance(fields, list):
        raise ValueError("fields is a list")
    return KeptByLaw(
        purpose=str(its["purpose"]),
        basis=str(its["basis"]),
        fields=tuple(map(str, fields)),
        until=date.fromisoformat(str(its["until"])),
    )
