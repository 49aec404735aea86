"""No error about keys carries a plaintext, a ciphertext or a key: on real OpenBao.

hvac's exceptions do: of a batch that failed in part they have what was opened. Searched are the
error, all that hangs on it, every frame of ours that its traceback shows, and the whole log.
"""

import logging
import secrets
import traceback
from base64 import b64encode
from collections.abc import Callable
from types import TracebackType
from typing import Any

import pytest
from hvac import exceptions

from tests.wire import PATIENCE
from vault.dev import Running
from vault.errors import VaultError
from vault.keys.errors import KeyServerError
from vault.keys.key import KeyKind, KeyName, KeyState, WrappedKey
from vault.keys.keyring import Keyring
from vault.keys.login import Token
from vault.keys.transit import Transit

CONTEXT, OTHER = b"traces/1", b"traces/2"
KEY = "test-traces"


class Planted:
    """A value that was encrypted, and all forms of it that must not be found."""

    def __init__(self, running: Running) -> None:
        self.transit = running.admin
        self.running = running
        self.plain = secrets.token_hex(16).encode()
        self.sealed = running.admin.encrypt(KEY, self.plain, CONTEXT)
        self.wrapped = running.admin.new_wrapped_key(KEY, CONTEXT)
        self.key = running.admin.unwrap(KEY, self.wrapped, CONTEXT)
        self.token = secrets.token_hex(16)

    @property
    def needles(self) -> list[str]:
        texts = [self.plain.decode(), self.token, self.sealed[9:], self.wrapped[9:]]
        raw = [b64encode(self.plain).decode(), b64encode(self.key).decode(), self.key.hex()]
        return [*texts, *raw, repr(self.key)[2:-1]]

    def item(self, context: bytes = CONTEXT) -> dict[str, str]:
        return {"ciphertext": self.sealed, "context": b64encode(context).decode()}


@pytest.fixture(scope="module")
def _key(running: Running) -> None:
    running.admin.write(f"transit/keys/{KEY}", type="aes256-gcm96", derived=True)


@pytest.fixture
def planted(running: Running, _key: None) -> Planted:
    return Planted(running)


def _elsewhere(planted: Planted, address: str) -> Transit:
    ca = planted.running.key_server_ca
    return Transit(address, ca, Token(planted.token), timeout=PATIENCE)


ATTEMPTS: dict[str, Callable[[Planted], Any]] = {
    "a batch that fails in part": lambda p: p.transit.write(
        f"transit/decrypt/{KEY}", batch_input=[p.item(), p.item(OTHER)]
    ),
    "decrypting in another context": lambda p: p.transit.decrypt(KEY, p.sealed, OTHER),
    "unwrapping what was altered": lambda p: p.transit.unwrap(KEY, p.wrapped + "AAAA", CONTEXT),
    "rewrapping in another context": lambda p: p.transit.rewrap(KEY, p.wrapped, OTHER),
    "encrypting without a context": lambda p: p.transit.encrypt(KEY, p.plain, b""),
    "an HMAC under no key": lambda p: p.transit.hmac("test-nobody", p.plain),
    "HMACs under no key": lambda p: p.transit.hmacs("test-nobody", [p.plain, p.plain]),
    "signing under no key": lambda p: p.transit.sign("test-nobody", p.plain),
    "signing several under no key": lambda p: p.transit.signatures("test-nobody", [p.plain]),
    "a token that is none": lambda p: _elsewhere(p, p.running.key_server).encrypt(
        KEY, p.plain, CONTEXT
    ),
    "nobody there": lambda p: _elsewhere(p, "https://127.0.0.1:1").decrypt(KEY, p.sealed, CONTEXT),
    "a path that takes no such thing": lambda p: p.transit.write(
        f"transit/keys/{KEY}/trim", min_available_version=p.plain.decode()
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_no_error_of_the_key_server_carries_what_was_asked(
    planted: Planted, attempt: Callable[[Planted], Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(KeyServerError) as caught:
        attempt(planted)
    _search(planted, caught.value, caplog.text)


async def test_no_error_of_a_keyring_carries_a_key(
    planted: Planted, caplog: pytest.LogCaptureFixture
) -> None:
    """Not even where whoever reports it looks behind what was suppressed."""
    caplog.set_level(logging.DEBUG)
    ring = Keyring(planted.transit, KEY, KEY, b"accounts: 16 byt")
    name = KeyName(KeyKind.KEK)
    ring.hold([WrappedKey(name, KeyState.ACTIVE, planted.wrapped)])  # drawn in another context
    with pytest.raises(VaultError) as caught:
        await ring.get(name)
    _search(planted, caught.value, caplog.text)


def test_hvacs_own_error_carries_it(planted: Planted) -> None:
    """So that the search is for something: this is what ends in `Transit`."""
    batch = [planted.item(), planted.item(OTHER)]
    with pytest.raises(exceptions.InvalidRequest) as caught:
        planted.transit._http.post(f"/v1/transit/decrypt/{KEY}", json={"batch_input": batch})
    assert b64encode(planted.plain).decode() in str(caught.value)


def _search(planted: Planted, error: BaseException, logged: str) -> None:
    seen, found = _everything(error), [logged]
    for one in seen:
        found += [str(one), repr(one), repr(one.args), repr(vars(one))]
        found += getattr(one, "__notes__", [])
        frames = traceback.StackSummary.extract(
            traceback.walk_tb(_ours(one.__traceback__)), capture_locals=True
        )
        found += frames.format()
    assert not any(isinstance(one, exceptions.VaultError) for one in seen)
    everything = "\n".join(found)
    for needle in planted.needles:
        assert needle not in everything


def _everything(error: BaseException | None) -> list[BaseException]:
    """Return an error, and all that stands behind it."""
    found: list[BaseException] = []
    waiting = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def _ours(trace: TracebackType | None) -> TracebackType | None:
    """Leave out the test's own frames, which know what they planted."""
    while trace and not trace.tb_frame.f_globals["__name__"].startswith("vault."):
        trace = trace.tb_next
    return trace
