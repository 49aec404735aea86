"""What a process does beside answering, and what becomes of it when that breaks off."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack

import pytest

from vault.app import _keep_up
from vault.opening import StartError


async def _breaks_off() -> None:
    raise KeyError("planted")


async def _lasts() -> None:
    await asyncio.Event().wait()


async def _beside(work: Coroutine[None, None, None], turns: int) -> None:
    async with AsyncExitStack() as stack:
        _keep_up(work, stack)
        for _ in range(turns):
            await asyncio.sleep(0)


def test_a_process_ends_where_its_work_breaks_off(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says where, and never what: an exception's text may hold anything."""
    sent: list[tuple[int, int]] = []
    monkeypatch.setattr("os.kill", lambda pid, number: sent.append((pid, number)))
    with pytest.raises(StartError, match="broke off") as caught:
        asyncio.run(_beside(_breaks_off(), 2))
    assert sent == [(os.getpid(), signal.SIGTERM)]
    assert caught.value.__suppress_context__
    assert "unforeseen KeyError" in caplog.text
    assert "in _breaks_off" in caplog.text
    assert "planted" not in caplog.messages[-1].replace('raise KeyError("planted")', "")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("turns", [0, 2], ids=["before it began", "later"])
def test_work_ends_with_the_process(turns: int) -> None:
    asyncio.run(_beside(_lasts(), turns))
