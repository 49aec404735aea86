"""The blind index: equality search on sealed values.

A row holds a keyed hash of the normalised value, never the value. The key differs for each
compartment and field, so equal values in two compartments have unequal index values. Only
near-unique types are indexed: an index over few values would show how often each occurs.

What a thief of the table learns: which pseudonyms have a value in a field, and which of them
have the same; never what it is.
What a holder of the index key can do: try values. Hence the key is wrapped like a KEK.
"""

import unicodedata
from collections.abc import Callable

import phonenumbers

from vault.crypto.primitives import mac

NORMALISATION = 1  # the version below; a change of rules is a new version, and a new index
INDEX_VALUE_BYTES = 16


def index_value(key: bytes, compartment: bytes, uid: int, normalised: bytes) -> bytes:
    """Return the 16 bytes that stand for a normalised value of a field."""
    version = NORMALISATION.to_bytes(2, "big")
    return mac(key, compartment, uid.to_bytes(4, "big"), version, normalised)[:INDEX_VALUE_BYTES]


def normalise(type_: str, value: str, region: str | None = None) -> bytes | None:
    """Return what equal values of a type have in common, or None if it isn't to be indexed.

    `region` (ISO 3166, such as "KG") completes a phone number that has no country code.
    The value itself is stored as it was given (clause 1.3): this is only for looking it up.
    """
    return _NORMALISERS[type_](value, region) if type_ in _NORMALISERS else None


def _email(value: str, _region: str | None) -> bytes | None:
    folded = unicodedata.normalize("NFKC", value).strip().casefold()
    # Once more: folding takes letters apart.
    local, at, domain = unicodedata.normalize("NFKC", folded).rpartition("@")
    return f"{local}@{domain}".encode() if at and local and domain else None


def _phone(value: str, region: str | None) -> bytes | None:
    try:
        number = phonenumbers.parse(value, region)
    except phonenumbers.NumberParseException:
        return None
    # The parser takes the letter O for a digit; a number that isn't valid is kept, not indexed.
    if not phonenumbers.is_valid_number(number):
        return None
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164).encode()


def _document_number(value: str, _region: str | None) -> bytes | None:
    text = unicodedata.normalize("NFKC", value).upper()
    return "".join(c for c in text if c.isalnum()).encode() or None


def _identifier(value: str, _region: str | None) -> bytes | None:
    return unicodedata.normalize("NFC", value).strip().encode() or None


_NORMALISERS: dict[str, Callable[[str, str | None], bytes | None]] = {
    "email": _email,
    "phone": _phone,
    "document_number": _document_number,
    "identifier": _identifier,
}
INDEXABLE_TYPES = frozenset(_NORMALISERS)
