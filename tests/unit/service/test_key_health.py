"""Whether a login's keys can be used: by a clock that stands still, and a key server that fails."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from tests.keyrings import HARD, KEK, SOFT, House, background
from vault.errors import Reason, VaultError
from vault.keys.errors import (
    KeyServerError,
    KeyServerForbidden,
    KeyServerUnavailable,
    WrappedKeyRejected,
)
from vault.keys.key import KeyKind, KeyName, KeyState, Standing
from vault.keys.keyring import WrongKeyServerError
from vault.service.key_health import KeyHealth
from vault.service.metrics import Metrics

OLD = KeyName(KeyKind.KEK, 1)
NEW = KeyName(KeyKind.KEK, 2)
AWAY, REFUSED = KeyServerUnavailable("it is sealed."), KeyServerForbidden("this login may not.")
WRONG = WrongKeyServerError("the canary doesn't open.")


class Looked:
    """A keyring whose key server is looked at, and how often that was asked anything."""

    def __init__(self, *, writes: bool = True) -> None:
        self.house = House()
        self.asked = 0
        self.fault: Exception | None = None
        ring = {"accounts": self.house.ring}
        self.health = KeyHealth(
            "worker-accounts", ring, [KeyKind.KEK], self._ask,
            soft=SOFT, hard=HARD, metrics=Metrics(), writes=writes, clock=lambda: self.house.now,
        )  # fmt: skip

    async def _ask(self) -> None:
        self.asked += 1
        if self.fault is not None:
            raise self.fault

    def breaks(self, fault: Exception | None) -> None:
        self.fault = fault
        self.house.transit.failure = fault if isinstance(fault, KeyServerError) else None

    async def look(self) -> bool:
        """Look, and tell whether it is ready."""
        await self.health.look()
        await background()
        try:
            self.health.check()
        except VaultError as e:
            return e.reason is not Reason.KEYS_UNAVAILABLE
        return True


@pytest.fixture
async def looked() -> Looked:
    made = Looked()
    await made.house.hold(OLD, NEW)
    assert await made.look()
    return made


@dataclass(frozen=True, slots=True)
class Case:
    """A fault, the seconds since all was well, and whether it is still ready."""

    fault: Exception
    after: float
    ready: bool


CASES = {
    "away, within the hard TTL": Case(AWAY, HARD - 1, True),
    "away, past the hard TTL": Case(AWAY, HARD, False),
    "refused, within the soft TTL": Case(REFUSED, 0.8 * SOFT, True),
    "refused, past the soft TTL": Case(REFUSED, SOFT, False),
    "another key server, within the soft TTL": Case(WRONG, 0.8 * SOFT, True),
    "another key server, past the soft TTL": Case(WRONG, SOFT, False),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_what_was_good_serves_on_and_heals(looked: Looked, case: Case) -> None:
    looked.breaks(case.fault)
    looked.house.now += case.after
    assert await looked.look() == case.ready
    assert str(case.fault) in looked.health.trouble
    looked.breaks(None)
    assert await looked.look()
    assert not looked.health.trouble


@pytest.mark.parametrize("fault", [AWAY, REFUSED], ids=["away", "refused"])
async def test_a_key_that_was_never_in_memory_makes_it_unready_at_once(fault: Exception) -> None:
    looked = Looked()
    await looked.house.hold(KEK)
    looked.breaks(fault)
    assert not await looked.look()
    assert f"kek:1 of accounts: not in memory. {fault}" == looked.health.trouble


@pytest.mark.parametrize("fault", [AWAY, REFUSED, WRONG], ids=["away", "refused", "wrong"])
async def test_who_fails_is_asked_one_thing_a_look(looked: Looked, fault: Exception) -> None:
    """However many keys there are, whether they are in memory or not."""
    looked.breaks(fault)
    before, keys = looked.asked, looked.house.asked
    looked.house.now += HARD + 1
    for _ in range(5):
        await looked.look()
    assert looked.asked == before + 5
    assert looked.house.asked == keys


async def test_who_is_well_is_asked_for_keys_no_more_than_the_keyring_would(
    looked: Looked,
) -> None:
    asked = looked.house.asked
    for _ in range(5):
        assert await looked.look()
    assert looked.house.asked == asked


async def _changed(looked: Looked, states: Sequence[KeyState], *, suspended: bool = False) -> None:
    rows = [replace(r, state=s) for r, s in zip(looked.house.ring.rows, states, strict=True)]
    looked.house.ring.adopt(Standing(1, suspended, rows, looked.house.now))


async def test_an_older_key_that_does_not_open_is_told_and_stops_nothing(looked: Looked) -> None:
    ring = looked.house.ring
    broken = [replace(row, wrapped="altered") if row.name == OLD else row for row in ring.rows]
    ring.adopt(Standing(1, False, broken, looked.house.now))
    assert await looked.look()
    assert looked.health.trouble.startswith("kek:1 of accounts: ")


async def test_what_an_officer_stopped_is_no_fault(looked: Looked) -> None:
    active = KeyState.ACTIVE
    await _changed(looked, [active, active], suspended=True)
    looked.breaks(WrappedKeyRejected("gone"))
    assert await looked.look()
    looked.breaks(None)
    await _changed(looked, [KeyState.SUSPENDED, KeyState.DESTROYED])
    assert await looked.look()
    assert not looked.health.trouble


ACTIVE, READS, SUSPENDED = KeyState.ACTIVE, KeyState.DECRYPT_ONLY, KeyState.SUSPENDED
DESTROYED = KeyState.DESTROYED
NO_WRITER = "no kek key of accounts writes: "
ROTATE = f"{NO_WRITER}draw a new one with `piivault keys rotate accounts kek`."
RESTORE = f"{NO_WRITER}its rows were lost or changed; restore them from the newest backup of"
WRITERS: dict[str, tuple[list[KeyState], str]] = {
    "an older one writes": ([ACTIVE, SUSPENDED], ""),
    "the newest is suspended": ([READS, SUSPENDED], ""),
    "all that is left is suspended": ([SUSPENDED, DESTROYED], ""),
    "what is left reads": ([READS, DESTROYED], ROTATE),
    "resuming would not help": ([SUSPENDED, READS], ROTATE),
    "all are destroyed": ([DESTROYED, DESTROYED], ROTATE),
    "there is none": ([], RESTORE),
}


@pytest.mark.parametrize(("states", "says"), WRITERS.values(), ids=WRITERS)
async def test_a_needed_key_of_which_no_version_writes_makes_it_unready(
    looked: Looked, states: Sequence[KeyState], says: str
) -> None:
    """With its remedy; it heals when there is one again."""
    before = Standing(1, False, looked.house.ring.rows, looked.house.now)
    rows = [replace(row, state=state) for row, state in zip(before.keys, states, strict=False)]
    looked.house.ring.adopt(replace(before, keys=rows))
    assert await looked.look() == (not says)
    assert looked.health.trouble.startswith(says)
    assert bool(looked.health.trouble) == bool(says)
    looked.house.ring.adopt(before)
    assert await looked.look()
    assert not looked.health.trouble


@pytest.mark.parametrize("states", [[READS, DESTROYED], []], ids=["reads alone", "none yet"])
async def test_who_only_reads_needs_none_that_writes(states: Sequence[KeyState]) -> None:
    looked = Looked(writes=False)
    await looked.house.hold(OLD, NEW)
    rows = [replace(r, state=s) for r, s in zip(looked.house.ring.rows, states, strict=False)]
    looked.house.ring.adopt(Standing(1, False, rows, looked.house.now))
    assert await looked.look()
    assert not looked.health.trouble


async def test_states_that_cannot_be_read_make_it_unready(looked: Looked) -> None:
    reads = True

    async def look(_: Standing) -> None:
        if not reads:
            raise VaultError(Reason.STORAGE_UNAVAILABLE, "The database can't be asked.")
        ring = looked.house.ring
        ring.adopt(Standing(0, False, ring.rows, looked.house.now))

    looked.house.ring.watch(look, 10.0)
    reads = False
    looked.house.now += 9
    assert await looked.look()
    looked.house.now += 2
    assert not await looked.look()
    assert "states of the keys of accounts" in looked.health.trouble
    reads = True
    assert await looked.look()


async def test_looking_is_no_use_of_a_key(looked: Looked) -> None:
    """What `keys status` calls the last use is a request's."""
    assert not looked.house.ring.last_use(NEW)
    await looked.house.ring.get(NEW)
    assert looked.house.ring.last_use(NEW)
