"""Every state of a key at once: in the cache, in its row, at a real key server.

cache      ok: just unwrapped; old: past its hard TTL; suspended: there, and the database couldn't
           be read for too long; gone: never unwrapped, or evicted
row        ok: active; old: decrypt-only; suspended; gone: destroyed
server     ok; old: the version of the Transit key that wrapped it is trimmed away;
           suspended: the login may not use the key any more; gone: the key is deleted
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import product

import pytest

from vault.dev import Running
from vault.errors import Reason, VaultError
from vault.keys.key import KeyKind, KeyName, KeyState, Standing, WrappedKey
from vault.keys.keyring import Keyring
from vault.keys.login import Token
from vault.keys.transit import Transit

OK, OLD, SUSPENDED, GONE = "ok", "old", "suspended", "gone"
STATES = (OK, OLD, SUSPENDED, GONE)
SERVED = "served"
HARD, STALE_AFTER = 3600.0, 10.0
KEK = KeyName(KeyKind.KEK)

ROWS: Mapping[str, KeyState] = {
    OK: KeyState.ACTIVE,
    OLD: KeyState.DECRYPT_ONLY,
    SUSPENDED: KeyState.SUSPENDED,
    GONE: KeyState.DESTROYED,
}
# What the key server's state comes to, where it has to be asked.
ASKED: Mapping[str, str] = {
    OK: SERVED,
    OLD: Reason.DAMAGED,
    SUSPENDED: Reason.KEYS_UNAVAILABLE,
    GONE: Reason.DAMAGED,
}


def _expected(cache: str, row: str, server: str) -> str:
    if cache == SUSPENDED:
        return Reason.KEYS_UNAVAILABLE  # nothing else can be told
    if row == SUSPENDED:
        return Reason.KEYS_SUSPENDED
    if row == GONE:
        return Reason.KEY_DESTROYED
    return SERVED if cache == OK else ASKED[server]


CASES = {
    f"cache {cache}, row {row}, key server {server}": (cache, row, server)
    for cache, row, server in product(STATES, repeat=3)
}


class Ring:
    """A keyring on a real key, with a clock that stands still and a database that answers."""

    def __init__(self, transit: Transit, key: str) -> None:
        self.now = 0.0
        self.reads = True
        self.rows: list[WrappedKey] = []
        self.keyring = Keyring(
            transit, key, key, b"accounts: 16 byt", hard=HARD, clock=lambda: self.now
        )
        self.keyring.watch(self._look, STALE_AFTER)

    async def _look(self, known: Standing) -> None:
        if not self.reads:
            raise VaultError(Reason.STORAGE_UNAVAILABLE, "The database can't be asked.")
        self.keyring.adopt(Standing(1, False, self.rows, self.now))

    async def begin(self) -> bytes:
        self.rows = [await self.keyring.new_key(KEK)]
        await self._look(self.keyring.standing)
        return await self.keyring.get(KEK)

    async def become(self, cache: str, row: str) -> None:
        (old,) = self.rows
        self.rows = [WrappedKey(KEK, ROWS[row], old.wrapped)]
        if cache == OLD:
            self.now += HARD + 1
        await self._look(self.keyring.standing)
        if cache == GONE:
            self.keyring.evict()
        if cache == SUSPENDED:
            self.reads = False
            self.now += STALE_AFTER


@pytest.fixture
def key(running: Running) -> Iterator[tuple[Transit, str, Callable[[str], None]]]:
    """A Transit key under a login of its own, and what puts it into a state."""
    admin, name = running.admin, f"states-{secrets.token_hex(6)}"
    path, policy = f"transit/keys/{name}", f"sys/policies/acl/{name}"
    admin.write(path, type="aes256-gcm96", derived=True)
    admin.write(
        policy,
        policy=f'path "transit/+/{name}" {{ capabilities = ["update"] }}\n'
        f'path "transit/datakey/wrapped/{name}" {{ capabilities = ["update"] }}',
    )
    made = admin.write("auth/token/create", policies=[name], no_default_policy=True)
    login = Token(made["auth"]["client_token"])

    def put(state: str) -> None:
        if state == OLD:
            admin.write(f"{path}/rotate")
            admin.write(f"{path}/config", min_decryption_version=2, min_encryption_version=2)
            admin.write(f"{path}/trim", min_available_version=2)
        elif state == SUSPENDED:
            admin.delete(policy)
        elif state == GONE:
            admin.write(f"{path}/config", deletion_allowed=True)
            admin.delete(path)

    transit = Transit(running.key_server, running.key_server_ca, login)
    with _closing(transit):
        yield transit, name, put


@contextmanager
def _closing(transit: Transit) -> Iterator[None]:
    try:
        yield
    finally:
        transit.close()


@pytest.mark.parametrize(("cache", "row", "server"), CASES.values(), ids=CASES)
async def test_what_a_key_does_in_each_state(
    key: tuple[Transit, str, Callable[[str], None]], cache: str, row: str, server: str
) -> None:
    transit, name, put = key
    ring = Ring(transit, name)
    plain = await ring.begin()
    put(server)
    await ring.become(cache, row)
    for _ in range(2):  # and it stays so
        try:
            answered = SERVED if await ring.keyring.get(KEK) == plain else "another key"
        except VaultError as e:
            answered = e.reason
        assert answered == _expected(cache, row, server)
    writes = row == OK
    assert (ring.keyring.latest(KeyKind.KEK) == KEK) == writes


async def test_a_key_that_was_wrapped_anew_meanwhile_is_unwrapped_anew(
    key: tuple[Transit, str, Callable[[str], None]], running: Running
) -> None:
    """After a rotation of the Transit key, a worker that didn't look yet finds its row trimmed."""
    transit, name, _ = key
    ring = Ring(transit, name)
    plain = await ring.begin()
    (old,) = ring.rows
    context = ring.keyring._context(KEK)
    running.admin.write(f"transit/keys/{name}/rotate")
    anew = running.admin.encrypt(name, plain, context)
    ring.keyring.evict()
    ring.rows = [WrappedKey(KEK, KeyState.ACTIVE, anew)]
    config = {"min_decryption_version": 2, "min_encryption_version": 2}
    running.admin.write(f"transit/keys/{name}/config", **config)
    assert await ring.keyring.get(KEK) == plain
    assert old.wrapped.startswith("vault:v1:")
    assert anew.startswith("vault:v2:")
