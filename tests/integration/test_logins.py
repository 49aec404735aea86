"""Logins at the key server: JWT, a Kubernetes service account's, a token in a file; kept alive."""

import json
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from vault import config
from vault.dev import Running
from vault.keys.errors import KeyServerForbidden
from vault.keys.login import Jwt, Login, TokenFile
from vault.keys.provision import worker
from vault.keys.transit import Transit

ACCOUNTS, CONTEXT = "piivault-accounts", b"context"
ISSUER, AUDIENCE = "https://identity.example.kg", "key-server"

Sign = Callable[[bytes], bytes]
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


def _signer(key: Key) -> tuple[str, Sign]:
    """Return the name of a key's algorithm (RFC 7518), and how it signs."""
    if isinstance(key, rsa.RSAPrivateKey):
        return "RS256", lambda data: key.sign(data, PKCS1v15(), hashes.SHA256())

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return "ES256", sign


def _jwt(key: Key, subject: str, **claims: object) -> str:
    """Write a JWT as an identity provider would."""
    algorithm, sign = _signer(key)
    now = int(time.time())
    body = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + 600, **claims}
    parts = ({"alg": algorithm, "typ": "JWT"}, body)
    signed = ".".join(_base64url(json.dumps(part).encode()) for part in parts)
    return f"{signed}.{_base64url(sign(signed.encode()))}"


def _base64url(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


KEYS: dict[str, tuple[str, Key]] = {
    "an RSA key": ("jwt", rsa.generate_private_key(65537, 2048)),
    "an EC key": ("jwt-ec", ec.generate_private_key(ec.SECP256R1())),
    # A service account's login is the same message to another mount.
    "a service account's": ("kubernetes", rsa.generate_private_key(65537, 2048)),
}


@pytest.fixture(scope="module", autouse=True)
def _providers(running: Running) -> None:
    """Have the key server trust each key, for one subject and one audience."""
    for mount, key in KEYS.values():
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        running.admin.write(f"sys/auth/{mount}", type="jwt")
        running.admin.write(
            f"auth/{mount}/config", jwt_validation_pubkeys=[public.decode()], bound_issuer=ISSUER
        )
        _role(running, mount, "accounts")


def _role(running: Running, mount: str, name: str, **limits: int) -> None:
    running.admin.write(
        f"auth/{mount}/role/{name}",
        role_type="jwt",
        bound_audiences=[AUDIENCE],
        bound_subject="worker-accounts",
        user_claim="sub",
        token_policies=[worker("accounts")],
        token_no_default_policy=True,
        **limits,
    )


@pytest.fixture
def opened(running: Running) -> Iterator[Callable[[Login], Transit]]:
    """Open the key server under a login."""
    made: list[Transit] = []

    def log_in(login: Login) -> Transit:
        made.append(Transit(running.key_server, running.key_server_ca, login))
        return made[-1]

    yield log_in
    for transit in made:
        transit.close()


Open = Callable[[Login], Transit]


@pytest.mark.parametrize(("mount", "key"), KEYS.values(), ids=KEYS)
def test_a_jwt_is_good_for_its_roles_policy_alone(
    opened: Open, tmp_path: Path, mount: str, key: Key
) -> None:
    file = tmp_path / "token"
    file.write_text(_jwt(key, "worker-accounts") + "\n")
    transit = opened(Jwt("accounts", file, mount))
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)
    with pytest.raises(KeyServerForbidden, match="this login may not"):
        transit.new_wrapped_key("piivault-orders", CONTEXT)


RSA = KEYS["an RSA key"][1]
BAD: dict[str, Callable[[], str]] = {
    "of another subject": lambda: _jwt(RSA, "worker-orders"),
    "for another audience": lambda: _jwt(RSA, "worker-accounts", aud="elsewhere"),
    "of another issuer": lambda: _jwt(RSA, "worker-accounts", iss="https://elsewhere"),
    "that has expired": lambda: _jwt(RSA, "worker-accounts", iat=1, nbf=1, exp=2),
    "by another key": lambda: _jwt(rsa.generate_private_key(65537, 2048), "worker-accounts"),
    "that is none": lambda: "жок".encode().hex(),
    "that is empty": lambda: "",
}


@pytest.mark.parametrize("jwt", BAD.values(), ids=BAD)
def test_a_bad_jwt_is_forbidden_and_never_shown(
    opened: Open, tmp_path: Path, jwt: Callable[[], str]
) -> None:
    """The message names the role and the file, and what to check."""
    file, token = tmp_path / "token", jwt()
    file.write_text(token)
    with pytest.raises(KeyServerForbidden) as caught:
        opened(Jwt("accounts", file)).new_wrapped_key(ACCOUNTS, CONTEXT)
    said = str(caught.value)
    assert "log in with the role accounts of auth/jwt at https://" in said
    assert f"Check that the token in {file} hasn't expired" in said
    assert not token or token not in said


def test_a_jwt_is_read_anew_when_the_token_is_at_its_end(
    running: Running, opened: Open, tmp_path: Path
) -> None:
    """Renewed first; at the end of its whole life comes a new login, with what is there then."""
    name = f"short-{secrets.token_hex(4)}"
    _role(running, "jwt", name, token_ttl=1, token_max_ttl=2)
    file = tmp_path / "token"
    file.write_text(_jwt(RSA, "worker-accounts"))
    transit = opened(Jwt(name, file))
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)
    file.write_text("spent")
    with pytest.raises(KeyServerForbidden, match="hasn't expired"):
        _use(transit, seconds=4.0)
    file.write_text(_jwt(RSA, "worker-accounts"))
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)


def _use(transit: Transit, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        transit.new_wrapped_key(ACCOUNTS, CONTEXT)
        time.sleep(0.1)


# Tokens in files.


@pytest.fixture
def token(running: Running) -> Callable[..., str]:
    """Make a token for the worker of accounts."""

    def made(**limits: object) -> str:
        said = running.admin.write(
            "auth/token/create", policies=[worker("accounts")], no_default_policy=True, **limits
        )
        return str(said["auth"]["client_token"])

    return made


def test_a_token_in_a_file_is_renewed(
    opened: Open, token: Callable[..., str], tmp_path: Path
) -> None:
    """Used past its first life, though nobody wrote another one."""
    file = tmp_path / "token"
    file.write_text(token(ttl="6s", explicit_max_ttl="60s") + "\n")
    transit = opened(TokenFile(file))
    for _ in range(8):  # renewed after 4 seconds, with 2 to spare
        assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)
        time.sleep(0.9)
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)


def test_a_token_that_was_revoked_is_read_anew(
    running: Running, opened: Open, token: Callable[..., str], tmp_path: Path
) -> None:
    file, first = tmp_path / "token", token()
    file.write_text(first)
    transit = opened(TokenFile(file))
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)
    file.write_text(token())
    running.admin.write("auth/token/revoke", token=first)
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)


def test_a_token_that_nobody_keeps_fresh_is_forbidden(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s.ancient")
    with pytest.raises(KeyServerForbidden, match="Check that whoever keeps") as caught:
        opened(TokenFile(file)).new_wrapped_key(ACCOUNTS, CONTEXT)
    assert "s.ancient" not in str(caught.value)


# As the configuration names them.

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
LOGINS: dict[str, tuple[dict[str, str], config.Login]] = {
    "approle": (
        {"method": "approle", "role_id_file": "/r", "secret_id_file": "/s"},
        config.AppRoleLogin(
            method="approle", role_id_file=Path("/r"), secret_id_file=Path("/s"), mount="approle"
        ),
    ),
    "jwt": (
        {"method": "jwt", "role": "broker", "jwt_file": "/j", "mount": "oidc"},
        config.JwtLogin(method="jwt", role="broker", jwt_file=Path("/j"), mount="oidc"),
    ),
    "kubernetes": (
        {"method": "kubernetes", "role": "broker"},
        config.KubernetesLogin(
            method="kubernetes", role="broker", jwt_file=SERVICE_ACCOUNT, mount="kubernetes"
        ),
    ),
    "token": (
        {"method": "token", "token_file": "/t"},
        config.TokenLogin(method="token", token_file=Path("/t")),
    ),
}


def _broker(tmp_path: Path, login: dict[str, str]) -> config.Broker:
    lines = "\n".join(f'{name} = "{value}"' for name, value in login.items())
    file = tmp_path / "piivault.toml"
    file.write_text(
        'officers = []\n[server]\nroles = ["broker"]\ncertificate = "c"\nprivate_key = "k"\n'
        f'client_ca = "a"\n[control]\nurl = "sqlite+aiosqlite://"\n[broker.database]\nurl = "sqlite+aiosqlite://"\n[broker.login]\n{lines}\n'
    )
    section = config.load(file, {}).broker
    assert section is not None
    return section


@pytest.mark.parametrize(("written", "login"), LOGINS.values(), ids=LOGINS)
def test_a_login_is_configured_by_its_method(
    tmp_path: Path, written: dict[str, str], login: config.Login
) -> None:
    assert _broker(tmp_path, written).login == login


FAULTS: dict[str, tuple[dict[str, str], str]] = {
    "no method": (
        {"role": "broker"},
        "broker.login: method must be one of approle, jwt, kubernetes, token",
    ),
    "an unknown method": (
        {"method": "password"},
        "broker.login: method must be one of approle, jwt, kubernetes, token",
    ),
    "what belongs to another method": (
        {"method": "jwt", "role": "broker", "jwt_file": "/j", "secret_id_file": "/s"},
        "broker.login.secret_id_file: Extra",
    ),
    "a file too few": (
        {"method": "approle", "role_id_file": "/r"},
        "broker.login.secret_id_file: Field required",
    ),
    "a role too few": ({"method": "kubernetes"}, "broker.login.role: Field required"),
}


@pytest.mark.parametrize(("written", "says"), FAULTS.values(), ids=FAULTS)
def test_a_login_that_is_none_is_refused(
    tmp_path: Path, written: dict[str, str], says: str
) -> None:
    with pytest.raises(config.ConfigError) as caught:
        _broker(tmp_path, written)
    assert says in str(caught.value)
