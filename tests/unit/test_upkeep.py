"""What a process does besides answering goes on, whatever it meets."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from vault import upkeep


class Failing:
    """Anything at all that fails with an error that nobody foresaw, whatever is asked of it."""

    name = "accounts"

    def __init__(self) -> None:
        self.asked = 0
        self.rotation_wanted = asyncio.Event()
        self.ledger = self

    sequence, head = 1, b""

    async def fail(self, *_: object, **__: object) -> None:
        self.asked += 1
        raise OverflowError("a value that is nobody's business")

    def fail_now(self, *_: object, **__: object) -> None:
        self.asked += 1
        raise OverflowError("a value that is nobody's business")

    look = start = refresh = look_at_keys = fail
    write = fail_now


def test_what_officers_decide_is_read_twice_as_often_as_promised() -> None:
    """Within 2 seconds, everywhere (docs/editions.md): a slow look may follow one just missed."""
    assert upkeep.POLL * 2 <= 2.0


async def _heard(_: bool) -> None:
    pass


LOOPS: dict[str, Callable[[Any], Awaitable[None]]] = {
    "following the control chain": lambda it: upkeep.follow(it, []),
    "telling health": lambda it: upkeep.tell_health(it.fail, _heard),
    "watching": lambda it: upkeep.watch(it, it),
    "metrics": lambda it: upkeep.write_metrics(it, Path("metrics.prom"), 0.01),
    "keys": lambda it: upkeep.follow_keys(it, 0.01),
    "key health": lambda it: upkeep.look_at_key_health(it, 0.01),
    "rotations": lambda it: upkeep.rotate_often(it, it.fail_now, 0.01, 1.0),
    "sweeping": lambda it: upkeep.sweep_often(it, it.fail_now, 0.01, it),
    "checkpoints": lambda it: upkeep.checkpoint_often(it, 0.01),
    "the control chain's checkpoints": lambda it: upkeep.checkpoint_control(it, it),
}


@pytest.mark.parametrize("loop", LOOPS.values(), ids=LOOPS)
async def test_each_goes_on_and_says_what_it_met_without_its_text(
    loop: Callable[[Any], Awaitable[None]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(upkeep, "POLL", 0.01)
    monkeypatch.setattr(upkeep, "TRAIL_POLL", 0.01)
    caplog.set_level(logging.ERROR)
    failing = Failing()
    task = asyncio.ensure_future(loop(failing))
    for _ in range(500):
        if caplog.records and len(caplog.records) + failing.asked > 2:  # more than one round
            break
        await asyncio.sleep(0.01)
    assert not task.done()
    assert len(caplog.records) + failing.asked > 2
    assert "Error, which nobody foresaw; going on" in caplog.text
    assert "nobody's business" not in caplog.text
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
