"""The city's identity provider, as the demo plays it: who has logged in gets an assertion.

A real one is another system, such as Keycloak. The broker knows of it what `section` says.
"""

import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from piivault import RootId

from vault.names import to_base64url

ISSUER = "https://id.oshto.kg"
KEY_ID = "2026-1"


class IdentityProvider:
    """Holds a key, and says who is there before the portal."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()

    @property
    def section(self) -> dict[str, Any]:
        """What stands under [[broker.identity_providers]] in the broker's configuration."""
        pem = self._key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        key = {"id": KEY_ID, "algorithm": "EdDSA", "public_key": pem.decode()}
        return {"issuer": ISSUER, "keys": [key]}

    def assertion(self, root: RootId) -> str:
        """Say, for two minutes, that whoever has this root id is there before the portal."""
        now = int(time.time())
        claims = {
            "iss": ISSUER,
            "aud": "piivault",
            "azp": "spiffe://oshto.kg/portal",
            "sub": to_base64url(bytes(root)),
            "iat": now,
            "exp": now + 120,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"kid": KEY_ID})
