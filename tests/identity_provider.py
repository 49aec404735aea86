"""An identity provider for tests: makes a key, signs, and says what a broker pins of it.

    provider = IdentityProvider()
    provider.assertion(bytes(root), "spiffe://oshto.kg/portal")            # a good one
    provider.assertion(bytes(root), "spiffe://oshto.kg/portal", sub=None)  # without a claim

In a configuration it is `provider.section`, for `verify` it is `provider.pinned`.
"""

import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from vault import config
from vault.crypto.assertion import Algorithm, PinnedKey, PinnedProvider
from vault.names import to_base64url

ISSUER = "https://id.oshto.kg"
KEY_ID = "2026-1"


class IdentityProvider:
    """One provider with one key."""

    def __init__(self, algorithm: Algorithm = "EdDSA", issuer: str = ISSUER) -> None:
        self.algorithm: Algorithm = algorithm
        self.issuer = issuer
        self.key: Any = _new_key(algorithm)

    @property
    def pem(self) -> str:
        """The public key."""
        form = PublicFormat.SubjectPublicKeyInfo
        pem: bytes = self.key.public_key().public_bytes(Encoding.PEM, form)
        return pem.decode()

    @property
    def pinned(self) -> PinnedProvider:
        """What a broker holds of it."""
        return PinnedProvider(
            self.issuer, "piivault", {KEY_ID: PinnedKey(self.algorithm, self.key.public_key())}
        )

    @property
    def section(self) -> dict[str, Any]:
        """What a broker's configuration has of it, under [[broker.identity_providers]]."""
        key = {"id": KEY_ID, "algorithm": self.algorithm, "public_key": self.pem}
        return {"issuer": self.issuer, "keys": [key]}

    @property
    def settings(self) -> config.IdentityProvider:
        """The same, as it is read."""
        return config.IdentityProvider.model_validate(self.section)

    def assertion(
        self,
        root: bytes,
        service: str,
        *,
        now: float | None = None,
        header: dict[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Say that a subject is there; None takes a claim or a part of the header out."""
        issued = int(time.time() if now is None else now)
        claims = {
            "iss": self.issuer,
            "aud": "piivault",
            "azp": service,
            "sub": to_base64url(root),
            "iat": issued,
            "exp": issued + 120,
        }
        head = {"alg": self.algorithm, "kid": KEY_ID, "typ": "JWT"} | (header or {})
        return self.sign(_text(head), _text(claims | changes))

    def sign(self, header: str, claims: str) -> str:
        """Sign whatever texts."""
        parts = f"{to_base64url(header.encode())}.{to_base64url(claims.encode())}"
        signature = jwt.get_algorithm_by_name(self.algorithm).sign(parts.encode(), self.key)
        return f"{parts}.{to_base64url(signature)}"


def _new_key(algorithm: Algorithm) -> object:
    if algorithm == "RS256":
        return rsa.generate_private_key(65537, 2048)
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return Ed25519PrivateKey.generate()


def _text(tree: dict[str, Any]) -> str:
    return json.dumps({name: value for name, value in tree.items() if value is not None})
