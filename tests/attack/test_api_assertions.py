"""Wall 1, the API: who acts only for subjects who are there needs the identity provider's word.

A second broker of the house, which pins a provider of ours, and a service that the edition asks.
The ways in which an assertion can be malformed are in tests/unit/crypto/test_assertion.py.
"""

import hmac
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import piivault
import pytest
from piivault.v1.pseudonym_service_pb2 import IssueRequest

from tests import wire
from tests.attack.actors import Actors, adding, owner, service, spiffe_of
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.identity_provider import ISSUER, KEY_ID, IdentityProvider
from vault.dev.local import serving
from vault.errors import Reason
from vault.names import to_base64url

BOOTH, PROVIDER = "booth", IdentityProvider("RS256")
LINE = service(BOOTH, "booths", facing=True)
ASKED = LINE.replace(
    "subject_facing: true", "subject_facing: true, require_subject_assertion: true"
)


@dataclass(frozen=True, slots=True)
class Asking:
    """A broker that pins the provider, and callers of it."""

    actors: Actors
    address: str

    def told(self, who: str, root: bytes, assertion: str) -> str:
        """Ask for a pseudonym; return the reason of the refusal, or ""."""
        tls = self.actors.house.tls(who) if who == "portal" else self.actors.tls(who)
        with wire.open_channel(self.address, tls) as channel:
            request = IssueRequest(compartment="web", root_id=root, subject_assertion=assertion)
            return wire.reason_of(channel, request)


@pytest.fixture(scope="module")
def asking(actors: Actors) -> Iterator[Asking]:
    booths = adding(owners=[owner("booths")], services=[ASKED])
    actors.publish(actors.draft(*booths), "aida", "bakyt")
    settings = actors.house.settings_of("broker", SERVER__ADDRESS="127.0.0.1:0")
    assert settings.broker is not None
    pinning = settings.broker.model_copy(update={"identity_providers": (PROVIDER.settings,)})
    with serving(settings.model_copy(update={"broker": pinning})) as port:
        yield Asking(actors, f"127.0.0.1:{port}")
    # Brokers that pin nobody don't start on an edition that asks: others start some.
    actors.publish(actors.draft((ASKED, LINE)), "aida", "bakyt")


def _claims(root: bytes, holder: str = BOOTH) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER, "aud": "piivault", "azp": spiffe_of(holder), "sub": to_base64url(root),
        "iat": now, "exp": now + 60,
    }  # fmt: skip


def _unsigned(root: bytes) -> str:
    return jwt.encode(_claims(root), "", algorithm="none", headers={"kid": KEY_ID})


def _by_its_public_key(root: bytes) -> str:
    """Sign by HMAC, with the pinned public key as its secret: what all the world knows."""
    header = {"alg": "HS256", "typ": "JWT", "kid": KEY_ID}
    parts = (to_base64url(json.dumps(part).encode()) for part in (header, _claims(root)))
    signed = ".".join(parts)
    mac = hmac.digest(PROVIDER.pem.encode(), signed.encode(), "sha256")
    return f"{signed}.{to_base64url(mac)}"


def _with_its_own_key(root: bytes) -> str:
    """Bring the key along, in the header, as some libraries believe."""
    forger = IdentityProvider("RS256")
    headers = {"kid": KEY_ID, "jwk": {"kty": "RSA"}, "jku": "https://127.0.0.1/keys"}
    return jwt.encode(_claims(root), forger.key, algorithm="RS256", headers=headers)


def _glued(root: bytes) -> str:
    """Put other claims under a good signature."""
    good = PROVIDER.assertion(bytes(piivault.new_root()), spiffe_of(BOOTH)).split(".")
    other = _unsigned(root).split(".")
    return ".".join((good[0], other[1], good[2]))


FORGED: dict[str, Callable[[bytes], str]] = {
    "none": lambda root: "",
    "the root id itself": to_base64url,
    "without a signature": _unsigned,
    "by the public key": _by_its_public_key,
    "by a key that it brings": _with_its_own_key,
    "by another provider": lambda root: IdentityProvider("RS256").assertion(root, spiffe_of(BOOTH)),
    "of another subject": lambda root: PROVIDER.assertion(
        bytes(piivault.new_root()), spiffe_of(BOOTH)),
    "of another subject, glued": _glued,
    "made before another service": lambda root: PROVIDER.assertion(root, spiffe_of("portal")),
    "over": lambda root: PROVIDER.assertion(root, spiffe_of(BOOTH), now=time.time() - 600),
    "for ever": lambda root: PROVIDER.assertion(root, spiffe_of(BOOTH), exp=2**40),
    "for another audience": lambda root: PROVIDER.assertion(root, spiffe_of(BOOTH), aud="shop"),
}  # fmt: skip


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_no_other_proof_that_a_subject_is_there(
    asking: Asking,
    attempts: Attempts,
    request: pytest.FixtureRequest,
    forge: Callable[[bytes], str],
) -> None:
    root = bytes(piivault.new_root())
    told = asking.told(BOOTH, root, forge(root))
    assert told in (Reason.SUBJECT_ASSERTION_REQUIRED, Reason.SUBJECT_ASSERTION_INVALID)
    attempts.record(Wall.API, "act for who isn't there", request.node.name, REFUSED)
    assert asking.told(BOOTH, root, PROVIDER.assertion(root, spiffe_of(BOOTH))) == ""
    attempts.record(Wall.API, "act for who isn't there", "an assertion", CONTROL)
    assert asking.told("portal", root, "") == ""
    attempts.record(Wall.API, "act for who isn't there", "who isn't asked", CONTROL)


def test_an_assertion_is_good_again_until_it_ends(asking: Asking, attempts: Attempts) -> None:
    """By the service that it was made before, in each compartment: it names none, and no use."""
    root = bytes(piivault.new_root())
    assertion = PROVIDER.assertion(root, spiffe_of(BOOTH))
    assert [asking.told(BOOTH, root, assertion) for _ in range(3)] == ["", "", ""]
    attempts.record(Wall.API, "use an assertion again", "within its minutes", RESIDUAL)
    assert asking.told("portal", root, assertion) == Reason.SUBJECT_ASSERTION_INVALID
    attempts.record(Wall.API, "use an assertion again", "as another service", REFUSED)
