"""Wall 1, the API: who asks is the one SPIFFE id in the certificate, and nothing else."""

from pathlib import Path

import pytest
from piivault import TLS

from tests import wire
from tests.attack.actors import REVEAL, Actors, reveal, spiffe_of, told_with
from tests.attack.attempts import CONTROL, REFUSED, RESIDUAL, Attempts, Wall
from tests.people import Registered
from vault.errors import Reason

# What a caller says of itself.

CLERK = spiffe_of("clerk-accounts")
HEADERS: dict[str, tuple[tuple[str, str | bytes], ...]] = {
    "x-forwarded-client-cert": (("x-forwarded-client-cert", f"By=x;Hash=0;URI={CLERK}"),),
    "x-spiffe-id": (("x-spiffe-id", CLERK),),
    "peer_spiffe_id": (("peer_spiffe_id", CLERK),),
    "x-client-cert, binary": (("x-client-cert-bin", CLERK.encode()),),
    "authorization": (("authorization", f"Bearer {CLERK}"),),
    "ssl-client-s-dn": (("ssl-client-s-dn", f"CN={CLERK}"), ("ssl-client-verify", "SUCCESS")),
    "x-forwarded-for": (("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1")),
    "x-piivault-service": (("x-piivault-service", "clerk-accounts"), ("x-owner", "clerks")),
    "the method again": (("x-http-method-override", "POST"), ("x-original-path", REVEAL)),
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
def test_no_header_makes_a_caller_somebody_else(
    actors: Actors,
    person: Registered,
    attempts: Attempts,
    headers: tuple[tuple[str, str | bytes], ...],
) -> None:
    for who, expected in (
        ("analytics", Reason.NOT_GRANTED),
        ("portal", Reason.METHOD_NOT_ALLOWED),
        ("nobody", Reason.IDENTITY_UNKNOWN),
    ):
        channel = actors.channel("worker-accounts", who)
        assert told_with(channel, reveal("accounts", person.pseudonym), *headers) == expected
        attempts.record(Wall.API, "name oneself in a header", f"{who}: {headers[0][0]}", REFUSED)
    clerk = actors.channel("worker-accounts", "clerk-accounts")
    assert told_with(clerk, reveal("accounts", person.pseudonym), *headers) == ""
    attempts.record(Wall.API, "name oneself in a header", "by certificate", CONTROL)


# Certificates that our own authority issued.


def _certificate(actors: Actors, folder: Path, role: str, **fields: str) -> TLS:
    """Have the authority issue what its role for clients would refuse."""
    admin = actors.house.running.admin
    admin.write(
        "pki/roles/attack", allow_any_name=True, enforce_hostnames=False, require_cn=False,
        allowed_uri_sans=["*"], allow_ip_sans=True, server_flag=role == "server",
        client_flag=role == "client", key_type="ec", key_bits=256, max_ttl="1h")  # fmt: skip
    made = admin.write("pki/issue/attack", ttl="1h", **fields)["data"]
    for kind in ("certificate", "private_key"):
        (folder / kind).write_text(made[kind] + "\n", encoding="ascii")
    return TLS(actors.house.running.ca, folder / "certificate", folder / "private_key")


MISSING, UNKNOWN = Reason.IDENTITY_MISSING, Reason.IDENTITY_UNKNOWN
CERTIFICATES: dict[str, tuple[dict[str, str], str]] = {
    "of another trust domain": ({"uri_sans": "spiffe://oshto.kg.example/clerk-accounts"}, UNKNOWN),
    "of a trust domain in capitals": ({"uri_sans": "spiffe://OSHTO.KG/clerk-accounts"}, UNKNOWN),
    "of a name in capitals": ({"uri_sans": "spiffe://oshto.kg/CLERK-ACCOUNTS"}, UNKNOWN),
    "with a slash behind": ({"uri_sans": f"{CLERK}/"}, UNKNOWN),
    "with two slashes": ({"uri_sans": "spiffe://oshto.kg//clerk-accounts"}, MISSING),
    "one step up": ({"uri_sans": "spiffe://oshto.kg/x/../clerk-accounts"}, UNKNOWN),
    "with a query": ({"uri_sans": f"{CLERK}?x"}, UNKNOWN),
    "with a fragment": ({"uri_sans": f"{CLERK}#x"}, UNKNOWN),
    "percent-encoded": ({"uri_sans": "spiffe://oshto.kg/clerk%2Daccounts"}, UNKNOWN),
    "of another scheme": ({"uri_sans": "https://oshto.kg/clerk-accounts"}, MISSING),
    "with two ids": ({"uri_sans": f"{CLERK},{spiffe_of('analytics')}"}, MISSING),
    "with the id as its name": ({"common_name": CLERK}, MISSING),
    "with the id as a DNS name": ({"common_name": "x", "alt_names": "clerk-accounts"}, MISSING),
    "with the id as both names": (
        {"common_name": "clerk-accounts", "uri_sans": spiffe_of("nobody")}, UNKNOWN),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), CERTIFICATES.values(), ids=CERTIFICATES)
def test_a_certificate_that_only_looks_like_a_services_opens_nothing(
    actors: Actors,
    person: Registered,
    attempts: Attempts,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    fields: dict[str, str],
    expected: str,
) -> None:
    """All signed by the CA that the server trusts: names are compared whole, to the letter."""
    tls = _certificate(actors, tmp_path, "client", **fields)
    address = actors.house.running.servers["worker-accounts"].address
    with wire.open_channel(address, tls) as channel:
        told = told_with(channel, reveal("accounts", person.pseudonym))
    assert told == expected
    attempts.record(Wall.API, "look like another in a certificate", request.node.name, REFUSED)
    genuine = tmp_path / "genuine"
    genuine.mkdir()
    tls = _certificate(actors, genuine, "client", uri_sans=CLERK)
    with wire.open_channel(address, tls) as channel:
        assert told_with(channel, reveal("accounts", person.pseudonym)) == ""
    attempts.record(Wall.API, "look like another in a certificate", "the id itself", CONTROL)


def test_a_servers_certificate_is_no_clients(
    actors: Actors, person: Registered, attempts: Attempts, tmp_path: Path
) -> None:
    """Not even one that holds a service's id, and none that a process of the house serves with."""
    house = actors.house
    address = house.running.servers["worker-accounts"].address
    folder = house.state / "certificates"
    broker = TLS(house.running.ca, folder / "broker.pem", folder / "broker.key")
    named = _certificate(actors, tmp_path, "server", common_name="localhost", uri_sans=CLERK)
    for what, tls in (("the broker's own", broker), ("with a service's id", named)):
        with wire.open_channel(address, tls) as channel:
            assert told_with(channel, reveal("accounts", person.pseudonym)) == "UNAVAILABLE"
        attempts.record(Wall.API, "call with a server's certificate", what, REFUSED)
    tls = _certificate(actors, tmp_path, "client", uri_sans=CLERK)
    with wire.open_channel(address, tls) as channel:
        assert told_with(channel, reveal("accounts", person.pseudonym)) == ""
    attempts.record(Wall.API, "call with a server's certificate", "a client's", CONTROL)


def test_whoever_has_the_authority_is_whoever_they_like(
    actors: Actors, person: Registered, attempts: Attempts, tmp_path: Path
) -> None:
    """Without one key of a service: so the CA belongs to the security team."""
    tls = _certificate(actors, tmp_path, "client", uri_sans=CLERK)
    address = actors.house.running.servers["worker-accounts"].address
    with wire.open_channel(address, tls) as channel:
        assert told_with(channel, reveal("accounts", person.pseudonym)) == ""
    attempts.record(Wall.API, "issue oneself a certificate as the CA", "clerk-accounts", RESIDUAL)
