"""The key server (HashiCorp Vault or OpenBao), as all other rooms speak to it.

    transit = Transit("https://127.0.0.1:8200", ca=Path("ca.pem"), login=AppRole(role, secret))
    wrapped = transit.new_wrapped_key("piivault-accounts", context)
    key = transit.unwrap("piivault-accounts", wrapped, context)

Every call blocks: use `asyncio.to_thread`. A Transit may be shared by threads.

hvac's exceptions can carry plaintext. They end in `_call`: what leaves it is ours, names the
operation and the key, and has no cause, no context and no value in it (`vault.keys.errors`). Nor
has its traceback: it begins at the method that was called (`_bare`).
"""

from base64 import b64decode
from collections.abc import Callable, Mapping, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from hvac import adapters, exceptions
from hvac.api import secrets_engines

from vault.keys.answers import after_prefix, body_of, ciphertext_in, in_base64, plaintext_in
from vault.keys.causes import ours
from vault.keys.errors import KeyNotFound, KeyServerError, WrappedKeyRejected
from vault.keys.login import Login, Token
from vault.keys.session import Session
from vault.keys.token import HeldToken

P = ParamSpec("P")
T = TypeVar("T")

CONNECTIONS = 16  # kept open; more calls at once open more and close them again


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

    Logs in at the first call (`vault.keys.token`). `timeout` is in seconds, for connecting and for
    each answer. Nothing is taken from the environment: no proxy, no VAULT_TOKEN, no ~/.vault-token.
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
        self._http = adapters.JSONAdapter(
            base_uri=address, session=Session(ca, CONNECTIONS), timeout=timeout
        )
        self._transit = secrets_engines.Transit(adapter=self._http)
        self._held = HeldToken(login, self._http, address)

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
                token = self._held.keep()
                return send()
            except Exception as e:  # whatever it is: the promise holds for what nobody foresaw
                own = isinstance(e, KeyServerError)  # from logging in
                error = e if own else ours(e, operation, subject, self.address, invalid)
                refused = isinstance(e, exceptions.Forbidden)
            if not refused or attempt == 2 or not self._held.forget(token):
                break
        raise error
