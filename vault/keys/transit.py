"""The key server (HashiCorp Vault or OpenBao): the only module that speaks to it.

    transit = Transit("https://127.0.0.1:8200", ca=Path("ca.pem"), login=AppRole(role, secret))
    wrapped = transit.new_wrapped_key("piivault-accounts", context)
    key = transit.unwrap("piivault-accounts", wrapped, context)

Every call blocks: use `asyncio.to_thread`. A Transit may be shared by threads.

hvac's exceptions can carry plaintext. They end in `_call`: what leaves it is ours, names the
operation and the key, and has no cause, no context and no value in it (`vault.keys.errors`). Nor
has its traceback: it begins at the method that was called (`_bare`).
"""

import threading
import time
from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hvac import adapters, exceptions
from hvac.api import secrets_engines
from urllib3 import exceptions as http

from vault.keys.answers import after_prefix, body_of, ciphertext_in, in_base64, plaintext_in
from vault.keys.causes import why_invalid
from vault.keys.errors import (
    KeyNotFound,
    KeyServerError,
    KeyServerForbidden,
    KeyServerUnavailable,
    WrappedKeyRejected,
)
from vault.keys.login import AppRole, Jwt, Login, Refused, Token, TokenFile
from vault.keys.session import Session

__all__ = ["AppRole", "Jwt", "Login", "Token", "TokenFile", "Transit"]

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 16  # kept open; more calls at once open more and close them again

_REPLACED = 1.0  # seconds that a new token isn't replaced by another
# Which of them it is depends on the auth method: to AppRole a wrong secret id is "invalid".
_REFUSED_LOGIN = (exceptions.Forbidden, exceptions.Unauthorized, exceptions.InvalidRequest)


def _bare(method: Callable[P, T]) -> Callable[P, T]:
    """Have a method raise from here: the frames below hold what was asked, for tools that look.

    So do `args` and `kwargs`, until they are deleted.
    """

    @wraps(method)
    def raising(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except KeyServerError as e:
            error = e
        del args, kwargs
        raise error.with_traceback(None)

    return raising


class Transit:
    """Keys of one Transit mount, used under one login.

    Logs in at the first call, renews at two thirds of the token's life, logs in anew when that
    isn't granted. `timeout` is in seconds, for connecting and for each answer. Nothing is taken
    from the environment: no proxy, no VAULT_TOKEN, no ~/.vault-token.
    """

    def __init__(
        self,
        address: str,
        ca: Path,
        login: Login | Token,
        mount: str = "transit",
        timeout: float = 2.0,
    ) -> None:
        self.address = address
        self.mount = mount
        self._login = login
        self._http = adapters.JSONAdapter(
            base_uri=address, session=Session(ca, CONNECTIONS), timeout=timeout
        )
        self._transit = secrets_engines.Transit(adapter=self._http)
        self._lock = threading.Lock()  # one login at a time; guards all below
        self._renew_at = 0.0  # on the monotonic clock
        self._ttl = 0.0
        self._refused = Refused()
        self._replace_at = 0.0  # on the monotonic clock: before, no token is replaced again
        if isinstance(login, Token):
            self._http.token, self._renew_at = login.token, float("inf")

    def close(self) -> None:
        """Close the connections. The token isn't revoked: it ends by itself."""
        self._http.close()

    # Keys in use: documented alike for HashiCorp Vault and OpenBao.

    @_bare
    def new_wrapped_key(self, key: str, context: bytes) -> str:
        """Draw 256 random bits and return them wrapped: the key server keeps the plain ones."""
        method = partial(self._transit.generate_data_key, key_type="wrapped", bits=256)
        fields = {"context": in_base64(context)}
        return self._use("draw a wrapped key with", key, method, fields, ciphertext_in)

    @_bare
    def unwrap(self, key: str, wrapped: str, context: bytes) -> bytes:
        """Return the bits that `new_wrapped_key` drew (32 bytes); else raise WrappedKeyRejected."""
        return self._open("unwrap a key with", key, wrapped, context)

    @_bare
    def encrypt(self, key: str, plaintext: bytes, context: bytes) -> str:
        """Encrypt under the newest version of the key and what is derived from it for `context`."""
        fields = {"plaintext": in_base64(plaintext), "context": in_base64(context)}
        return self._use("encrypt with", key, self._transit.encrypt_data, fields, ciphertext_in)

    @_bare
    def decrypt(self, key: str, ciphertext: str, context: bytes) -> bytes:
        """Return what `encrypt` was given; else raise WrappedKeyRejected."""
        return self._open("decrypt with", key, ciphertext, context)

    @_bare
    def rewrap(self, key: str, ciphertext: str, context: bytes) -> str:
        """Return a ciphertext anew, under the newest version of the key; no plaintext leaves it."""
        fields = {"ciphertext": ciphertext, "context": in_base64(context)}
        method = self._transit.rewrap_data
        return self._use("rewrap with", key, method, fields, ciphertext_in, WrappedKeyRejected)

    @_bare
    def hmac(self, key: str, data: bytes) -> bytes:
        """Return what `hmacs` does, of one."""
        return self.hmacs(key, [data])[0]

    @_bare
    def hmacs(self, key: str, inputs: Sequence[bytes]) -> list[bytes]:
        """HMAC-SHA-256 of each under version 1 of the key, whatever was rotated since: 32 bytes."""
        fields = {"key_version": 1, "algorithm": "sha2-256"}
        return self._each("compute an HMAC with", "hmac", key, inputs, fields, after_prefix("hmac"))

    @_bare
    def sign(self, key: str, data: bytes, version: int | None = None) -> bytes:
        """Return what `signatures` does, of one."""
        return self.signatures(key, [data], version)[0]

    @_bare
    def signatures(
        self, key: str, messages: Sequence[bytes], version: int | None = None
    ) -> list[bytes]:
        """Sign each with a version of an ed25519 key, the newest by default: 64 bytes."""
        fields = {} if version is None else {"key_version": version}
        parse = after_prefix("signature")
        return self._each("sign with", "sign", key, messages, fields, parse)

    @_bare
    def public_keys(self, key: str) -> dict[int, bytes]:
        """Return the public keys (32 bytes each) of an ed25519 key, by version."""

        def parse(data: dict[str, Any]) -> dict[int, bytes]:
            return {int(v): b64decode(k["public_key"]) for v, k in data["keys"].items()}

        return self._use("read the public keys of", key, self._transit.read_key, {}, parse)

    def _open(self, operation: str, key: str, ciphertext: str, context: bytes) -> bytes:
        fields = {"ciphertext": ciphertext, "context": in_base64(context)}
        method = self._transit.decrypt_data
        return self._use(operation, key, method, fields, plaintext_in, invalid=WrappedKeyRejected)

    def _use(
        self,
        operation: str,
        key: str,
        method: Callable[..., Any],
        fields: Mapping[str, str],
        parse: Callable[[dict[str, Any]], T],
        invalid: type[KeyServerError] = KeyServerError,
    ) -> T:
        """Call hvac's method with a key and parse what it answers."""

        def send() -> T:
            return parse(method(name=key, mount_point=self.mount, **fields)["data"])

        return self._call(operation, key, send, invalid)

    def _each(
        self,
        operation: str,
        use: str,
        key: str,
        inputs: Sequence[bytes],
        fields: Mapping[str, object],
        parse: Callable[[dict[str, Any]], bytes],
    ) -> list[bytes]:
        """Have a key used on each of `inputs`, in one request: hvac can't ask so for HMACs."""
        asked = {"batch_input": [{"input": in_base64(one)} for one in inputs], **fields}

        def send() -> list[bytes]:
            answer = body_of(self._http.post(f"/v1/{self.mount}/{use}/{key}", json=asked))
            return [parse(one) for one in answer["data"]["batch_results"]]

        return self._call(operation, key, send)

    # What setting up needs: any path, the whole answer.

    @_bare
    def read(self, path: str) -> dict[str, Any]:
        """Read a path below /v1/; raise KeyNotFound if nothing is there."""
        return self._call("read", path, lambda: body_of(self._http.get("/v1/" + path)))

    @_bare
    def write(self, path: str, /, **fields: Any) -> dict[str, Any]:
        """Write a path below /v1/ and return the answer, which may be empty."""
        return self._call(
            "write", path, lambda: body_of(self._http.post("/v1/" + path, json=fields))
        )

    @_bare
    def delete(self, path: str) -> None:
        """Delete a path below /v1/."""
        self._call("delete", path, lambda: body_of(self._http.delete("/v1/" + path)))

    @_bare
    def names(self, path: str) -> list[str]:
        """List a path below /v1/; an empty list if nothing is there."""
        try:
            answer = self._call("list", path, lambda: body_of(self._http.list("/v1/" + path)))
        except KeyNotFound:
            return []
        return list(answer["data"]["keys"])

    # The one way out.

    def _call(
        self,
        operation: str,
        subject: str,
        send: Callable[[], T],
        invalid: type[KeyServerError] = KeyServerError,
    ) -> T:
        """Log in if need be, send, and turn whatever goes wrong into an error of ours.

        The error is raised outside the `except` block: raised inside it, even `from None` would
        keep hvac's exception, and the plaintext in it, in `__context__`.
        """
        for attempt in (1, 2):
            try:
                self._keep_logged_in()
                token = self._http.token
                return send()
            except Exception as e:  # whatever it is: the promise holds for what nobody foresaw
                own = isinstance(e, KeyServerError)  # from logging in
                error = e if own else _ours(e, operation, subject, self.address, invalid)
                refused = isinstance(e, exceptions.Forbidden)
            if not refused or attempt == 2 or not self._forget(token):
                break
        raise error

    def _forget(self, token: str | None) -> bool:
        """Drop a token that was refused; tell whether another is worth a try.

        One that was just replaced isn't revoked: it may not do what was asked.
        """
        if isinstance(self._login, Token):
            return False
        with self._lock:
            if self._http.token != token:
                return True  # another thread has a new one by now
            if time.monotonic() < self._replace_at:
                return False
            self._replace_at = time.monotonic() + _REPLACED
            self._http.token = None
        return True

    def _keep_logged_in(self) -> None:
        if self._http.token and time.monotonic() < self._renew_at:
            return
        if isinstance(self._login, Token):
            return
        with self._lock:
            if self._http.token and time.monotonic() < self._renew_at:
                return
            if not (self._http.token and self._renew()):
                self._log_in(self._login)

    def _renew(self) -> bool:
        """Renew the token; False if it isn't granted or what is left of its life is short."""
        try:
            auth = self._http.post("/v1/auth/token/renew-self")["auth"]
            left = float(auth["lease_duration"])
        except exceptions.VaultError:
            return False
        if left < self._ttl / 2:
            return False
        self._renew_at = time.monotonic() + left * 2 / 3
        return True

    def _log_in(self, login: Login) -> None:
        """Get a new token; hold the lock."""
        self._http.token = None
        refused = KeyServerForbidden(
            f"log in with {login.name} at {self.address}: refused. {login.advice}"
        )
        if self._refused.holds(login):
            raise refused
        try:
            token, life = login.obtain(self._http)
            self._refused.forget()
            self._ttl = life or float("inf")
            self._renew_at = time.monotonic() + self._ttl * 2 / 3
            self._http.token = token
            return
        except KeyServerForbidden as e:  # a file of the login can't be read
            error: KeyServerError = e
        except _REFUSED_LOGIN:
            self._refused.note(login)
            error = refused
        except Exception as e:
            error = _ours(e, "log in with", login.name, self.address, KeyServerError)
        raise error


_FORBIDDEN = "this login may not. Compare its policy with what `piivault setup` writes."
_NO_CONNECTION = "no connection. Check `address` and that it runs."

# The first that matches counts.
_FAULTS: tuple[tuple[type[Exception], type[KeyServerError], str], ...] = (
    (exceptions.Forbidden, KeyServerForbidden, _FORBIDDEN),
    (exceptions.Unauthorized, KeyServerForbidden, _FORBIDDEN),
    (exceptions.InvalidPath, KeyNotFound, "not there. `piivault setup` creates what is missing."),
    (exceptions.VaultNotInitialized, KeyServerUnavailable, "not initialised. Initialise it first."),
    (exceptions.VaultDown, KeyServerUnavailable, "it is sealed. Unseal it."),
    (
        exceptions.RateLimitExceeded,
        KeyServerUnavailable,
        "it is too busy for more. Raise the rate limit (`sys/quotas/rate-limit`).",
    ),
    (exceptions.VaultError, KeyServerUnavailable, "it is broken. See its own log."),
    (http.SSLError, KeyServerUnavailable, "TLS failed. Check its certificate, its name and `ca`."),
    (http.NewConnectionError, KeyServerUnavailable, _NO_CONNECTION),
    (http.TimeoutError, KeyServerUnavailable, "no answer in time. See what keeps it."),
    (http.HTTPError, KeyServerUnavailable, _NO_CONNECTION),
    (OSError, KeyServerUnavailable, "no CA. Check that the file of `ca` can be read."),
    (Exception, KeyServerUnavailable, "its answer makes no sense. Check `address` and `mount`."),
)


def _ours(
    e: Exception, operation: str, subject: str, address: str, invalid: type[KeyServerError]
) -> KeyServerError:
    """Choose our error for anything that went wrong; no text of it is passed on."""
    if isinstance(e, exceptions.InvalidRequest):
        kind, why = invalid, why_invalid(e.errors, invalid)
    else:
        kind, why = next((k, w) for fault, k, w in _FAULTS if isinstance(e, fault))
    return kind(f"{operation} {subject} at {address}: {why}")
