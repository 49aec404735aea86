"""A keyring with a clock that stands still, and a fake of the key server behind it."""

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import dataclass, field

import pytest

from vault.errors import Reason, VaultError
from vault.keys.errors import KeyServerError, WrappedKeyRejected
from vault.keys.key import KeyKind, KeyName
from vault.keys.keyring import Keyring

COMPARTMENT = b"accounts: 16 byt"
SOFT, HARD = 300.0, 3600.0
FRESH, STALE, TOO_OLD = 0.8 * SOFT, 1.2 * SOFT, HARD + 1  # the soft TTL has a jitter of a tenth
KEK = KeyName(KeyKind.KEK)
SECRET = b"secret key "


@dataclass(slots=True, repr=False)
class FakeTransit:
    """The key server: what it drew it opens, under the same key and context alone."""

    name: str = "this"
    failure: KeyServerError | None = None
    unwrapped: list[str] = field(default_factory=list)
    opened: dict[str, tuple[str, bytes, bytes]] = field(default_factory=dict)
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    def new_wrapped_key(self, key: str, context: bytes) -> str:
        return self.encrypt(key, SECRET + str(len(self.opened)).zfill(21).encode(), context)

    def unwrap(self, key: str, wrapped: str, context: bytes) -> bytes:
        self.unwrapped.append(wrapped)
        return self.decrypt(key, wrapped, context)

    def encrypt(self, key: str, plaintext: bytes, context: bytes) -> str:
        self._answer()
        ciphertext = f"vault:v1:{self.name}-{len(self.opened)}"
        self.opened[ciphertext] = (key, plaintext, context)
        return ciphertext

    def decrypt(self, key: str, ciphertext: str, context: bytes) -> bytes:
        self._answer()
        its_key, plaintext, its_context = self.opened.get(ciphertext, ("", b"", b""))
        if (its_key, its_context) != (key, context):
            raise WrappedKeyRejected("unwrap a key: wrong context, or tampered with")
        return plaintext

    def rewrap(self, key: str, ciphertext: str, context: bytes) -> str:
        return self.encrypt(key, self.decrypt(key, ciphertext, context), context)

    def _answer(self) -> None:
        assert self.may_answer.wait(10)
        if self.failure is not None:
            raise self.failure


class House:
    """A keyring with a clock that stands still, and the key server behind it."""

    def __init__(
        self,
        transit: FakeTransit | None = None,
        compartment: bytes = COMPARTMENT,
        soft: float = SOFT,
    ) -> None:
        self.now = 0.0
        self.transit = transit or FakeTransit()
        self.ring = Keyring(
            self.transit,
            "piivault-accounts",
            "piivault-trail-accounts",
            compartment,
            soft=soft,
            hard=HARD,
            clock=lambda: self.now,
        )

    async def hold(self, *names: KeyName) -> None:
        """Draw these keys, and take them over as a database would have them."""
        self.ring.hold([await self.ring.new_key(name) for name in names])

    async def aged(self, seconds: float) -> None:
        """Have a key cached for so long."""
        await self.hold(KEK)
        await self.ring.get(KEK)
        self.now += seconds

    @property
    def asked(self) -> int:
        """How often a key was unwrapped."""
        return len(self.transit.unwrapped)


async def background() -> None:
    """Return when all other tasks have ended."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    if others:
        await asyncio.wait(others)


async def refused(call: Awaitable[object]) -> Reason:
    with pytest.raises(VaultError) as error:
        await call
    assert error.value.__suppress_context__ or error.value.__context__ is None
    return error.value.reason
