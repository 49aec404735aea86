"""Who acts only for subjects who are there: Issue against the real broker, with and without one.

The ways in which an assertion can be wrong are tried one by one in tests/unit/crypto.
"""

import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import piivault
import pytest
from piivault import errors
from piivault.v1.pseudonym_service_pb2 import IssueRequest

from tests.house import POLICY, House, run_house
from tests.identity_provider import ISSUER, IdentityProvider
from tests.officers import Officers
from tests.traces import files, forms, leaks, tables
from vault import config
from vault.dev.local import serving
from vault.errors import Reason
from vault.names import to_base64url
from vault.opening import StartError
from vault.service.ledger import EDITION

PORTAL = "spiffe://oshto.kg/portal"
CABINET = "spiffe://oshto.kg/cabinet"
FACING = "subject_facing: true}"
ASKED = "subject_facing: true, require_subject_assertion: true}"
PROVIDER = IdentityProvider()


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose portal acts only for subjects who are there."""
    folder = tmp_path_factory.mktemp("asking")
    policy = folder / "policy.yaml"
    text = POLICY.read_text(encoding="utf-8")
    assert text.count(FACING) == 1
    policy.write_text(text.replace(FACING, ASKED), encoding="utf-8")
    with run_house(
        folder / "state", postgres=False, policy=policy, identity_providers=[PROVIDER.section]
    ) as started:
        yield started


def _issue(root: bytes, assertion: str = "", compartment: str = "accounts") -> IssueRequest:
    return IssueRequest(compartment=compartment, root_id=root, subject_assertion=assertion)


def test_without_an_assertion_nothing_is_issued(asking: House) -> None:
    refusal = asking.refused("portal", _issue(bytes(piivault.new_root())))
    assert refusal.reason == Reason.SUBJECT_ASSERTION_REQUIRED
    assert "Edition 1 lets portal act only for subjects who are there" in refusal.message


def test_the_subject_s_pseudonym_is_issued_with_one(asking: House) -> None:
    """The same as ever, whether the root id is sent along or not; in each compartment its own."""
    root = bytes(piivault.new_root())
    there = PROVIDER.assertion(root, PORTAL)
    issued = asking.ask("portal", _issue(root, there))
    assert asking.ask("portal", _issue(b"", there)).pseudonym == issued.pseudonym
    assert asking.ask("portal", _issue(root, there, "orders")).pseudonym != issued.pseudonym


OTHER = bytes(piivault.new_root())
Make = Callable[[bytes], IssueRequest]
REFUSED: dict[str, tuple[Make, str]] = {
    "another subject's": (
        lambda r: _issue(r, PROVIDER.assertion(OTHER, PORTAL)), "another subject's"),
    "a root id cut off": (
        lambda r: _issue(r[:8], PROVIDER.assertion(r, PORTAL)), "another subject's"),
    "another service's": (lambda r: _issue(r, PROVIDER.assertion(r, CABINET)), "another service"),
    "expired": (
        lambda r: _issue(r, PROVIDER.assertion(r, PORTAL, now=time.time() - 300)), "has expired"),
    "lasting": (
        lambda r: _issue(r, PROVIDER.assertion(r, PORTAL, exp=int(time.time()) + 3600)),
        "for more than 5 minutes"),
    "a forger's": (lambda r: _issue(r, IdentityProvider().assertion(r, PORTAL)), "isn't signed by"),
    "a forger's with its own key": (
        lambda r: _issue(r, IdentityProvider().assertion(r, PORTAL, header={"jwk": {}})),
        "isn't an assertion"),
    "another issuer's": (
        lambda r: _issue(r, PROVIDER.assertion(r, PORTAL, iss="https://id.example")),
        "aren't pinned"),
    "huge": (lambda r: _issue(r, PROVIDER.assertion(r, PORTAL, jti="x" * 10**6)), "at most 4 KiB"),
    "the root id in its place": (lambda r: _issue(r, to_base64url(r)), "isn't an assertion"),
    "a space": (lambda r: _issue(r, " "), "isn't an assertion"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "says"), REFUSED.values(), ids=REFUSED)
def test_a_wrong_one_is_refused_in_words(asking: House, make: Make, says: str) -> None:
    refusal = asking.refused("portal", make(bytes(piivault.new_root())))
    assert refusal.reason == Reason.SUBJECT_ASSERTION_INVALID
    assert says in refusal.message


def test_nobody_else_gets_anything_for_one(asking: House) -> None:
    """An internal service that came by an assertion, even by one made for itself."""
    root = bytes(piivault.new_root())
    for service in ("portal", "orders"):
        there = PROVIDER.assertion(root, f"spiffe://oshto.kg/{service}")
        refusal = asking.refused("orders", _issue(root, there))
        assert refusal.reason == Reason.METHOD_NOT_ALLOWED


def test_nothing_of_it_stays(asking: House, caplog: pytest.LogCaptureFixture) -> None:
    """Neither token, root id nor a claim: in the log, in refusals, in files, in tables."""
    caplog.set_level(logging.DEBUG)
    mark = b"assertion-canary"  # 16 bytes: a root id
    planted: dict[str, Any] = {"jti": "jti-canary", "name": "name-canary", "iss": ISSUER}
    good = PROVIDER.assertion(mark, PORTAL, **planted)
    asking.ask("portal", _issue(mark, good))
    bad = [
        PROVIDER.assertion(mark, CABINET, **planted),
        PROVIDER.assertion(mark, PORTAL, **planted, aud="aud-canary"),
        PROVIDER.assertion(mark, PORTAL, **{**planted, "iss": "iss-canary"}),
        PROVIDER.assertion(mark, PORTAL, **planted, exp=1),
        PROVIDER.assertion(mark, PORTAL, **planted, header={"kid": "kid-canary"}),
        PROVIDER.assertion(mark, PORTAL, **planted, header={"jku": "jku-canary"}),
        PROVIDER.assertion(mark, PORTAL, **planted, sub="sub-canary"),
        IdentityProvider().assertion(mark, PORTAL, **planted),
        good[:-4],
    ]
    told = [asking.refused("portal", _issue(mark, token)).seen for token in bad]
    told.append(asking.refused("portal", _issue(OTHER, good)).seen)

    needles = {f"the root id, {how}": form for how, form in forms(mark).items()}
    needles |= {f"a claim, {how}": form for how, form in forms(b"-canary").items()}
    for number, token in enumerate([good, *bad]):
        for part in token.split("."):
            needles[f"token {number}: {part[:4]}…"] = part[10:40].encode()
    words = {"the log": caplog.text.encode(), "the refusals": "\n".join(told).encode()}
    assert b"SUBJECT_ASSERTION_INVALID" in words["the log"]
    assert not leaks(words, needles)
    found = files(asking)
    assert found.with_rows
    assert not leaks(found.with_rows, needles)
    assert not leaks(found.others, needles)
    assert not leaks({f"{d}.{table}": cells for d, table, cells in tables(asking)}, needles)


def test_the_sdk_asks_for_a_fresh_one_whenever_it_asks_the_broker(asking: House) -> None:
    root, made = piivault.new_root(), 0

    def fresh() -> str:
        nonlocal made
        made += 1
        return PROVIDER.assertion(bytes(root), PORTAL)

    portal = asking.client("portal")
    subject = portal.subject(root, assertion=fresh)
    pseudonym = subject.pseudonym("accounts")
    assert subject.pseudonym("accounts") == pseudonym
    assert subject.pseudonym("orders") != pseudonym
    assert made == 2
    assert portal.subject(root, assertion=fresh()).pseudonym("accounts") == pseudonym
    with pytest.raises(errors.SubjectAssertionRequired):
        portal.subject(root).pseudonym("accounts")
    with pytest.raises(errors.SubjectAssertionError, match="another subject's"):
        portal.subject(piivault.new_root(), assertion=fresh).pseudonym("accounts")


def test_a_broker_that_pins_nobody_does_not_start_where_the_edition_asks(asking: House) -> None:
    with pytest.raises(StartError) as refused, serving(_pinning(asking)):
        pass
    assert "broker: edition 1 has portal act only for subjects who are there" in str(refused.value)
    assert "[[broker.identity_providers]]" in str(refused.value)


def _pinning(house: House, *providers: IdentityProvider) -> config.Settings:
    """Return the house's configuration with these providers, for one more server."""
    settings = house.configured()
    assert settings.broker is not None
    pinned = {"identity_providers": tuple(provider.settings for provider in providers)}
    return settings.model_copy(update={"broker": settings.broker.model_copy(update=pinned)})


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_one_that_nobody_asked_for_is_checked_too(sqlite_house: House, algorithm: Any) -> None:
    """Whoever sends one may rely on it, before an edition asks."""
    provider, root = IdentityProvider(algorithm), piivault.new_root()
    with serving(_pinning(sqlite_house, provider)) as port:
        address = f"127.0.0.1:{port}"
        with piivault.Client(address, tls=sqlite_house.tls("portal"), timeout=30) as portal:
            good = provider.assertion(bytes(root), PORTAL)
            pseudonym = portal.subject(root, assertion=good).pseudonym("accounts")
            assert pseudonym == portal.subject(root).pseudonym("accounts")
            with pytest.raises(errors.SubjectAssertionError, match="another subject's"):
                portal.subject(piivault.new_root(), assertion=good).pseudonym("accounts")
    refusal = sqlite_house.refused("portal", _issue(bytes(root), good))
    assert "aren't pinned" in refusal.message


def test_an_edition_may_begin_to_ask_and_stop_again(tmp_path: Path) -> None:
    """While the broker runs; without a provider it then refuses, and says why.

    To stop takes two officers.
    """
    with run_house(tmp_path / "state", postgres=False) as own:
        request, officers = _issue(bytes(piivault.new_root())), Officers(own)
        pseudonym = own.ask("portal", request).pseudonym

        officers.change((FACING, ASKED))
        refusal = own.refused("portal", request)
        assert refusal.reason == Reason.SUBJECT_ASSERTION_REQUIRED
        there = PROVIDER.assertion(request.root_id, PORTAL)
        refusal = own.refused("portal", _issue(request.root_id, there))
        assert refusal.reason == Reason.SUBJECT_ASSERTION_INVALID
        assert "Compare `iss` and `kid` with [[broker.identity_providers]]" in refusal.message

        stopping = officers.draft((ASKED, FACING)).encode()
        assert not officers.approve(EDITION, stopping, "aida").effective
        officers.change((ASKED, FACING))
        assert own.ask("portal", request).pseudonym == pseudonym
