"""The auditor's watch over a trail: what raises an alarm, and what becomes of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pytest

from tests.house import POLICY
from tests.written import COMPARTMENT, START, Written
from vault.policy import WORKERS, compile_edition
from vault.service.editions import Editions
from vault.service.ledger import Ledger
from vault.service.metrics import Metrics
from vault.service.reading import SECOND
from vault.service.watch import Most, Thresholds
from vault.service.watching import Watching
from vault.store.control import ControlChain


@dataclass(slots=True)
class Checkpointing:
    """What checkpoints say of themselves, as a test has it."""

    faults: Sequence[object] = ()
    covered_at: int = 0


@dataclass(slots=True)
class Watched:
    """A watch with a clock of its own, and what it shipped."""

    editions: Editions
    watching: Watching = field(init=False)
    shipped: list[str] = field(default_factory=list)
    now: int = START
    fails: bool = False

    async def look(self, checkpoints: Checkpointing, seconds: int = 1) -> list[str]:
        """Look a little later; return the kinds of the alarms that this shipped."""
        self.now += seconds * SECOND
        before = len(self.shipped)
        await self.watching.look(checkpoints)
        return [json.loads(line)["alarm"] for line in self.shipped[before:]]


@pytest.fixture
async def watched(written: Written) -> Watched:
    edition = replace(compile_edition(POLICY.read_text(encoding="utf-8")), number=1)
    editions = Editions(ControlChain(written.database), {})
    touched = {"owner-1": frozenset({COMPARTMENT}), WORKERS: frozenset({COMPARTMENT})}
    editions.ledger = Ledger({}, editions={1: edition}, touched=touched)
    thresholds = Thresholds(60.0, Most(10, 10, 10), {}, 300.0, 60.0, 600.0)

    its = Watched(editions)

    def ship(line: str) -> None:
        if its.fails:
            raise OSError(28, "no space left")
        its.shipped.append(line)

    its.watching = Watching(
        "accounts", written.reader, editions, thresholds, Metrics(), ship, lambda: its.now
    )
    return its


async def test_the_watch_sees_what_came_before_it_and_what_comes(
    written: Written, watched: Watched
) -> None:
    chain = written.chain()
    await written.write(chain, [START - i * SECOND for i in range(8)])
    await watched.watching.start()
    assert await watched.look(Checkpointing()) == []
    await written.write(chain, [START + SECOND] * 3)
    assert await watched.look(Checkpointing()) == ["enumeration", "enumeration"]
    assert [json.loads(line)["count"] for line in watched.shipped] == [11, 11]


async def test_the_watch_raises_what_checkpoints_and_editions_say(watched: Watched) -> None:
    await watched.watching.start()
    checkpoints = Checkpointing(covered_at=START)
    assert await watched.look(checkpoints) == []
    checkpoints.faults = ["writer 00, event 7: was cut off"]
    assert await watched.look(checkpoints) == ["broken_chain"]
    assert await watched.look(checkpoints) == []
    checkpoints.faults = [*checkpoints.faults, "writer 01, event 2: was cut off"]
    assert await watched.look(checkpoints) == ["broken_chain"]  # the first hides no other
    assert await watched.look(Checkpointing(covered_at=START), 400) == ["checkpoint_overdue"]
    touched = {**watched.editions.ledger.touched, "owner-2": frozenset({COMPARTMENT, b"else"})}
    watched.editions.ledger = replace(watched.editions.ledger, touched=touched)
    assert await watched.look(Checkpointing(covered_at=watched.now)) == ["first_touch"]
    assert await watched.look(Checkpointing(covered_at=watched.now)) == []


async def test_an_old_edition_is_noticed_by_the_events_that_were_decided_under_it(
    written: Written, watched: Watched
) -> None:
    await watched.watching.start()
    known = watched.editions.ledger.editions
    newer = replace(known[1], number=2)
    watched.editions.ledger = replace(watched.editions.ledger, editions={**known, 2: newer})
    assert await watched.look(Checkpointing()) == []
    chain = written.chain()
    await written.write(chain, [START + 30 * SECOND])
    assert await watched.look(Checkpointing(), 29) == []
    await written.write(chain, [START + 90 * SECOND])
    assert await watched.look(Checkpointing(), 60) == ["old_edition"]


async def test_an_alarm_that_could_not_be_shipped_is_shipped_later(watched: Watched) -> None:
    await watched.watching.start()
    watched.fails = True
    with pytest.raises(OSError, match="no space"):
        await watched.look(Checkpointing(["broken"], watched.now))
    watched.fails = False
    assert await watched.look(Checkpointing([], watched.now)) == ["broken_chain"]
