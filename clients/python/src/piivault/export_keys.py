"""Keys for one export, made on the subject's side: a pair for each compartment.

    keys = ExportKeys.new(["accounts", "orders"])    # on the subject's own device
    keep(keys.expose())                              # a private JWK set (RFC 7517)
    send(keys.public_text())                         # the public one: to whoever asks for them

A pair for each compartment: two that saw one key would know that two records are one person's. And
new ones for each export. Whoever asks, such as a portal, needs the public halves alone
(`read_public`) and no extra; making keys and opening what was sealed to them needs
`piivault[subject]`.
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from piivault import _hpke
from piivault._encoding import from_base64url, to_base64url
from piivault._types import _Redacted
from piivault.errors import ConfigurationError

Suite = Literal["MLKEM768-X25519", "X25519"]

DEFAULT_SUITE: Suite = "MLKEM768-X25519"  # post-quantum: safe as long as either half is
_SECRET_BYTES = 32


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a suite's keys are written as JWKs."""

    public_bytes: int
    members: Mapping[str, str]
    public: str
    private: str


_SHAPES: Mapping[Suite, _Shape] = {
    "MLKEM768-X25519": _Shape(1216, {"alg": "MLKEM768-X25519", "kty": "AKP"}, "pub", "priv"),
    "X25519": _Shape(32, {"crv": "X25519", "kty": "OKP"}, "x", "d"),  # RFC 8037
}
SUITES = tuple(_SHAPES)
_UNREADABLE = "These are no export keys: they are a JWK set, as `piivault-subject new` writes it."


@dataclass(frozen=True, slots=True)
class PublicKey:
    """What an export may be sealed to."""

    suite: Suite
    raw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if self.suite not in _SHAPES or len(self.raw) != _SHAPES[self.suite].public_bytes:
            raise ConfigurationError("An export key is one that ExportKeys.new() made.")

    @property
    def jwk(self) -> dict[str, str]:
        """The key as a JWK, its required members alone."""
        shape = _SHAPES[self.suite]
        return {**shape.members, shape.public: to_base64url(self.raw)}

    @property
    def thumbprint(self) -> str:
        """Its JWK thumbprint (RFC 7638): what an identity provider asserts as `jkt` of `cnf`."""
        return to_base64url(self.digest)

    @property
    def digest(self) -> bytes:
        """The thumbprint as 32 bytes."""
        written = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(written.encode()).digest()


class ExportKey(_Redacted):
    """A pair: the public key, and a secret that `expose()` alone shows."""

    __slots__ = ("_secret", "public")

    def __init__(self, suite: Suite, secret: bytes) -> None:
        if suite not in _SHAPES or len(secret) != _SECRET_BYTES:
            raise ConfigurationError(_UNREADABLE)
        self._secret = secret
        self.public = PublicKey(suite, _hpke.public_bytes(suite, secret))

    @classmethod
    def new(cls, suite: Suite = DEFAULT_SUITE) -> Self:
        """Make a pair."""
        return cls(suite, secrets.token_bytes(_SECRET_BYTES))

    def expose(self) -> dict[str, str]:
        """Write the pair as a private JWK."""
        return {**self.public.jwk, _SHAPES[self.public.suite].private: to_base64url(self._secret)}

    def unseal(self, sealed: bytes, info: bytes) -> bytes:
        """Open what was sealed to this key by HPKE; raise _hpke.NotOpenedError."""
        return _hpke.unseal(self.public.suite, self._secret, sealed, info)


class ExportKeys(_Redacted, Mapping[str, ExportKey]):
    """The pairs for one export, by compartment."""

    def __init__(self, pairs: Mapping[str, ExportKey]) -> None:
        self._pairs = dict(pairs)

    @classmethod
    def new(cls, compartments: Iterable[str], suite: Suite = DEFAULT_SUITE) -> Self:
        """Make a pair for each compartment."""
        return cls({name: ExportKey.new(suite) for name in compartments})

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what `expose()` wrote; raise ConfigurationError for anything else."""
        pairs = {}
        for name, suite, jwk in _read(text):
            pairs[name] = ExportKey(suite, _bytes_in(jwk, _SHAPES[suite].private))
            if pairs[name].public.jwk != {
                member: jwk.get(member) for member in pairs[name].public.jwk
            }:
                raise ConfigurationError(_UNREADABLE)
        return cls(pairs)

    @property
    def public(self) -> Mapping[str, PublicKey]:
        """The public halves, by compartment."""
        return {name: pair.public for name, pair in self._pairs.items()}

    def public_text(self) -> str:
        """Write the public halves, for `read_public`."""
        return _write({name: key.jwk for name, key in self.public.items()})

    def expose(self) -> str:
        """Write the pairs, to be kept on the subject's side until the export is opened."""
        return _write({name: pair.expose() for name, pair in self._pairs.items()})

    def of(self, thumbprint: bytes) -> ExportKey | None:
        """Return the pair whose public key has this thumbprint."""
        return next((p for p in self._pairs.values() if p.public.digest == thumbprint), None)

    def __getitem__(self, compartment: str) -> ExportKey:
        return self._pairs[compartment]

    def __iter__(self) -> Iterator[str]:
        return iter(self._pairs)

    def __len__(self) -> int:
        return len(self._pairs)


def read_public(text: str) -> dict[str, PublicKey]:
    """Read what `public_text()` wrote, by compartment; raise ConfigurationError otherwise."""
    return {
        name: PublicKey(suite, _bytes_in(jwk, _SHAPES[suite].public))
        for name, suite, jwk in _read(text)
    }


def _write(jwks: Mapping[str, Mapping[str, str]]) -> str:
    keys = [{"kid": name, **jwk} for name, jwk in sorted(jwks.items())]
    return json.dumps({"keys": keys}, indent=1) + "\n"


def _read(text: str) -> Iterator[tuple[str, Suite, dict[str, Any]]]:
    try:
        keys = json.loads(text)["keys"]
        found = {jwk["kid"]: jwk for jwk in keys}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ConfigurationError(_UNREADABLE) from None
    if not found or len(found) < len(keys):
        raise ConfigurationError(_UNREADABLE)
    for name, jwk in found.items():
        for suite, shape in _SHAPES.items():
            if all(jwk.get(member) == value for member, value in shape.members.items()):
                yield name, suite, jwk
                break
        else:
            raise ConfigurationError(_UNREADABLE)


def _bytes_in(jwk: Mapping[str, Any], member: str) -> bytes:
    try:
        return from_base64url(jwk[member])
    except (KeyError, TypeError, ValueError):
        raise ConfigurationError(_UNREADABLE) from None
