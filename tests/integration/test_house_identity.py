"""Who may come in, as the SDK tells it: wrong certificates, and callers out of place."""

import dataclasses
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import piivault
import pytest
from piivault import TLS, PiivaultError, errors

from tests.certificates import Authority
from tests.house import House
from tests.people import NOBODY
from tests.wire import PATIENCE
from vault.dev import certificates
from vault.dev.layout import Layout

PORTAL, ORDERS = "spiffe://oshto.kg/portal", "spiffe://oshto.kg/orders"

Issue = Callable[[Authority, Path], TLS]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority whose key is ours, so that it issues whatever we want."""
    return Authority(tmp_path_factory.mktemp("identity") / "authority")


@pytest.fixture(scope="module")
def address(sqlite_house: House, authority: Authority) -> Iterator[str]:
    """A server that trusts this authority with its clients."""
    with sqlite_house.another_server(SERVER__CLIENT_CA=str(authority.file)) as address:
        yield address


def _describe(address: str, tls: TLS) -> piivault.Description:
    with piivault.Client(address, tls=tls, timeout=PATIENCE) as client:
        return client.compartment("accounts", purpose="services").describe()


WRONG: dict[str, tuple[Issue, type[PiivaultError], str, str]] = {
    "expired": (
        lambda a, t: a.client("expired", ORDERS, ends=-timedelta(minutes=1)),
        errors.ConfigurationError, "CONFIGURATION", "expired at"),
    "of another authority": (
        lambda a, t: Authority(t / "other").client("orders", ORDERS),
        errors.ConnectionFailed, "TLS_REFUSED", "isn't issued by the CA"),
    "with two SPIFFE ids": (
        lambda a, t: a.client("two", ORDERS, PORTAL),
        errors.ConfigurationError, "CONFIGURATION", "it holds 2 URIs"),
    "with its id in the common name only": (
        lambda a, t: a.client("name", common_name=ORDERS),
        errors.ConfigurationError, "CONFIGURATION", "The common name isn't looked at"),
    "of nobody": (
        lambda a, t: a.client("nobody", "spiffe://oshto.kg/nobody"),
        errors.Unauthenticated, "IDENTITY_UNKNOWN", "nobody's in edition 1"),
    "of a namesake elsewhere": (
        lambda a, t: a.client("namesake", "spiffe://osh.example/orders"),
        errors.Unauthenticated, "IDENTITY_UNKNOWN", "nobody's in edition 1"),
    "of another kind of caller": (
        lambda a, t: a.client("portal", PORTAL),
        errors.PermissionDenied, "METHOD_NOT_ALLOWED", "subject-facing"),
}  # fmt: skip


@pytest.mark.parametrize(("issue", "error", "reason", "says"), WRONG.values(), ids=WRONG)
def test_a_wrong_certificate_is_named_by_its_fault(
    sqlite_house: House,
    authority: Authority,
    address: str,
    tmp_path: Path,
    issue: Issue,
    error: type[PiivaultError],
    reason: str,
    says: str,
) -> None:
    """What is the same at each attempt isn't called retryable."""
    tls = dataclasses.replace(issue(authority, tmp_path), ca=sqlite_house.running.ca)
    with pytest.raises(error) as caught:
        _describe(address, tls)
    assert caught.value.reason == reason
    assert says in caught.value.message
    assert not caught.value.retryable


def test_the_right_certificate_comes_in(
    sqlite_house: House, authority: Authority, address: str
) -> None:
    tls = authority.client("orders", ORDERS, common_name="portal", dns="portal")
    trusting = dataclasses.replace(tls, ca=sqlite_house.running.ca)
    assert _describe(address, trusting).operations == {"reveal"}


def test_the_development_authority_issues_one_identity_a_certificate(house: House) -> None:
    """What it issues is let in; a name that nobody in the edition has isn't."""
    layout = Layout(house.state)
    certificates.issue_client(layout, house.running.admin, "again", ORDERS)
    files = [layout.path("certificates", f"again.{kind}") for kind in ("pem", "key")]
    tls = TLS(house.running.ca, *files)
    assert _describe(house.running.grpc_address, tls).operations == {"reveal"}


CALLS: dict[str, tuple[str, Callable[[piivault.Client], object]]] = {
    "an internal service registering somebody": (
        "orders", lambda c: c.subject(piivault.new_root()).register("accounts", {})),
    "an internal service asking for notices": ("orders", lambda c: c.notices("accounts", "ky")),
    "an internal service asking for a pseudonym": (
        "support", lambda c: c.subject(piivault.new_root()).pseudonym("accounts")),
    "the portal revealing": (
        "portal", lambda c: c.compartment("accounts", purpose="account").reveal(
            NOBODY, ["email"])),
    "the portal searching": (
        "portal", lambda c: c.compartment("accounts", purpose="account").find(email="a@b.kg")),
    "an officer revealing": (
        "officer-aida", lambda c: c.compartment("accounts", purpose="account").reveal(
            NOBODY, ["email"])),
    "an officer viewing": (
        "officer-bakyt", lambda c: c.subject(piivault.new_root()).view("accounts")),
}  # fmt: skip


@pytest.mark.parametrize(("identity", "call"), CALLS.values(), ids=CALLS)
def test_a_caller_out_of_place_is_told(
    house: House, identity: str, call: Callable[[piivault.Client], object]
) -> None:
    with pytest.raises(errors.PermissionDenied) as caught:
        call(house.client(identity))
    assert caught.value.reason == "METHOD_NOT_ALLOWED"
    assert caught.value.request_id
