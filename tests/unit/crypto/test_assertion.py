"""Assertions: one way to be accepted, and a name for each way not to be."""

import contextlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.identity_provider import ISSUER, KEY_ID, IdentityProvider
from vault.crypto.assertion import (
    LEEWAY,
    MOST_BYTES,
    MOST_SECONDS,
    Assertion,
    read_public_key,
    verify,
)
from vault.errors import Reason, VaultError
from vault.names import from_base64url, to_base64url

NOW = 1_763_800_000
ROOT = bytes(range(240, 256))
PORTAL = "spiffe://oshto.kg/portal"
CABINET = "spiffe://oshto.kg/cabinet"
PROVIDERS = {name: IdentityProvider(name) for name in ("EdDSA", "ES256", "RS256")}
PROVIDER = PROVIDERS["EdDSA"]
STRANGER = IdentityProvider()
Make = Callable[[], str]


def _made(provider: IdentityProvider = PROVIDER, **changes: Any) -> Make:
    return lambda: provider.assertion(ROOT, PORTAL, **{"now": NOW, **changes})


def _with(**parts: Any) -> Make:
    """Add parts to the header, or change them."""
    return _made(header=parts)


def _verified(token: str, now: float = NOW, provider: IdentityProvider = PROVIDER) -> bytes:
    return verify(token, [provider.pinned], PORTAL, now).root_id


def _unsigned(alg: str, signature: bytes = b"") -> Make:
    def make() -> str:
        head = to_base64url(json.dumps({"alg": alg, "kid": KEY_ID, "typ": "JWT"}).encode())
        return f"{head}.{_made()().split('.')[1]}.{to_base64url(signature)}"

    return make


def _by_the_public_key_as_secret() -> str:
    """Sign with HMAC, and for a secret take what is public (CVE-2015-9235)."""
    parts = _unsigned("HS256")().rpartition(".")[0]
    return f"{parts}.{to_base64url(hmac.digest(PROVIDER.pem.encode(), parts.encode(), 'sha256'))}"


def _with_its_own_key() -> str:
    """Bring the key along (CVE-2018-0114)."""
    x = to_base64url(STRANGER.key.public_key().public_bytes_raw())
    return _made(STRANGER, header={"jwk": {"kty": "OKP", "crv": "Ed25519", "x": x}})()


def _altered(at: int) -> Make:
    """Change one bit of the header, the claims or the signature."""

    def make() -> str:
        parts = _made()().split(".")
        raw = bytearray(from_base64url(parts[at]))
        raw[-3] ^= 1
        parts[at] = to_base64url(bytes(raw))
        return ".".join(parts)

    return make


def _twice(name: str, value: str) -> Make:
    """Say a claim twice: readers differ in which of the two they keep."""

    def make() -> str:
        head, claims, _ = _made()().split(".")
        text = from_base64url(claims).decode()
        assert f'"{name}"' in text
        doubled = f'{{"{name}": {json.dumps(value)}, {text.removeprefix("{")}'
        return PROVIDER.sign(from_base64url(head).decode(), doubled)

    return make


def _raw(header: str, claims: str) -> Make:
    return lambda: PROVIDER.sign(header, claims)


CLAIMS = ("iss", "aud", "sub", "azp", "iat", "exp", "nbf", "jti")
HEADER = json.dumps({"alg": "EdDSA", "kid": KEY_ID, "typ": "JWT"})
MALFORMED, UNPINNED, UNSIGNED = "isn't an assertion", "aren't pinned", "isn't signed by the key"
NOT_ALLOWED = "algorithm isn't allowed"
LACKS, NO_ROOT, BORROWED = "lacks a claim", "no root id", "made for another service"
NO_KEY = "must be a JWK thumbprint"
BAD: dict[str, tuple[Make, str]] = {
    # Form
    "nothing but dots": (lambda: "..", MALFORMED),
    "two parts": (lambda: _made()().rpartition(".")[0], MALFORMED),
    "four parts": (lambda: _made()() + ".", MALFORMED),
    "no ASCII": (lambda: "Токтогулова.Айгүл.Бакытовна", MALFORMED),
    "a part that is no base64url": (lambda: _made()() + "=", MALFORMED),
    "a space behind it": (lambda: _made()() + " ", MALFORMED),
    "too large": (_made(filler="x" * MOST_BYTES), MALFORMED),
    "claims that are no object": (_raw(HEADER, '["iss"]'), MALFORMED),
    "claims nested without end": (_raw(HEADER, "[" * 2500), MALFORMED),
    "claims in UTF-16": (
        lambda: f"{to_base64url(HEADER.encode())}.{to_base64url('{}'.encode('utf-16'))}.",
        MALFORMED),
    "a number that is none": (_raw(HEADER, '{"exp": NaN}'), MALFORMED),
    "the subject twice": (_twice("sub", to_base64url(bytes(16))), MALFORMED),
    "the expiry twice": (_twice("exp", str(NOW + 10**6)), MALFORMED),
    "the algorithm twice": (
        _raw(HEADER.replace("{", '{"alg": "none", '), "{}"), MALFORMED),
    # Header
    "a header that names a place for keys": (_with(jku="https://id.example/jwks"), MALFORMED),
    "a header that names a certificate's place": (_with(x5u="https://id.example/c"), MALFORMED),
    "a header with a certificate": (_with(x5c=["MII="]), MALFORMED),
    "a header with a key": (_with_its_own_key, MALFORMED),
    "a header with something critical": (_with(crit=["b64"], b64=True), MALFORMED),
    "a header that changes the form": (_with(b64=False), MALFORMED),
    "a JWT inside it": (_with(cty="JWT"), MALFORMED),
    "another kind of token": (_with(typ="logout+jwt"), MALFORMED),
    "a kind that is no text": (_with(typ=["JWT"]), MALFORMED),
    # Key and signature
    "no key id": (_with(kid=None), UNPINNED),
    "an unknown key id": (_with(kid="2025-1"), UNPINNED),
    "a key id that is a path": (_with(kid="../../dev/null"), UNPINNED),
    "a key id that is no text": (_with(kid=[KEY_ID]), UNPINNED),
    "a key that isn't pinned": (_made(STRANGER), UNSIGNED),
    "a changed header": (_altered(0), MALFORMED),
    "a changed claim": (_altered(1), UNSIGNED),
    "a changed signature": (_altered(2), UNSIGNED),
    "no signature": (lambda: _made()().rpartition(".")[0] + ".", UNSIGNED),
    "the signature of another": (
        lambda: ".".join((*_made()().split(".")[:2], _made(jti="2")().split(".")[2])), UNSIGNED),
    # Algorithm
    "none": (_unsigned("none"), NOT_ALLOWED),
    "None": (_unsigned("None"), NOT_ALLOWED),
    "no algorithm": (_with(alg=None), NOT_ALLOWED),
    "an algorithm that is no text": (_with(alg=["EdDSA"]), NOT_ALLOWED),
    "HMAC with the public key": (_by_the_public_key_as_secret, NOT_ALLOWED),
    "another algorithm than the key's": (_with(alg="RS256"), UNSIGNED),
    "another algorithm and its key": (_made(PROVIDERS["RS256"]), UNSIGNED),
    # Claims
    "no issuer": (_made(iss=None), UNPINNED),
    "another issuer": (_made(iss="https://id.example"), UNPINNED),
    "an issuer with a slash too many": (_made(iss=ISSUER + "/"), UNPINNED),
    "issuers": (_made(iss=[ISSUER]), UNPINNED),
    "no audience": (_made(aud=None), LACKS),
    "another audience": (_made(aud="ledger"), "for another audience"),
    "other audiences": (_made(aud=["ledger", PORTAL]), "for another audience"),
    "an audience that is a number": (_made(aud=1), "for another audience"),
    "no subject": (_made(sub=None), LACKS),
    "a subject that is a number": (_made(sub=1), LACKS),
    "an empty subject": (_made(sub=""), NO_ROOT),
    "a subject that is too short": (_made(sub=to_base64url(ROOT[:15])), NO_ROOT),
    "a subject that is too long": (_made(sub=to_base64url(ROOT + b"x")), NO_ROOT),
    "a subject that is an account's name": (_made(sub="aigul@example.kg"), NO_ROOT),
    "a subject in a second spelling": (_made(sub=to_base64url(ROOT)[:-1] + "x"), NO_ROOT),
    "a subject as it is kept": (_made(sub="root_" + to_base64url(ROOT)), NO_ROOT),
    # The key for an export
    "a confirmation that is no object": (_made(cnf=[]), NO_KEY),
    "a thumbprint that is a number": (_made(cnf={"jkt": 1}), NO_KEY),
    "a thumbprint that is nothing": (_made(cnf={"jkt": None}), NO_KEY),
    "an empty thumbprint": (_made(cnf={"jkt": ""}), NO_KEY),
    "a thumbprint that is too short": (_made(cnf={"jkt": to_base64url(bytes(31))}), NO_KEY),
    "a thumbprint in a second spelling": (_made(cnf={"jkt": "A" * 42 + "B"}), NO_KEY),
    # Whose
    "another service's": (_made(azp=CABINET), BORROWED),
    "nobody's": (_made(azp=None), BORROWED),
    "everybody's": (_made(azp="*"), BORROWED),
    "services'": (_made(azp=[PORTAL]), BORROWED),
    "another service's, by its audience": (_made(azp=None, aud=["piivault", CABINET]), BORROWED),
    "another service's, though the audience is ours": (
        _made(azp=CABINET, aud=["piivault", PORTAL]), BORROWED),
    "a service's whose name begins so": (_made(azp=PORTAL + "2"), BORROWED),
    # Time
    "no moment of issue": (_made(iat=None), LACKS),
    "no expiry": (_made(exp=None), LACKS),
    "an expiry in words": (_made(exp=str(NOW + 60)), LACKS),
    "an expiry of a fraction": (_made(exp=NOW + 60.5), LACKS),
    "an expiry that is true": (_made(exp=True), LACKS),
    "a beginning in words": (_made(nbf="now"), LACKS),
    "expired": (_made(iat=NOW - 130, exp=NOW - LEEWAY), "has expired"),
    "from yesterday": (_made(now=NOW - 86400), "has expired"),
    "issued in the future": (_made(iat=NOW + LEEWAY + 1, exp=NOW + 60), "isn't valid yet"),
    "issued in the future for now": (
        _made(iat=NOW + LEEWAY + 1, nbf=NOW, exp=NOW + 60), "isn't valid yet"),
    "not valid yet": (_made(nbf=NOW + LEEWAY + 1), "isn't valid yet"),
    "too long a life": (_made(iat=NOW, exp=NOW + MOST_SECONDS + 1), "made to last"),
    "a life for ever": (_made(exp=10**300), "made to last"),
    "no life": (_made(iat=NOW, exp=NOW), "made to last"),
    "a life backwards": (_made(iat=NOW, exp=NOW - 1), "made to last"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "says"), BAD.values(), ids=BAD)
def test_is_refused_in_words_that_show_nothing_of_it(make: Make, says: str) -> None:
    token = make()
    with pytest.raises(VaultError) as refused:
        _verified(token)
    assert refused.value.reason is Reason.SUBJECT_ASSERTION_INVALID
    assert says in refused.value.message
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    shown = f"{refused.value} {refused.value!r} {refused.value.violations}"
    parts = [part for part in token.split(".") if len(part) > 8]
    for secret in (*parts, to_base64url(ROOT), ROOT.hex(), PORTAL, CABINET, ISSUER, KEY_ID):
        assert secret not in shown


GOOD: dict[str, Make] = {
    "by default": _made(),
    "without a type": _with(typ=None),
    "a type in small letters": _with(typ="jwt"),
    "with claims that nobody asked for": _made(jti="1", name="Айгүл", acr="2"),
    "several audiences": _made(aud=["ledger", "piivault"]),
    "the service as an audience": _made(azp=None, aud=["piivault", PORTAL]),
    "as long as one may last": _made(iat=NOW, exp=NOW + MOST_SECONDS),
    "at its last moment": _made(iat=NOW - 100, exp=NOW - LEEWAY + 1),
    "from a clock that is ahead": _made(iat=NOW + LEEWAY, nbf=NOW + LEEWAY, exp=NOW + 60),
}


@pytest.mark.parametrize("make", GOOD.values(), ids=GOOD)
def test_says_who_is_there(make: Make) -> None:
    assert _verified(make()) == ROOT


KEYS: dict[str, tuple[Make, bytes]] = {
    "none": (_made(), b""),
    "a thumbprint": (_made(cnf={"jkt": to_base64url(bytes(range(32)))}), bytes(range(32))),
    "beside what isn't ours": (
        _made(cnf={"x5t#S256": "…", "jkt": to_base64url(bytes(32))}), bytes(32)),
    "what isn't ours alone": (_made(cnf={"x5t#S256": "…"}), b""),
}  # fmt: skip


@pytest.mark.parametrize(("make", "key"), KEYS.values(), ids=KEYS)
def test_says_whose_key_it_is(make: Make, key: bytes) -> None:
    assert verify(make(), [PROVIDER.pinned], PORTAL, NOW) == Assertion(ROOT, key)


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_each_key_signs_with_its_one_algorithm(provider: IdentityProvider) -> None:
    good = provider.assertion(ROOT, PORTAL, now=NOW)
    assert _verified(good, provider=provider) == ROOT
    for other in PROVIDERS.values():
        if other is not provider:
            for header in ({}, {"alg": provider.algorithm}):
                forged = other.assertion(ROOT, PORTAL, now=NOW, header=header)
                with pytest.raises(VaultError, match="isn't signed by the key"):
                    _verified(forged, provider=provider)


def test_the_same_one_is_refused_once_its_time_is_over() -> None:
    token = _made(iat=NOW, exp=NOW + 60)()
    assert _verified(token, NOW + 60 + LEEWAY - 0.5) == ROOT
    with pytest.raises(VaultError, match="has expired"):
        _verified(token, NOW + 60 + LEEWAY)


def test_each_issuer_signs_with_its_own_keys_alone() -> None:
    """Two providers that both call a key 2026-1 don't stand in for each other."""
    other = IdentityProvider(issuer="https://id.bishkek.example")
    providers = [PROVIDER.pinned, other.pinned]
    for provider in (PROVIDER, other):
        said = verify(provider.assertion(ROOT, PORTAL, now=NOW), providers, PORTAL, NOW)
        assert said.root_id == ROOT
    with pytest.raises(VaultError, match="isn't signed by the key"):
        verify(other.assertion(ROOT, PORTAL, now=NOW, iss=ISSUER), providers, PORTAL, NOW)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(CLAIMS, ANYTHING)))
def test_whatever_a_provider_signs_it_is_a_root_id_or_a_refusal(changes: dict[str, Any]) -> None:
    """No other exception: the guard would call it the server's own fault."""
    with contextlib.suppress(VaultError):
        assert _verified(_made(**changes)()) == ROOT


@given(st.text() | st.text("eyJ0.-_", max_size=40))
def test_whatever_is_sent_in_its_place_is_refused(text: str) -> None:
    with pytest.raises(VaultError):
        _verified(text)


def test_nobody_is_believed_where_nobody_is_pinned() -> None:
    with pytest.raises(VaultError, match="aren't pinned"):
        verify(_made()(), [], PORTAL, NOW)


def test_every_bit_of_a_signature_counts() -> None:
    head, claims, signature = _made()().split(".")
    raw = from_base64url(signature)
    for bit in range(8 * len(raw)):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VaultError):
            _verified(f"{head}.{claims}.{to_base64url(bytes(changed))}")


def _pem(key: Any) -> str:
    form = PublicFormat.SubjectPublicKeyInfo
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, form)
    return pem.decode()


NO_KEYS: dict[str, tuple[Any, str, str]] = {
    "no PEM": ("EdDSA", "жок", "in PEM"),
    "nothing": ("EdDSA", "", "in PEM"),
    "a short RSA key": ("RS256", _pem(rsa.generate_private_key(65537, 1024)), "2048 bits"),
    "another curve": ("ES256", _pem(ec.generate_private_key(ec.SECP384R1())), "takes P-256"),
    "Ed448": ("EdDSA", _pem(ed448.Ed448PrivateKey.generate()), "takes Ed25519"),
    "an RSA key for ES256": ("ES256", PROVIDERS["RS256"].pem, "takes P-256"),
    "a curve's key for RS256": ("RS256", PROVIDERS["ES256"].pem, "takes RSA"),
    "an RSA key for EdDSA": ("EdDSA", PROVIDERS["RS256"].pem, "takes Ed25519"),
}


@pytest.mark.parametrize(("algorithm", "pem", "says"), NO_KEYS.values(), ids=NO_KEYS)
def test_a_key_that_does_not_fit_is_not_pinned(algorithm: Any, pem: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_public_key(algorithm, pem)


def test_what_is_pinned_has_no_repr_of_its_key() -> None:
    assert "public_key" not in repr(PROVIDER.pinned)
