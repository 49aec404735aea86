"""Assertions: an identity provider's short-lived word that a subject is there, before one service.

A JWT (RFC 7519, RFC 8725) in compact form, signed by a pinned key:

    header   alg, kid and perhaps typ "JWT"; nothing else, so nothing that points to a key or
             changes the form
    iss aud  the provider and the audience that stand in the configuration
    sub      the root id, 16 bytes in base64url
    azp      the SPIFFE id of the service that may use it; without `azp`, `aud` names it too
    iat exp  seconds since 1970, at most MOST_SECONDS apart; `nbf`, if there, is kept to
    cnf      for an export: {"jkt": …}, the thumbprint of the subject's key (RFC 7800, RFC 9449)

PyJWT checks the signature, issuer and audience; what stands here is stricter than the standard.
No claim and nothing of the token is ever in an error.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from vault.crypto.export_key import THUMBPRINT_BYTES
from vault.errors import Reason, VaultError
from vault.names import ROOT_ID_BYTES, from_base64url

Algorithm = Literal["EdDSA", "ES256", "RS256"]
"""Ed25519 (RFC 8037), ECDSA on P-256, RSA with PKCS #1 1.5 (RFC 7518). Never HMAC, never none."""
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey

MOST_BYTES = 4096
MOST_SECONDS = 300
LEEWAY = 10  # seconds that two clocks may differ
_RSA_BITS = 2048  # RFC 7518, 3.3
_HEADER = frozenset({"alg", "kid", "typ"})
_REQUIRED = ["iss", "aud", "sub", "iat", "exp"]

_MALFORMED = (
    f"This isn't an assertion: it must be a signed JWT of at most {MOST_BYTES // 1024} KiB, with "
    "alg, kid and perhaps typ in its header and nothing else, and no name twice."
)
_NOT_ALLOWED = (
    "This assertion's algorithm isn't allowed. Have the identity provider sign with the pinned "
    f"key's, one of {', '.join(get_args(Algorithm))}."
)
_NOT_PINNED = (
    "This assertion names an issuer and a key that aren't pinned together at the broker. Compare "
    "`iss` and `kid` with [[broker.identity_providers]] of its configuration."
)
_NOT_SIGNED = "This assertion isn't signed by the key that it names, with that key's algorithm."
_NOT_FOR_US = "This assertion is for another audience: `aud` must name this broker's."
_LACKS = f"This assertion lacks a claim, or one isn't of its type. Needed: {', '.join(_REQUIRED)}."
_EXPIRED = "This assertion has expired. Ask the identity provider for a new one."
_EARLY = "This assertion isn't valid yet. Compare the identity provider's clock with the broker's."
_TOO_LONG = (
    f"This assertion is made to last for more than {MOST_SECONDS // 60} minutes, or for none. Have "
    "the identity provider make shorter ones."
)
_BORROWED = (
    "This assertion was made for another service: `azp`, or without it `aud`, must name the SPIFFE "
    "id of the service that uses it."
)
_NO_KEY = (
    "This assertion's `cnf` is none that can be read: its `jkt` must be a JWK thumbprint, "
    f"{THUMBPRINT_BYTES} bytes in base64url."
)
_NO_ROOT = f"This assertion's subject is no root id: {ROOT_ID_BYTES} bytes in base64url."


@dataclass(frozen=True, slots=True)
class Assertion:
    """Who is there, and the thumbprint of the key that is theirs for an export; empty if none."""

    root_id: bytes = field(repr=False)
    export_key: bytes = b""


@dataclass(frozen=True, slots=True)
class PinnedKey:
    """A key of an identity provider, and the one algorithm that it signs with."""

    algorithm: Algorithm
    public_key: PublicKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class PinnedProvider:
    """Who may say that a subject is there: the issuer's name, whom it says it to, and its keys."""

    issuer: str
    audience: str
    keys: Mapping[str, PinnedKey]  # by key id


def read_public_key(algorithm: Algorithm, pem: str) -> PublicKey:
    """Read a public key in PEM; raise ValueError if it can't be used with the algorithm."""
    try:
        key = load_pem_public_key(pem.strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("should be a public key in PEM (-----BEGIN PUBLIC KEY-----)") from None
    if algorithm == "EdDSA" and isinstance(key, Ed25519PublicKey):
        return key
    if algorithm == "ES256" and isinstance(key, EllipticCurvePublicKey):
        if isinstance(key.curve, SECP256R1):
            return key
    elif algorithm == "RS256" and isinstance(key, RSAPublicKey) and key.key_size >= _RSA_BITS:
        return key
    needed = {"EdDSA": "Ed25519", "ES256": "P-256", "RS256": f"RSA of {_RSA_BITS} bits or more"}
    raise ValueError(f"isn't a key for {algorithm}, which takes {needed[algorithm]}")


def verify(token: str, providers: Sequence[PinnedProvider], holder: str, now: float) -> Assertion:
    """Return what a provider says of a subject who is there, before the holder (a SPIFFE id), now.

    Raises VaultError(SUBJECT_ASSERTION_INVALID). The signature is checked before any claim but
    `iss`, which only chooses among pinned keys.
    """
    header, claims = _opened(token)
    provider, key = _pinned(header.get("kid"), claims.get("iss"), providers)
    _check_signed(token, provider, key)
    _check_time(claims, now)
    _check_holder(claims, holder)
    try:
        root_id = from_base64url(claims["sub"])
    except ValueError:
        root_id = b""
    if len(root_id) != ROOT_ID_BYTES:
        raise _invalid(_NO_ROOT)
    return Assertion(root_id, _export_key(claims.get("cnf", {})))


def _opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take the token apart, as strictly as it can be read: one spelling, one meaning."""
    if len(token) > MOST_BYTES:
        raise _invalid(_MALFORMED)
    try:
        head, body, signature = token.split(".")
        from_base64url(signature)
        header, claims = _object(head), _object(body)
    except (ValueError, RecursionError):
        raise _invalid(_MALFORMED) from None
    kind = header.get("typ", "JWT")
    known = header.keys() <= _HEADER and isinstance(kind, str) and kind.upper() == "JWT"
    if not known:
        raise _invalid(_MALFORMED)
    if header.get("alg") not in get_args(Algorithm):
        raise _invalid(_NOT_ALLOWED)
    return header, claims


def _object(segment: str) -> dict[str, Any]:
    text = from_base64url(segment).decode()
    tree = json.loads(text, object_pairs_hook=_each_once, parse_constant=_no_number)
    if not isinstance(tree, dict):
        raise ValueError("no object")
    return tree


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # The JSON that PyJWT reads keeps the last of two: another reader may keep the first.
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _no_number(word: str) -> NoReturn:
    raise ValueError("NaN and its kin are no JSON")


def _pinned(
    key_id: object, issuer: object, providers: Sequence[PinnedProvider]
) -> tuple[PinnedProvider, PinnedKey]:
    for provider in providers:
        if provider.issuer == issuer and isinstance(key_id, str) and key_id in provider.keys:
            return provider, provider.keys[key_id]
    raise _invalid(_NOT_PINNED)


def _check_signed(token: str, provider: PinnedProvider, key: PinnedKey) -> None:
    try:
        jwt.decode(
            token,
            key.public_key,
            algorithms=[key.algorithm],  # the key's own, whatever the header says
            issuer=provider.issuer,
            audience=provider.audience,
            # Times are checked below, against the caller's clock and more strictly.
            options={
                "require": _REQUIRED,
                "verify_exp": False,
                "verify_iat": False,
                "verify_nbf": False,
            },
        )
    # PyJWT's own words may quote a claim.
    except (jwt.InvalidAlgorithmError, jwt.InvalidSignatureError):
        raise _invalid(_NOT_SIGNED) from None
    except jwt.InvalidAudienceError:
        raise _invalid(_NOT_FOR_US) from None
    except jwt.PyJWTError:
        raise _invalid(_LACKS) from None


def _check_time(claims: Mapping[str, Any], now: float) -> None:
    moments = [claims["iat"], claims["exp"], claims.get("nbf", claims["iat"])]
    if any(type(moment) is not int for moment in moments):  # a bool is an int, and no moment
        raise _invalid(_LACKS)
    issued, expires, not_before = moments
    if not 0 < expires - issued <= MOST_SECONDS:
        raise _invalid(_TOO_LONG)
    if expires + LEEWAY <= now:
        raise _invalid(_EXPIRED)
    if max(issued, not_before) > now + LEEWAY:
        raise _invalid(_EARLY)


def _check_holder(claims: Mapping[str, Any], holder: str) -> None:
    audience = claims["aud"]
    named = [claims["azp"]] if "azp" in claims else audience if isinstance(audience, list) else []
    if holder not in named:
        raise _invalid(_BORROWED)


def _export_key(confirmation: object) -> bytes:
    if not isinstance(confirmation, dict):
        raise _invalid(_NO_KEY)
    # Other ways to confirm a key are other protocols' (RFC 7800, 3.1): not understood, not used.
    if "jkt" not in confirmation:
        return b""
    try:
        thumbprint = from_base64url(confirmation["jkt"])
    except (TypeError, ValueError):
        raise _invalid(_NO_KEY) from None
    if len(thumbprint) != THUMBPRINT_BYTES:
        raise _invalid(_NO_KEY)
    return thumbprint


def _invalid(sentence: str) -> VaultError:
    return VaultError(Reason.SUBJECT_ASSERTION_INVALID, sentence)
